//! Whether a manifest is let in: its faults, its names, its ports, what needs approval.

use envelope::payload::grant::ApprovalDetails;
use envelope::payload::lifecycle::{InstallRequest, ManifestSource};
use envelope::{ErrorBody, ErrorCode, PluginId};
use manifest::{Faults, Grant, Manifest, Parsed};
use serde_json::json;

use crate::engine::PublishedPort;
use crate::operation::{Admitted, ResolvedImage, Running};
use crate::policy;
use crate::record::{Granted, approval, keys};
use crate::registrations::Name;

/// The label of an image that holds its plugin's manifest.
pub(crate) const MANIFEST_LABEL: &str = "org.bigskies.plugin.manifest";
/// The file in an image that holds its plugin's manifest.
pub(crate) const MANIFEST_FILE: &str = "/plugin.json";

/// Reads a manifest's text, and checks that it is of the plugin that is being installed.
///
/// # Errors
/// `manifest_invalid` with every fault, or `manifest_mismatch`.
pub(crate) fn read(text: &[u8], id: &PluginId, source: ManifestSource) -> Result<Parsed, ErrorBody> {
    let parsed = manifest::parse(text, &manifest::framework_version())
        .map_err(|faults| invalid(id, &faults, source))?;
    if parsed.manifest.id != *id {
        return Err(ErrorBody::new(
            ErrorCode::ManifestMismatch,
            format!(
                "The manifest ({}) is of plugin {}, and the request says {id}. Install it as {}, or correct \
                 the manifest's id.",
                origin(source),
                parsed.manifest.id,
                parsed.manifest.id
            ),
        ));
    }
    Ok(parsed)
}

/// Where a manifest came from, in words.
pub(crate) fn origin(source: ManifestSource) -> &'static str {
    match source {
        ManifestSource::Request => "in the request",
        ManifestSource::Label => "in the image's label org.bigskies.plugin.manifest",
        ManifestSource::File => "/plugin.json in the image",
    }
}

fn invalid(id: &PluginId, faults: &Faults, source: ManifestSource) -> ErrorBody {
    let list = faults.list();
    let first = list.first().map(|f| format!(" The first: {f}.")).unwrap_or_default();
    ErrorBody::new(
        ErrorCode::ManifestInvalid,
        format!(
            "The manifest of {id} ({}) has {} fault(s); every one is in details.faults.{first}",
            origin(source),
            list.len()
        ),
    )
    .with_details(json!({"faults": list}))
}

/// No manifest anywhere.
pub(crate) fn missing(id: &PluginId, image: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::ManifestMissing,
        format!(
            "Image {image} carries no manifest for {id}. Give it in one of three ways: \"manifest\" in the \
             install request, the image label {MANIFEST_LABEL}, or the file {MANIFEST_FILE} in the image."
        ),
    )
}

/// Two manifests of one image that are not the same.
pub(crate) fn disagree(id: &PluginId, one: &str, other: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::ManifestMismatch,
        format!(
            "The manifest of {id} {one} and the one {other} are not the same. An image must say one thing: \
             build it again from one plugin.json."
        ),
    )
}

/// What a plugin has to itself.
pub(crate) fn names(manifest: &Manifest) -> Vec<Name> {
    let topics = manifest.names().map(|n| Name { kind: "topic", name: n.to_string() });
    let network = manifest.dns_names().into_iter().map(|name| Name { kind: "network", name });
    let clients = manifest.client_ids().into_iter().map(|name| Name { kind: "client", name });
    let mut names: Vec<Name> = topics.chain(network).chain(clients).collect();
    names.sort();
    names.dedup();
    names
}

/// A name that another plugin has.
pub(crate) fn taken(id: &PluginId, name: &Name, owner: &str) -> ErrorBody {
    let what = match name.kind {
        "topic" => "id or alias",
        "network" => "name on the network",
        _ => "MQTT client id",
    };
    ErrorBody::new(
        ErrorCode::NameTaken,
        format!(
            "{id} needs the {what} {:?}, which belongs to plugin {owner}. Remove that plugin first, or choose \
             another name in the manifest (the alias is the third level of health_check.topic).",
            name.name
        ),
    )
}

/// The ports that a manifest wants and another container has.
///
/// # Errors
/// `port_taken`, with the first that is taken and by whom.
pub(crate) fn check_ports(
    manifest: &Manifest,
    used: &[PublishedPort],
    own_container: &str,
) -> Result<(), ErrorBody> {
    let forwarder = policy::forwarder_of(own_container);
    for wanted in policy::ports(manifest) {
        let own = |u: &&PublishedPort| u.container == own_container || u.container == forwarder;
        let other = used.iter().find(|u| !own(u) && u.conflicts_with(&wanted));
        if let Some(other) = other {
            return Err(ErrorBody::new(
                ErrorCode::PortTaken,
                format!(
                    "{} wants port {}/{} of the host, which container {} has. Stop that one, or choose \
                     another port in docker.ports.",
                    manifest.id, wanted.host_port, wanted.protocol, other.container
                ),
            )
            .with_details(json!({"port": wanted.host_port, "container": other.container})));
        }
    }
    Ok(())
}

/// Everything that a manifest asks for beyond the plugin's own namespace. That the image itself is of root counts too.
pub(crate) fn asked(manifest: &Manifest, is_root: bool) -> Vec<Grant> {
    let mut grants = manifest.grants();
    if is_root && manifest.docker.user.is_none() && !grants.contains(&Grant::RootUser) {
        grants.push(Grant::RootUser);
        grants.sort_unstable();
    }
    grants
}

/// Lets a manifest in, with what an operator approved. Grants of an earlier installation mean nothing here; those
/// that an updated plugin has (`held`) stay as they are, approved or taken back, where it asks for the same again.
///
/// # Errors
/// `approval_required` with the list, `approval_changed`, or `forbidden` for somebody who may not approve.
pub(crate) fn admit(
    parsed: &Parsed,
    source: ManifestSource,
    image: &ResolvedImage,
    grants: Vec<Grant>,
    held: &[Granted],
    request: &InstallRequest,
    operation: &Running,
) -> Result<Admitted, ErrorBody> {
    let manifest = &parsed.manifest;
    let decided = |grant: &Grant| held.iter().find(|held| held.grant == *grant);
    let details = approval(&image.digest, manifest, &grants);
    let digest = &details.approve;
    match &request.approve {
        _ if grants.is_empty() => {}
        None if grants.iter().all(|grant| decided(grant).is_some()) => {}
        None => {
            let verb = operation.work.operation();
            let goes_on = if held.is_empty() { "" } else { " What runs now goes on as it is." };
            let message = format!(
                "{} asks for {} thing(s) beyond its own topics; each is in details.grants. If they are right, \
                 {verb} it again with \"approve\": \"{digest}\".{goes_on}",
                manifest.id,
                grants.len()
            );
            return Err(to_approve(ErrorCode::ApprovalRequired, message, &details));
        }
        Some(_) if !operation.named => {
            return Err(ErrorBody::new(
                ErrorCode::Forbidden,
                "Approvals are taken only on an operator's own topic (bigskies/operator/{user}/request/…), \
                 where it is known who approves. Use the bigskies command line.",
            ));
        }
        Some(approved) if approved != digest => return Err(changed(&manifest.id, approved, &details)),
        Some(_) => {}
    }
    let now = crate::clock::now();
    let by = &operation.principal;
    let granted = |grant: Grant| match decided(&grant) {
        Some(before) if request.approve.is_none() => before.clone(),
        _ => Granted::approved(grant, by, now),
    };
    Ok(Admitted {
        manifest: manifest.document().clone(),
        source,
        warnings: parsed.warnings.iter().map(ToString::to_string).collect(),
        grants: grants.into_iter().map(granted).collect(),
    })
}

/// What was approved is not what is asked for.
pub(crate) fn changed(id: &PluginId, approved: &str, details: &ApprovalDetails) -> ErrorBody {
    let shown = shown(approved);
    let message = format!(
        "What was approved ({shown}) is not what {id} asks for now: image, manifest or list have changed. Look \
         at the list again and approve {}.",
        details.approve
    );
    to_approve(ErrorCode::ApprovalChanged, message, details)
}

/// What a request gives as a name or a digest, short enough to be repeated to whoever asked.
pub(crate) fn shown(given: &str) -> String {
    given.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// A plugin cannot run without what was taken back from it.
pub(crate) fn lacking(id: &PluginId, lacks: &[Grant], details: &ApprovalDetails) -> ErrorBody {
    let message = format!(
        "{id} cannot run without what was taken back from it: {}. If it may have that again, approve {}; the \
         whole list is in details.grants.",
        keys(lacks),
        details.approve
    );
    to_approve(ErrorCode::ApprovalRequired, message, details)
}

fn to_approve(code: ErrorCode, message: String, details: &ApprovalDetails) -> ErrorBody {
    let details = serde_json::to_value(details).expect("details have string keys");
    ErrorBody::new(code, message).with_details(details)
}
