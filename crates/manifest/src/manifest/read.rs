//! Reading a whole manifest.

use envelope::PluginId;
use semver::Version;
use serde_json::{Map, Value};

use super::Manifest;
use super::blocks::{Capabilities, Dependencies, HealthCheck, Mqtt, UiElement, is_web, version};
use crate::config_schema;
use crate::device;
use crate::docker::{Docker, forbidden};
use crate::fault::{Findings, Pointer, quoted};
use crate::names;
use crate::namespace::Namespace;
use crate::permission::Permission;
use crate::read::{Node, Object};
use crate::resources::Resources;

const MAX_PERMISSIONS: usize = 64;

/// The manifest, unless there are faults.
pub(super) fn manifest(
    document: Value,
    framework: Option<&Version>,
    found: &mut Findings,
) -> Option<Manifest> {
    let parts = parts(&document, framework, found)?;
    if !found.is_sound() {
        return None;
    }
    Some(Manifest { document, ..parts })
}

/// Everything but the document. Reading goes on after a fault, so that all are told.
fn parts(document: &Value, framework: Option<&Version>, found: &mut Findings) -> Option<Manifest> {
    let mut object = Node::root(document).object(found)?;
    let id = id(&mut object, found);
    let name = object.need("name", "the plugin's name, for people", found);
    let name = name.and_then(|n| n.line(found, 128)).map(str::to_owned);
    let release = object.need("version", "the plugin's version, such as \"1.0.0\"", found);
    let release = release.and_then(|n| version(&n, found));

    // Without an id what depends on it is judged as if for a plugin that owns nothing but this name.
    let judged = id.clone().unwrap_or_else(|| PluginId::parse("the-id").expect("an id"));
    let health_check = match object.get("health_check") {
        Some(node) => HealthCheck::read(&node, &judged, found),
        None => HealthCheck::of(&judged),
    };
    let alias = health_check.owner.clone().filter(|owner| *owner != judged);
    if let (Some(alias), true) = (&alias, id.is_some()) {
        check_name(alias, &Pointer::default().key("health_check").key("topic"), found);
    }
    let owners: Vec<&PluginId> = std::iter::once(&judged).chain(&alias).collect();
    let namespace = Namespace::new(&judged, alias.as_ref());

    let manifest = Manifest {
        description: object.get("description").and_then(|n| n.prose(found, 4096)).map(str::to_owned),
        author: line(&mut object, "author", 256, found),
        license: license(&mut object, found),
        homepage: homepage(&mut object, found),
        capabilities: block(&mut object, "capabilities", found, Capabilities::read),
        mqtt: block(&mut object, "mqtt", found, |n, f| Mqtt::read(n, &judged, &namespace, f)),
        docker: block(&mut object, "docker", found, |n, f| Docker::read(n, &owners, f)),
        ui_elements: block(&mut object, "ui_elements", found, UiElement::read_all),
        dependencies: block(&mut object, "dependencies", found, |n, f| Dependencies::read(n, framework, f)),
        permissions: block(&mut object, "permissions", found, permissions),
        resources: block(&mut object, "resources", found, Resources::read),
        devices: block(&mut object, "devices", found, device::read),
        start_timeout_seconds: seconds(&mut object, "start_timeout_seconds", 3600, found),
        stop_timeout_seconds: seconds(&mut object, "stop_timeout_seconds", 600, found),
        config_schema: object.get("config_schema").and_then(|n| config_schema(&n, found)),
        health_check,
        id: judged,
        name: name.unwrap_or_default(),
        version: release.unwrap_or_else(|| Version::new(0, 0, 0)),
        document: Value::Null,
    };
    // For editors; it asks for nothing.
    let _ = object.get("$schema");
    forbidden::sort_unknown(&object, forbidden::Place::Manifest, found);
    Some(manifest)
}

fn id(object: &mut Object<'_>, found: &mut Findings) -> Option<PluginId> {
    let node = object.need("id", "the plugin's id, 2 to 64 of A-Z a-z 0-9 . _ -", found)?;
    let text = node.text(found)?;
    match PluginId::parse(text) {
        Ok(id) => {
            check_name(&id, &node.at, found);
            Some(id)
        }
        Err(error) => {
            let reason = format!("{} {error}", quoted(text));
            let fix = "choose 2 to 64 of A-Z a-z 0-9 . _ -, with a letter or digit at both ends";
            found.fault(&node.at, reason, fix);
            None
        }
    }
}

/// Checks what an id or alias becomes on the network.
fn check_name(id: &PluginId, at: &Pointer, found: &mut Findings) {
    let name = names::dns_name(id);
    if names::is_reserved_name(&name) {
        let reason = format!(
            "{} would answer to the reserved name {} on the network",
            quoted(id.as_str()),
            quoted(&name)
        );
        found.fault(at, reason, "choose another name");
    } else if let Some(oddity) = names::oddity(id) {
        found.warn(at, format!("{} {oddity}", quoted(id.as_str())));
    }
}

fn block<'v, T: Default>(
    object: &mut Object<'v>,
    key: &'static str,
    found: &mut Findings,
    read: impl FnOnce(&Node<'v>, &mut Findings) -> T,
) -> T {
    object.get(key).map(|node| read(&node, found)).unwrap_or_default()
}

fn line(object: &mut Object<'_>, key: &'static str, max: usize, found: &mut Findings) -> Option<String> {
    object.get(key).and_then(|n| n.line(found, max)).map(str::to_owned)
}

fn license(object: &mut Object<'_>, found: &mut Findings) -> Option<String> {
    if object.get("license").is_none() {
        let at = object.at.key("license");
        found.warn(&at, "is missing; the SDK asks every plugin to name its license");
    }
    line(object, "license", 256, found)
}

fn homepage(object: &mut Object<'_>, found: &mut Findings) -> Option<String> {
    let node = object.get("homepage")?;
    let text = node.line(found, 2048)?;
    if !is_web(text) {
        found.warn(&node.at, "is not an address of the web; it is ignored");
        return None;
    }
    Some(text.to_owned())
}

fn seconds(object: &mut Object<'_>, key: &'static str, max: u64, found: &mut Findings) -> Option<u32> {
    let seconds = object.get(key)?.whole(found, 1..=max)?;
    u32::try_from(seconds).ok()
}

fn config_schema(node: &Node<'_>, found: &mut Findings) -> Option<Map<String, Value>> {
    let object = node.object(found)?;
    config_schema::check_bounds(object.map, &node.at, found);
    Some(object.map.clone())
}

fn permissions(node: &Node<'_>, found: &mut Findings) -> Vec<Permission> {
    let mut permissions = Vec::new();
    for item in node.list(found, MAX_PERMISSIONS) {
        let Some(text) = item.text(found) else {
            continue;
        };
        match Permission::parse(text) {
            Ok(permission) if permissions.contains(&permission) => {}
            Ok(permission) => permissions.push(permission),
            Err(error) => {
                let fix = "write resource and verb, such as \"system:read\" or \"telescope/main:control\"";
                found.fault(&item.at, format!("{} {error}", quoted(text)), fix);
            }
        }
    }
    permissions
}
