//! `devices`: what of the host's hardware a plugin asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::{Findings, quoted};
use crate::path::{clean, is_within};
use crate::read::Node;

const MAX_DEVICES: usize = 64;

/// What must never be in a plugin's hands: memory, disks and ports of the host, and things below /dev that
/// are no devices but folders where others can plant links. The name may go on with digits or letters.
const CLOSED: [&str; 44] = [
    "mem", "kmem", "kmsg", "port", "nvram", "core", "fd", "shm", "mqueue", "pts", "ptmx", "console",
    "initctl", "log", "char", "cpu", "tpm", "tpmrm", "vhost", "vcs", "vcsa", "sd", "hd", "vd", "xvd", "sr",
    "sg", "bsg", "nvme", "ng", "mmcblk", "dm-", "md", "loop", "mapper", "disk", "block", "root", "raw",
    "nbd", "rbd", "mtd", "pmem", "zram",
];
/// Folders below /dev in which instruments are. Others have links to disks, under names that anybody may choose, such as
/// those of volume groups.
const FOLDERS: [&str; 9] = ["bus", "dri", "dvb", "input", "net", "serial", "snd", "usb", "v4l"];
/// Of these a plugin gets more than one instrument's worth.
const FAR_REACHING: [&str; 7] =
    ["/dev/bus", "/dev/input", "/dev/uinput", "/dev/uhid", "/dev/kvm", "/dev/fuse", "/dev/net"];

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// The device on the host, below `/dev`.
    pub path: String,
    /// Where it stands in the container.
    pub container_path: String,
    /// What the plugin may do with it.
    pub access: DeviceAccess,
}

/// What a plugin may do with a device.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum DeviceAccess {
    /// Read.
    #[serde(rename = "r")]
    Read,
    /// Read and write.
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
}

impl DeviceAccess {
    /// As engines write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::ReadWrite => "rw",
        }
    }
}

impl Device {
    /// Whether it stands for a whole class of devices, or for the kernel's own services.
    pub fn is_far_reaching(&self) -> bool {
        FOLDERS.iter().any(|folder| self.path.strip_prefix("/dev/") == Some(folder))
            || FAR_REACHING.iter().any(|folder| {
                let single_usb_device =
                    self.path.strip_prefix("/dev/bus/usb/").is_some_and(|p| p.contains('/'));
                is_within(&self.path, folder) && !single_usb_device
            })
    }
}

/// Paths, and objects with a `path`. Richer manifests describe their instruments here in objects of
/// their own, which ask for nothing: those are ignored with a warning.
pub(crate) fn read(node: &Node<'_>, found: &mut Findings) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for item in node.list(found, MAX_DEVICES) {
        let device = match item.value {
            Value::String(text) => device(&item, text, None, DeviceAccess::default(), found),
            Value::Object(map) => match map.get("path").and_then(Value::as_str) {
                Some(path) if path == "/dev" || path.starts_with("/dev/") => described(&item, path, found),
                _ => {
                    let reason =
                        "has no \"path\" below /dev; it is taken as a description and opens no device";
                    found.warn(&item.at, reason);
                    None
                }
            },
            _ => {
                item.wrong_type(found, "the path of a device, such as \"/dev/ttyUSB0\"");
                None
            }
        };
        let Some(device) = device else { continue };
        if devices.iter().any(|d| d.container_path == device.container_path) {
            let reason = format!("{} is there already", quoted(&device.container_path));
            found.fault(&item.at, reason, "list each device once");
        } else {
            devices.push(device);
        }
    }
    devices
}

fn described(item: &Node<'_>, path: &str, found: &mut Findings) -> Option<Device> {
    let mut object = item.object(found)?;
    let _ = object.get("path");
    let container_path = object.get("container_path").and_then(|n| n.text(found));
    let access = object.get("access").and_then(|node| match node.text(found)? {
        "r" => Some(DeviceAccess::Read),
        "rw" => Some(DeviceAccess::ReadWrite),
        other => {
            let fix = "write \"r\" or \"rw\"; making device files is for nobody";
            found.fault(&node.at, format!("is {}", quoted(other)), fix);
            None
        }
    });
    object.warn_unknown(found);
    device(item, path, container_path, access.unwrap_or_default(), found)
}

fn device(
    item: &Node<'_>,
    path: &str,
    container_path: Option<&str>,
    access: DeviceAccess,
    found: &mut Findings,
) -> Option<Device> {
    let path = below_dev(item, path, found)?;
    let container_path = match container_path {
        Some(text) => below_dev(item, text, found)?,
        None => path,
    };
    if let Some(name) = path.strip_prefix("/dev/") {
        let first = name.split('/').next().unwrap_or(name);
        if first != name && !CLOSED.contains(&first) && !FOLDERS.contains(&first) {
            let reason = format!("{} is in a folder that is not known to hold instruments", quoted(path));
            let fix = format!("list the device by its own name in /dev, or in one of {}", FOLDERS.join(", "));
            found.fault(&item.at, reason, fix);
            return None;
        }
        if CLOSED.iter().any(|closed| is_of(first, closed)) {
            let reason =
                format!("{} is memory, a disk or no device at all; no plugin can have it", quoted(path));
            found.fault(&item.at, reason, "list the instrument's own device, such as \"/dev/ttyUSB0\"");
            return None;
        }
    }
    let (path, container_path) = (path.to_owned(), container_path.to_owned());
    Some(Device { path, container_path, access })
}

/// `sda1` is of `sd`, `nvme0n1` of `nvme`; `sdr-dongle`, `memory-stick` and `sgx` are of nothing.
fn is_of(name: &str, closed: &str) -> bool {
    let Some(rest) = name.strip_prefix(closed) else {
        return false;
    };
    let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    match closed {
        "dm-" => true,
        "sd" | "hd" | "vd" | "xvd" => {
            let letters = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
            rest.len() > letters.len()
                && rest.len() - letters.len() <= 3
                && letters.bytes().all(|b| b.is_ascii_digit())
        }
        _ => rest.is_empty() || digit(rest) || rest.starts_with('-'),
    }
}

fn below_dev<'t>(item: &Node<'_>, text: &'t str, found: &mut Findings) -> Option<&'t str> {
    let fix = "write the path of one device below /dev, such as \"/dev/ttyUSB0\"";
    let reason = match clean(text) {
        Ok(path) if is_within(path, "/dev") && path != "/dev" => return Some(path),
        Ok(_) => "is not a device below /dev",
        Err(why) => why,
    };
    found.fault(&item.at, format!("{} {reason}", quoted(text)), fix);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_all(value: &Value) -> (Vec<Device>, usize, usize) {
        let mut found = Findings::default();
        let devices = read(&Node::root(value), &mut found);
        let (faults, warnings) = found.counts();
        (devices, faults, warnings)
    }

    #[test]
    fn paths_and_objects_with_a_path_are_devices_and_descriptions_are_not() {
        let (devices, faults, warnings) = read_all(&json!([
            "/dev/ttyUSB0",
            "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
            {"path": "/dev/video1", "container_path": "/dev/video0", "access": "r"},
            {"name": "Simulator", "type": "camera", "device_number": 0},
            {"path": "/api/v1/camera/0"},
        ]));
        assert_eq!((devices.len(), faults, warnings), (3, 0, 2));
        assert_eq!(devices[2].container_path, "/dev/video0");
        assert_eq!(devices[2].access, DeviceAccess::Read);
        assert_eq!(devices[1].access.as_str(), "rw");
    }

    #[test]
    fn memory_disks_and_folders_of_links_are_refused() {
        for path in [
            "/dev",
            "/dev/",
            "/dev/mem",
            "/dev/sda",
            "/dev/sdaa1",
            "/dev/nvme0n1",
            "/dev/mmcblk0p1",
            "/dev/dm-0",
            "/dev/mapper/root",
            "/dev/disk/by-id/x",
            "/dev/loop0",
            "/dev/loop-control",
            "/dev/shm/x",
            "/dev/fd/3",
            "/dev/../etc/shadow",
            "/etc/shadow",
            "dev/ttyS0",
            "ttyS0",
            "",
            "/dev/a\nb",
            "/dev/port",
            "/dev/sg1",
            "/dev/char/8:0",
            "/dev/ubuntu-vg/ubuntu-lv",
            "/dev/cdrom/x",
        ] {
            let (devices, faults, _) = read_all(&json!([path]));
            assert_eq!((devices.len(), faults), (0, 1), "{path:?}");
        }
        for path in [
            "/dev/sdr-dongle",
            "/dev/memory",
            "/dev/portal",
            "/dev/ttyACM0",
            "/dev/hidraw0",
            "/dev/vddummy",
            "/dev/logitech",
            "/dev/v4l/by-id/usb-camera",
            "/dev/serial/by-id/usb-mount",
        ] {
            assert_eq!(read_all(&json!([path])).1, 0, "{path:?}");
        }
    }

    #[test]
    fn whole_classes_of_devices_reach_far() {
        let far = |path: &str| read_all(&json!([path])).0[0].is_far_reaching();
        assert!(
            far("/dev/bus/usb") && far("/dev/bus/usb/001") && far("/dev/input/event0") && far("/dev/kvm")
        );
        assert!(FOLDERS.into_iter().all(|folder| far(&format!("/dev/{folder}"))));
        assert!(!far("/dev/bus/usb/001/004") && !far("/dev/ttyUSB0") && !far("/dev/snd/pcmC0D0c"));
    }
}
