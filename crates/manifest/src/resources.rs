//! `resources`: how much of the machine a plugin may use.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::fault::{Findings, quoted};
use crate::read::{Node, whole_number};

/// Least memory that engines accept, 6 MiB.
const MIN_MEMORY: u64 = 6 << 20;
/// Most bytes of memory or disk, 1 PiB.
const MAX_BYTES: u64 = 1 << 50;
const MAX_CPUS: f64 = 1024.0;
const MAX_PIDS: u64 = 4_194_304;

/// Upper bounds, as the manifest asks for them. The framework may set lower ones.
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

impl Resources {
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
