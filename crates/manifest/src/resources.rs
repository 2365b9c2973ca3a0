//! `resources`: how much of the machine a plugin may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::{Findings, quoted};
use crate::read::{Node, whole_number};

/// Least memory that engines accept, 6 MiB.
const MIN_MEMORY: u64 = 6 << 20;
/// Most bytes of memory or disk, 1 PiB.
const MAX_BYTES: u64 = 1 << 50;
const MAX_CPUS: f64 = 1024.0;
const MAX_PIDS: u64 = 4_194_304;

/// Upper bounds, as the manifest asks for them. More than [`ResourceKind::usual`] needs approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Resources {
    /// Memory, in bytes or as "256m" or "1g".
    #[schemars(default, schema_with = "crate::schema::bytes")]
    pub memory: Option<u64>,
    /// Processor time, in processors: 0.5 is half of one.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1024))]
    pub cpus: Option<f64>,
    /// Processes and threads.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub pids: Option<u64>,
    /// Disk, in bytes or as "256m" or "1g".
    #[schemars(default, schema_with = "crate::schema::bytes")]
    pub disk: Option<u64>,
}

/// One of a machine's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// Memory, in bytes.
    Memory,
    /// Processor time, in thousandths of a processor.
    Cpus,
    /// Processes and threads.
    Pids,
    /// Disk, in bytes.
    Disk,
}

impl ResourceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Cpus, Self::Pids, Self::Disk];

    /// As it is written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Pids => "pids",
            Self::Disk => "disk",
        }
    }

    /// So much a plugin may have without being asked, and has when it asks for nothing, in the kind's own unit.
    pub const fn usual(self) -> u32 {
        match self {
            Self::Memory => 512 << 20,
            Self::Cpus => 1000,
            Self::Pids => 256,
            Self::Disk => 2 << 30,
        }
    }

    /// An amount of it, for people.
    pub(crate) fn told(self, amount: u64) -> String {
        match self {
            Self::Memory => format!("{} of memory", told_bytes(amount)),
            Self::Disk => format!("{} of disk", told_bytes(amount)),
            Self::Pids => format!("{amount} processes"),
            Self::Cpus if amount == 1000 => "1 processor".to_owned(),
            Self::Cpus if amount.is_multiple_of(1000) => format!("{} processors", amount / 1000),
            Self::Cpus => format!("{}.{:03} processors", amount / 1000, amount % 1000),
        }
    }
}

/// Exactly, in the largest unit that it is a whole number of.
fn told_bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, shift)| format!("{} {name}", bytes >> shift))
}

impl Resources {
    /// How much of `kind` is asked for, in the kind's own unit.
    pub fn of(&self, kind: ResourceKind) -> Option<u64> {
        match kind {
            ResourceKind::Memory => self.memory,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0.01 to 1024: a manifest with others is refused"
            )]
            ResourceKind::Cpus => self.cpus.map(|cpus| (cpus * 1000.0).ceil() as u64),
            ResourceKind::Pids => self.pids,
            ResourceKind::Disk => self.disk,
        }
    }

    /// Asks for nothing of `kind`.
    pub(crate) fn clear(&mut self, kind: ResourceKind) {
        match kind {
            ResourceKind::Memory => self.memory = None,
            ResourceKind::Cpus => self.cpus = None,
            ResourceKind::Pids => self.pids = None,
            ResourceKind::Disk => self.disk = None,
        }
    }

    pub(crate) fn read(node: &Node<'_>, found: &mut Findings) -> Self {
        let Some(mut object) = node.object(found) else {
            return Self::default();
        };
        let resources = Self {
            memory: object.get("memory").and_then(|n| bytes(&n, MIN_MEMORY, found)),
            cpus: object.get("cpus").and_then(|n| cpus(&n, found)),
            pids: object.get("pids").and_then(|n| n.whole(found, 1..=MAX_PIDS)),
            disk: object.get("disk").and_then(|n| bytes(&n, 1, found)),
        };
        object.warn_unknown(found);
        resources
    }
}

fn bytes(node: &Node<'_>, min: u64, found: &mut Findings) -> Option<u64> {
    let (shown, bytes) = match node.value {
        Value::Number(number) => (number.to_string(), whole_number(number)),
        Value::String(text) => (quoted(text), parse_bytes(text)),
        _ => {
            node.wrong_type(found, "a number of bytes, or a text such as \"256m\"");
            return None;
        }
    };
    match bytes {
        None => {
            let reason = format!("{shown} is not an amount of bytes");
            found.fault(&node.at, reason, "write a number of bytes, or a text such as \"256m\" or \"1g\"");
            None
        }
        Some(bytes) if !(min..=MAX_BYTES).contains(&bytes) => {
            let reason = format!("{shown} is {bytes} bytes");
            found.fault(&node.at, reason, format!("choose {min} to {MAX_BYTES} bytes"));
            None
        }
        bytes => bytes,
    }
}

/// Docker's form: digits and b, k, m, g or t, which count by 1024, with a "b" or "ib" after it or not.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn cpus(node: &Node<'_>, found: &mut Findings) -> Option<f64> {
    let (shown, cpus) = match node.value {
        Value::Number(number) => (number.to_string(), number.as_f64()),
        // Compose files write it as a text.
        Value::String(text) if text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            found.warn(&node.at, format!("is a text; it is taken as the number {text}"));
            (quoted(text), text.parse().ok())
        }
        _ => {
            node.wrong_type(found, "a number of processors, such as 0.5");
            return None;
        }
    };
    let fits = |cpus: &f64| (0.01..=MAX_CPUS).contains(cpus);
    let cpus = cpus.filter(fits);
    if cpus.is_none() {
        let fix = format!("write a number of processors from 0.01 to {MAX_CPUS}");
        found.fault(&node.at, format!("is {shown}"), fix);
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("256m", Some(256 << 20)),
            ("1G", Some(1 << 30)),
            ("512kb", Some(512 << 10)),
            ("2GiB", Some(2 << 30)),
            ("1048576", Some(1 << 20)),
            ("7b", Some(7)),
            ("m", None),
            ("-1m", None),
            ("1.5g", None),
            ("1 g", None),
            ("99999999999999999999", None),
            ("18446744073709551615g", None),
            ("1e9", None),
            ("", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_told_exactly() {
        for (kind, amount, told) in [
            (ResourceKind::Memory, 8 << 30, "8 GiB of memory"),
            (ResourceKind::Disk, (1 << 30) + (1 << 20), "1025 MiB of disk"),
            (ResourceKind::Disk, 1 << 50, "1024 TiB of disk"),
            (ResourceKind::Memory, 536_870_913, "536870913 bytes of memory"),
            (ResourceKind::Cpus, 4000, "4 processors"),
            (ResourceKind::Cpus, 1501, "1.501 processors"),
            (ResourceKind::Pids, 4_194_304, "4194304 processes"),
        ] {
            assert_eq!(kind.told(amount), told);
        }
    }

    #[test]
    fn amounts_outside_of_what_engines_take_are_faults() {
        let faults = |value: Value| {
            let mut found = Findings::default();
            Resources::read(&Node::root(&value), &mut found);
            found.counts().0
        };
        assert_eq!(faults(json!({"memory": "6m", "cpus": 0.5, "pids": 1.0, "disk": 1})), 0);
        assert_eq!(faults(json!({"memory": "5m", "cpus": 0, "pids": 0, "disk": 0})), 4);
        assert_eq!(faults(json!({"memory": -1, "cpus": -0.5, "pids": 1.5, "disk": []})), 4);
        assert_eq!(faults(json!({"memory": 1e300, "cpus": "1..2", "pids": "7", "disk": "2048t"})), 4);
    }
}
