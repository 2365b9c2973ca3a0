//! What the coordinators log: no panic, and no error but those that an outage explains.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::book::Fault;
use super::field::Field;
use crate::repository::root;
use crate::stack::command::Run;
use crate::stack::{COORDINATORS, Stack};

const QUIET: &str = "no coordinator panics, or logs an error that nothing explains";

/// Errors that are right here: a part of the line, and why.
const EXPLAINED: [(&str, &str); 0] = [];

/// How far each log has been read.
#[derive(Default)]
pub(super) struct Logs {
    read: BTreeMap<&'static str, String>,
}

impl Logs {
    /// Reads what is new.
    pub(super) async fn read(&mut self, field: &Field) {
        for (service, _) in COORDINATORS {
            match self.new_lines(&field.stack, service).await {
                Ok(lines) => {
                    field.book.held(QUIET);
                    for line in lines.iter().filter(|line| is_odd(line)) {
                        field.book.violated(Fault::new(QUIET, format!("nothing odd from {service}"), line));
                    }
                }
                Err(error) => eprintln!("the log of {service} was not read: {error:#}"),
            }
        }
    }

    async fn new_lines(&mut self, stack: &Stack, service: &'static str) -> Result<Vec<String>> {
        let container = stack.container(service);
        let since = self.read.get(service).cloned();
        let since = since.iter().flat_map(|since| ["--since", since.as_str()]);
        let log = Run::docker(["logs", "--timestamps"].into_iter().chain(since).chain([container.as_str()]));
        let log = log.output().await?;
        anyhow::ensure!(log.code == Some(0), "{}", log.text);
        let last = self.read.get(service).cloned().unwrap_or_default();
        let mut new = Vec::new();
        for line in log.text.lines() {
            let Some((stamp, line)) = line.split_once(' ') else { continue };
            // What was read last is told once more.
            if stamp > last.as_str() {
                new.push(line.to_owned());
                let read = self.read.entry(service).or_default();
                if stamp > read.as_str() {
                    stamp.clone_into(read);
                }
            }
        }
        Ok(new)
    }
}

/// Whether a line tells of what must not be.
pub(super) fn is_odd(line: &str) -> bool {
    if line.contains("panicked") {
        return true;
    }
    let said: Value = serde_json::from_str(line).unwrap_or_default();
    said["level"] == "ERROR" && !EXPLAINED.iter().any(|(part, _)| line.contains(part))
}

/// Leaves the logs of all services in `.cache/soak-logs`.
///
/// # Errors
/// They cannot be written.
pub(super) async fn save(stack: &Stack) -> Result<()> {
    let folder = root().join(".cache/soak-logs");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for service in COORDINATORS.map(|(service, _)| service).into_iter().chain(["mqtt-broker"]) {
        let log = Run::docker(["logs", "--timestamps", &stack.container(service)]).output().await?;
        let file = folder.join(format!("{service}.log"));
        fs::write(&file, log.text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_odd_and_warnings_are_not() {
        assert!(is_odd(r#"{"level":"ERROR","message":"x"}"#));
        assert!(is_odd("thread 'main' panicked at src/main.rs:1"));
        assert!(!is_odd(r#"{"level":"WARN","message":"x"}"#));
        assert!(!is_odd("not JSON"));
    }
}
