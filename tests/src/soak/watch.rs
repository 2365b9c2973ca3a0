//! What is looked at all the time: plugins that nobody touches, containers that there must not be two of, logs, and
//! how much the services use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::book::Fault;
use super::field::Field;
use super::gauge::Gauge;
use super::logs::Logs;
use crate::stack::bystander::Sameness;
use crate::stack::engine;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(10);

pub(super) const BYSTANDER: &str = "a plugin that nobody touches runs on in its container";
pub(super) const TWO: &str = "a plugin has one container at most";
pub(super) const ONCE: &str = "a start makes one container";

/// How the bystanders are.
pub(super) type Bystanders = Vec<Result<Sameness>>;

/// Looks until the field ends. What comes of that is how far the logs were read.
pub(super) async fn watch(field: Arc<Field>, gauge: Gauge) -> Logs {
    let mut before = (0, look_at_bystanders(&field).await);
    let mut logs = Logs::default();
    while !field.ends() {
        let next = Instant::now() + EVERY;
        {
            let _runs = field.engine.read().await;
            let kills = field.engine_kills.load(Ordering::Relaxed);
            if before.0 != kills {
                before = (kills, look_at_bystanders(&field).await);
            }
            for fault in bystanders_untouched(&field, &before.1).await {
                tell(&field, BYSTANDER, fault);
            }
            tell(&field, TWO, none_twice(&field).await);
            for fault in started_once(&field) {
                tell(&field, ONCE, fault);
            }
            logs.read(&field).await;
            match gauge.sample(field.book.now()).await {
                Ok(samples) => field.book.pages().samples.extend(samples),
                Err(error) => eprintln!("no sample was taken: {error:#}"),
            }
        }
        field.pause(next.saturating_duration_since(Instant::now())).await;
    }
    logs
}

fn tell(field: &Field, what: &'static str, fault: Option<Fault>) {
    match fault {
        None => field.book.held(what),
        Some(fault) => field.book.violated(fault),
    }
}

/// How the bystanders are now.
pub(super) async fn look_at_bystanders(field: &Field) -> Bystanders {
    let mut all = Vec::new();
    for bystander in &field.bystanders {
        all.push(bystander.look(&field.stack).await);
    }
    all
}

/// What is wrong with each bystander, if something is.
pub(super) async fn bystanders_untouched(field: &Field, before: &Bystanders) -> Vec<Option<Fault>> {
    let mut all = Vec::new();
    for (bystander, before) in field.bystanders.iter().zip(before) {
        let found = match before {
            Ok(before) => {
                bystander.untouched(&field.stack, before, false).await.map_err(|e| format!("{e:#}"))
            }
            Err(error) => Err(format!("{error:#}")),
        };
        let expected = format!("{} untouched", bystander.id());
        all.push(found.err().map(|seen| Fault::new(BYSTANDER, expected, seen)));
    }
    all
}

/// After the engine was killed the bystanders run again, in the containers that they had.
pub(super) async fn bystanders_return(field: &Field, before: &Bystanders) {
    for (bystander, before) in field.bystanders.iter().zip(before) {
        let Ok(before) = before else { continue };
        let found = bystander.returned(&field.stack, before).await.err();
        let expected = format!("{} runs again in its container", bystander.id());
        tell(field, BYSTANDER, found.map(|error| Fault::new(BYSTANDER, expected, format!("{error:#}"))));
    }
}

/// Plugins with more than one container.
pub(super) async fn none_twice(field: &Field) -> Option<Fault> {
    let label = format!("label=org.bigskies.installation={}", field.stack.installation);
    let list =
        ["ps", "--all", "--format", r#"{{.Label "org.bigskies.plugin_id"}} {{.Label "org.bigskies.role"}}"#];
    let found = match engine::listed(&list, &[label]).await {
        Ok(found) => found,
        Err(error) => return Some(Fault::new(TWO, "a list of containers", format!("{error:#}"))),
    };
    let mut counts = BTreeMap::<String, usize>::new();
    for line in found {
        *counts.entry(line).or_default() += 1;
    }
    let twice: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 1).map(|(whose, n)| format!("{n} of {whose}")).collect();
    (!twice.is_empty()).then(|| Fault::new(TWO, "one", twice.join(", ")))
}

/// Of each start for which more than one container was made, a fault.
fn started_once(field: &Field) -> Vec<Option<Fault>> {
    let twice = field.ledger.made_twice();
    if twice.is_empty() {
        return vec![None];
    }
    twice.iter().map(|start| Some(Fault::new(ONCE, "one container", format!("more for {start}")))).collect()
}
