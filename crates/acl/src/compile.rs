//! From a plugin's spec to the roles of its login.
//!
//! The spec comes from the plugin coordinator, which has checked the manifest and asked an operator. None
//! of that is trusted here: what can never be granted is refused again, and what is granted stands below
//! the guard role anyway.

use std::fmt;

use envelope::payload::spec::Spec;
use envelope::topic::{coordinator, plugin};
use envelope::{Coordinator, PluginId};
use manifest::{Access, Namespace, TopicFilter, TopicName, Verdict};
use serde::{Deserialize, Serialize};

use crate::dynsec::{Role, RoleRef};
use crate::guard;
use crate::role::{Rules, manifest_name, own_name, priority};

/// Most filters in each of a spec's two lists.
pub const MAX_FILTERS: usize = 256;

/// Most bytes of one filter; the broker compares every rule with every message.
pub const MAX_FILTER_BYTES: usize = 512;

/// Most client ids that a plugin may call its own, and most bytes of one.
pub const MAX_CLIENT_IDS: (usize, usize) = (16, 256);

/// The roles of one plugin's login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRoles {
    /// What every plugin gets under its own id; asked first.
    pub own: Role,
    /// What no plugin may do; asked next.
    pub guard: Role,
    /// What the manifest asks; asked last.
    pub manifest: Role,
}

impl PluginRoles {
    /// All three with their priorities, the first asked first.
    pub fn by_priority(&self) -> [(i32, &Role); 3] {
        [(priority::OWN, &self.own), (priority::GUARD, &self.guard), (priority::MANIFEST, &self.manifest)]
    }

    /// As the login has them.
    pub fn refs(&self) -> Vec<RoleRef> {
        self.by_priority().map(|(priority, role)| RoleRef::new(&role.rolename, priority)).into()
    }
}

/// Why a spec is not compiled, as a sentence about one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The roles that a spec asks for.
///
/// # Errors
/// Every reason why it cannot have them.
pub fn compile(spec: &Spec) -> Result<PluginRoles, Vec<Refusal>> {
    let namespace = Namespace::new(&spec.plugin_id, spec.alias.as_ref());
    let mut refusals = Vec::new();
    check_sizes(spec, &mut refusals);
    let mut filters = |texts: &[String], access: Access| -> Vec<String> {
        let texts = texts.iter().take(MAX_FILTERS);
        texts.filter_map(|text| granted(&namespace, text, access, &mut refusals)).collect()
    };
    let publish = filters(&spec.publish, Access::Publish);
    let subscribe = filters(&spec.subscribe, Access::Subscribe);
    let health = health_topic(&namespace, &spec.health_topic, &mut refusals);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let names: Vec<&PluginId> = std::iter::once(&spec.plugin_id).chain(&spec.alias).collect();
    let manifest = Rules::new()
        .publish(names.iter().flat_map(|name| [plugin::health(name), plugin::status(name)]))
        .publish(health)
        .publish(publish)
        .subscribe(names.iter().map(|name| plugin::control(name)))
        .subscribe(subscribe)
        .into_role(|acls| manifest_name(&spec.plugin_id, acls));
    Ok(PluginRoles { own: own_role(&spec.plugin_id), guard: guard::role(), manifest })
}

/// What every plugin gets under its own id: its requests, the answers, its token, the keys to verify
/// others' tokens, and how the coordinators are.
pub fn own_role(id: &PluginId) -> Role {
    Rules::new()
        .publish([plugin::requests(id)])
        .subscribe([plugin::responses(id), coordinator::token(id), coordinator::keys()])
        .subscribe(Coordinator::ALL.map(coordinator::health))
        .into_role(|acls| own_name(id, acls))
}

fn check_sizes(spec: &Spec, refusals: &mut Vec<Refusal>) {
    for (list, what) in [(&spec.publish, "publishes to"), (&spec.subscribe, "subscribes to")] {
        if list.len() > MAX_FILTERS {
            let many = list.len();
            refusals.push(Refusal(format!("It {what} {many} filters; at most {MAX_FILTERS} are taken.")));
        }
    }
    let (most, bytes) = MAX_CLIENT_IDS;
    if spec.client_ids.len() > most || spec.client_ids.iter().any(|id| id.len() > bytes) {
        let many = spec.client_ids.len();
        refusals.push(Refusal(format!(
            "It names {many} client ids; at most {most} of {bytes} bytes each are taken."
        )));
    }
}

/// The filter, when it may be in the manifest's role.
fn granted(namespace: &Namespace, text: &str, access: Access, refusals: &mut Vec<Refusal>) -> Option<String> {
    let verb = match access {
        Access::Publish => "Publishing to",
        Access::Subscribe => "Subscribing to",
    };
    let mut refuse = |why: String| {
        refusals.push(Refusal(format!("{verb} {} {why}.", quoted(text))));
        None
    };
    if text.len() > MAX_FILTER_BYTES {
        return refuse(format!(
            "is impossible: it has {} bytes, at most {MAX_FILTER_BYTES} are taken",
            text.len()
        ));
    }
    let filter = match TopicFilter::parse(text) {
        Ok(filter) => filter,
        Err(error) => return refuse(format!("is impossible: it {error}")),
    };
    if is_substituted(text) {
        return refuse(SUBSTITUTED.to_owned());
    }
    match namespace.judge(access, &filter) {
        Verdict::Free | Verdict::Foreign => Some(text.to_owned()),
        Verdict::Never(never) => refuse(format!("is never granted: it {never}")),
    }
}

fn health_topic(namespace: &Namespace, text: &str, refusals: &mut Vec<Refusal>) -> Option<String> {
    let name = match TopicName::parse(text) {
        Ok(name) if text.len() <= MAX_FILTER_BYTES => name,
        Ok(_) => {
            refusals.push(Refusal(format!("The health topic has more than {MAX_FILTER_BYTES} bytes.")));
            return None;
        }
        Err(error) => {
            refusals.push(Refusal(format!("The health topic {} {error}.", quoted(text))));
            return None;
        }
    };
    if is_substituted(text) {
        refusals.push(Refusal(format!("The health topic {} {SUBSTITUTED}.", quoted(text))));
        return None;
    }
    if !namespace.owns(&name.into()) {
        refusals.push(Refusal(format!(
            "The health topic {} is not below the plugin's id or alias.",
            quoted(text)
        )));
        return None;
    }
    Some(text.to_owned())
}

const SUBSTITUTED: &str =
    "is never granted: a level \"%c\" or \"%u\" stands for whatever name a client gives itself";

/// Mosquitto 2.1 puts a client's own id and user name in the place of these levels, so that a client
/// could choose whose topic it means.
fn is_substituted(text: &str) -> bool {
    text.split('/').any(|level| level.contains("%c") || level.contains("%u"))
}

/// Hostile text in a sentence: shortened, without control characters.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{dots}")
}

#[cfg(test)]
mod tests;
