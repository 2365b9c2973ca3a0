//! `docker.environment`, and the one variable in it that means something to the framework.

use std::collections::BTreeMap;

use serde_json::Value;

use super::volume::{Volume, VolumeSource};
use crate::fault::{Findings, Pointer, quoted};
use crate::path::{clean, is_within, touched};
use crate::read::Node;

/// The variable that says where the plugin expects its configuration.
pub const CONFIG_VARIABLE: &str = "PLUGIN_CONFIG";
/// What the framework sets itself, whatever a manifest says.
pub const OWN_VARIABLES: [&str; 7] =
    ["MQTT_BROKER", "MQTT_HOST", "MQTT_PORT", "MQTT_USERNAME", "MQTT_PASSWORD", "PLUGIN_ID", "PLUGIN_NAME"];

const MAX_VARIABLES: usize = 256;
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 16 * 1024;

pub(super) fn read(node: &Node<'_>, found: &mut Findings) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let Some(object) = node.object(found) else {
        return variables;
    };
    if object.map.len() > MAX_VARIABLES {
        let reason = format!("has {} variables", object.map.len());
        found.fault(&node.at, reason, format!("set at most {MAX_VARIABLES}"));
        return variables;
    }
    for (name, item) in object.unknown() {
        if !is_name(name) {
            let reason = format!("{} is not a name for an environment variable", quoted(name));
            let fix = format!("use 1 to {MAX_NAME} of A-Z a-z 0-9 _, not beginning with a digit");
            found.fault(&item.at, reason, fix);
        } else if let Some(text) = value(&item, found) {
            if OWN_VARIABLES.contains(&name) {
                found.warn(&item.at, "is set by the framework, which does not use this value");
            }
            variables.insert(name.to_owned(), text);
        }
    }
    variables
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn value(item: &Node<'_>, found: &mut Findings) -> Option<String> {
    let text = match item.value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => {
            let text = item.value.to_string();
            found.warn(&item.at, format!("is not a text; it is taken as {}", quoted(&text)));
            text
        }
        _ => {
            item.wrong_type(found, "a text in quotation marks");
            return None;
        }
    };
    if text.len() > MAX_VALUE {
        let reason = format!("has {} bytes", text.len());
        found.fault(&item.at, reason, format!("shorten it to {MAX_VALUE}, or use the configuration file"));
        return None;
    }
    if text.contains('\0') {
        found.fault(&item.at, "contains the character U+0000", "leave it out");
        return None;
    }
    Some(text)
}

/// Checks the path in `PLUGIN_CONFIG`, where the framework will put a file.
pub(super) fn check_config_path(
    variables: &BTreeMap<String, String>,
    volumes: &[Volume],
    at: &Pointer,
    found: &mut Findings,
) {
    let Some(text) = variables.get(CONFIG_VARIABLE) else {
        return;
    };
    let at = at.key(CONFIG_VARIABLE);
    let fix = "write the path of a file below /config, such as /config/plugin.conf";
    let path = match clean(text) {
        Ok(path) if path == text => path,
        Ok(_) => return found.fault(&at, format!("{} is a folder", quoted(text)), fix),
        Err(why) => return found.fault(&at, format!("{} {why}", quoted(text)), fix),
    };
    let foreign =
        |v: &&Volume| matches!(v.source, VolumeSource::HostFolder { .. }) && is_within(path, &v.target);
    let taken = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    if path == "/" || path == "/config" {
        found.fault(&at, format!("{} is a folder", quoted(path)), fix);
    } else if let Some(taken) = touched(path, &taken) {
        found.fault(&at, format!("{} would cover {taken}", quoted(path)), fix);
    } else if let Some(volume) = volumes.iter().find(foreign) {
        let reason = format!("{} lies on the host, in {}", quoted(path), quoted(&volume.to_string()));
        found.fault(&at, reason, fix);
    } else if let Some(volume) = volumes.iter().find(|v| is_within(&v.target, path)) {
        let reason = format!("{} is covered by {}", quoted(path), quoted(&volume.to_string()));
        found.fault(&at, reason, fix);
    }
}
