//! Bringing the crowd up: a thousand plugins are installed and started as an operator would.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use envelope::{Operation, PluginId};
use serde_json::json;
use testkit::Version;
use tokio::time::{Instant, sleep};

use super::book::{Book, Count};
use super::engine::MARK;
use crate::stack::Stack;
use crate::stack::command::Run;
use crate::stack::operator::Operator;

/// Requests that are under way together: an operator may ask 50 a second.
const TOGETHER: usize = 40;
/// The crowd is given up when it comes no further for so long.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(200);

/// The ids of a crowd.
///
/// # Errors
/// Never: it is how ids are made that may fail.
pub fn ids(count: usize) -> Result<Vec<PluginId>> {
    (0..count).map(|n| PluginId::parse(&format!("{MARK}-{n:04}")).context("an id")).collect()
}

/// Installs them, and returns how long that took. Each is to say its health so often.
///
/// # Errors
/// The broker does not let us ask.
pub async fn install(stack: &Stack, ids: &[PluginId], source: &str, seconds: u32) -> Result<Duration> {
    all(stack, ids, Operation::Install, |id| {
        json!({"plugin_id": id, "source": source, "manifest": {
            "id": id, "name": format!("Plugin {id}"), "version": "1.0.0",
            "health_check": {"topic": envelope::topic::plugin::health(id), "interval_seconds": seconds},
            "start_timeout_seconds": 300,
        }})
    })
    .await
}

/// Starts them, and returns how long that took.
///
/// # Errors
/// The broker does not let us ask.
pub async fn start(stack: &Stack, ids: &[PluginId]) -> Result<Duration> {
    all(stack, ids, Operation::Start, |id| json!({"plugin_id": id})).await
}

async fn all(
    stack: &Stack,
    ids: &[PluginId],
    operation: Operation,
    payload: impl Fn(&PluginId) -> serde_json::Value,
) -> Result<Duration> {
    let mut operator = Operator::connect(stack, Version::V5).await?;
    let begin = Instant::now();
    for (done, ids) in ids.chunks(TOGETHER).enumerate() {
        let mut asked = Vec::new();
        for id in ids {
            asked.push(operator.send(operation, payload(id)).await);
        }
        for id in &asked {
            operator.answer(id).await.data();
        }
        if done % 5 == 4 {
            let (done, took) = ((done + 1) * TOGETHER, begin.elapsed().as_secs());
            println!("load: {operation} of {done} plugins answered after {took} s");
        }
    }
    Ok(begin.elapsed())
}

/// Restarts the plugin coordinator, and returns how long after its start it has told of each plugin that it is
/// healthy.
///
/// # Errors
/// It does not come that far.
pub async fn restart(stack: &Stack, book: &Book, count: usize) -> Result<Duration> {
    stack.compose(["stop", "plugin-coordinator"]).ok().await?;
    book.forget_told();
    stack.compose(["start", "plugin-coordinator"]).ok().await?;
    let container = stack.container("plugin-coordinator");
    let begin = Instant::now();
    let well = well(book, count).await;
    let log = Run::docker(["logs", "--tail", "20", &container]).output().await?;
    well.with_context(|| log.text)?;
    Ok(begin.elapsed())
}

/// Waits until all are healthy.
///
/// # Errors
/// It comes no further.
pub async fn well(book: &Book, count: usize) -> Result<()> {
    let (mut last, mut since) = (Count::default(), Instant::now());
    loop {
        let now = book.count();
        if now.healthy >= count {
            return Ok(());
        }
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            bail!("of {count} plugins there are, without a change for {PATIENCE:?}: {now:?}");
        }
        sleep(PAUSE).await;
    }
}
