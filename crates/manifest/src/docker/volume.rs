//! `docker.volumes`: `source:/target[:ro]`, and which sources and targets are possible at all.

mod source;

use std::fmt;

use envelope::PluginId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Findings, quoted};
use crate::path::{clean, touched};
use crate::read::Node;

/// The host folder that holds one folder per plugin.
pub const PLUGIN_FOLDERS: &str = "/var/lib/bigskies/plugins";

const MAX_VOLUMES: usize = 64;
const FIX: &str = "write \"name:/data\" or, with the plugin's own folder, \
                   \"/var/lib/bigskies/plugins/{id}:/data\"; \":ro\" at the end makes it read-only";

/// Places in the container that belong to the engine or the framework.
const TAKEN: [&str; 7] =
    ["/proc", "/sys", "/dev", "/config", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// A place in the container that outlives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// What is mounted.
    pub source: VolumeSource,
    /// Where in the container.
    pub target: String,
    /// Whether the plugin may only read it.
    pub read_only: bool,
}

/// What a volume is on the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VolumeSource {
    /// The plugin's own folder, exactly: `/var/lib/bigskies/plugins/{id or alias}`.
    OwnFolder {
        /// The folder on the host.
        path: String,
    },
    /// A volume of the engine. The name is the plugin's own word; whoever makes the volume puts the
    /// plugin's id in front of it.
    Named {
        /// The name inside the plugin: 2 to 64 of `A-Z a-z 0-9 . _ -`.
        name: String,
    },
    /// Another folder of the host, which needs approval.
    HostFolder {
        /// The folder or file on the host.
        path: String,
    },
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            VolumeSource::OwnFolder { path } | VolumeSource::HostFolder { path } => path,
            VolumeSource::Named { name } => name,
        };
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{source}:{}{mode}", self.target)
    }
}

/// `owners` are the plugin's id and alias.
pub(super) fn read(node: &Node<'_>, owners: &[&PluginId], found: &mut Findings) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for item in node.list(found, MAX_VOLUMES) {
        let Some(text) = item.text(found) else {
            continue;
        };
        match parse(text, owners) {
            Err((reason, fix)) => found.fault(&item.at, reason, fix),
            Ok((volume, _)) if volumes.iter().any(|v| v.target == volume.target) => {
                let reason = format!("mounts {} a second time", quoted(&volume.target));
                found.fault(&item.at, reason, "give each volume a target of its own");
            }
            Ok((volume, remark)) => {
                if let Some(remark) = remark {
                    found.warn(&item.at, remark);
                }
                volumes.push(volume);
            }
        }
    }
    volumes
}

type Refusal = (String, &'static str);

fn parse(text: &str, owners: &[&PluginId]) -> Result<(Volume, Option<String>), Refusal> {
    let mut parts = text.split(':');
    let (source, target) = match (parts.next(), parts.next()) {
        (Some(source), Some(target)) if !source.is_empty() => (source, target),
        _ => return Err(("has no source and target".to_owned(), FIX)),
    };
    let (read_only, label) = mode(parts.next())?;
    if parts.next().is_some() {
        return Err(("has more than three parts".to_owned(), FIX));
    }
    let (source, deeper) = source::check(source, owners)?;
    let target = check_target(target)?;
    let remark = deeper.or_else(|| label.then(|| "\"z\" and \"Z\" have no effect".to_owned()));
    Ok((Volume { source, target: target.to_owned(), read_only }, remark))
}

/// Whether it is read-only, and whether a label for SELinux was asked for.
fn mode(text: Option<&str>) -> Result<(bool, bool), Refusal> {
    let (mut read_only, mut label) = (false, false);
    for option in text.into_iter().flat_map(|t| t.split(',')) {
        match option {
            "ro" => read_only = true,
            "rw" => {}
            "z" | "Z" => label = true,
            _ => {
                return Err((format!("has the option {}", quoted(option)), "use \"ro\" or \"rw\""));
            }
        }
    }
    Ok((read_only, label))
}

fn check_target(text: &str) -> Result<&str, Refusal> {
    let fix = "choose an absolute path such as /data for the target";
    let path = clean(text).map_err(|why| (format!("the target {} {why}", quoted(text)), fix))?;
    match touched(path, &TAKEN) {
        None => Ok(path),
        Some(taken) => {
            let reason = format!("the target {} would cover {taken}", quoted(path));
            Err((reason, "choose another target; /proc, /sys, /dev, /config and \"/\" are taken"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Volume, String> {
        let (id, alias) = (PluginId::parse("the-id").expect("id"), PluginId::parse("mine").expect("id"));
        parse(text, &[&id, &alias]).map(|(volume, _)| volume).map_err(|(reason, _)| reason)
    }

    #[test]
    fn the_own_folder_a_name_and_a_foreign_folder_are_told_apart() {
        use VolumeSource::*;
        let own = |name: &str| OwnFolder { path: format!("{PLUGIN_FOLDERS}/{name}") };
        let host = |path: &str| HostFolder { path: path.to_owned() };
        let cases = [
            ("/var/lib/bigskies/plugins/the-id:/data", own("the-id"), false),
            ("/var/lib/bigskies/plugins/mine/:/data:rw", own("mine"), false),
            ("cache:/var/cache:ro", Named { name: "cache".to_owned() }, true),
            ("/srv/images:/images:ro,z", host("/srv/images"), true),
            ("/etc/localtime:/etc/localtime:ro", host("/etc/localtime"), true),
            ("/run/udev:/run/udev:ro", host("/run/udev"), true),
        ];
        for (text, source, read_only) in cases {
            let volume = parsed(text).expect(text);
            assert_eq!((volume.source, volume.read_only), (source, read_only), "{text}");
        }
    }

    #[test]
    fn targets_that_belong_to_the_engine_or_the_framework_are_refused() {
        for (text, reason) in [
            ("data:/", "would cover"),
            ("data:/proc", "would cover /proc"),
            ("data:/sys/fs", "would cover /sys"),
            ("data:/dev/shm", "would cover /dev"),
            ("data:/config", "would cover /config"),
            ("data:/config/x", "would cover /config"),
            ("data:/etc", "would cover /etc/hosts"),
            ("data:data", "is not absolute"),
            ("data:/a/../proc", "contains \"..\""),
            ("data:", "is empty"),
            ("data", "no source and target"),
            (":/data", "no source and target"),
            ("", "no source and target"),
            ("data:/x:shared", "has the option"),
            ("data:/x:ro:rw", "more than three parts"),
            ("d:/x", "not a name for a volume"),
            ("-data:/x", "not a name for a volume"),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(parsed("data:/configuration").is_ok());
    }
}
