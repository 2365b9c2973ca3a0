//! What is looked for after recovery. Each check waits for a while: recovering takes time.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use envelope::topic::{coordinator, plugin};
use envelope::{ErrorCode, Operation, PluginId, principal};
use serde_json::{Value, json};
use testkit::Version;
use tokio::time::{Instant, sleep};

use super::equipment;
use super::ground::Ground;
use super::subject::{FIRST, SECOND, Subject};
use super::table::{Ends, Victim};
use crate::stack::command::Run;
use crate::stack::ledger::Count;
use crate::stack::listener::json as payload;

/// How long the broker may take to send what it has retained.
const SENDS: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(150);
/// How long the engine's events may lag behind.
const LAG: Duration = Duration::from_secs(3);

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Whether the plugin came to where the row begins, and the coordinator to where it holds.
    Reached,
    /// Whether what is there is what was asked for.
    Converged,
    /// Whether it has the image, manifest, configuration and grants that the operation should leave.
    Equipped,
    /// Whether its data is there, or gone where that was asked for.
    Data,
    /// Whether there is one outcome, and its answer.
    Outcome,
    /// Whether there is nothing but what there must be.
    Left,
    /// Whether nothing was run twice.
    Once,
    /// Whether other plugins were left alone.
    Others,
    /// Whether it can be removed in the end.
    Removed,
}

/// What was found of one row: what is well, or why it is not.
#[derive(Debug)]
pub struct Found(pub Vec<(What, Result<String>)>);

impl Found {
    /// Whether all is well.
    pub fn is_well(&self) -> bool {
        self.0.iter().all(|(_, found)| found.is_ok())
    }

    /// Whether this is not well.
    pub fn is_wrong(&self, what: What) -> bool {
        self.0.iter().any(|(which, found)| *which == what && found.is_err())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (what, found)) in self.0.iter().enumerate() {
            let between = if place > 0 { " | " } else { "" };
            match found {
                Ok(well) => write!(f, "{between}{well}")?,
                Err(why) => write!(f, "{between}NOT {what:?}: {}", format!("{why:#}").trim())?,
            }
        }
        Ok(())
    }
}

/// Looks at everything of one plugin. `before` is what had been done with its containers before the request.
pub async fn look(ground: &Ground<'_>, subject: &mut Subject, before: Count) -> Found {
    // In this order: what an answer says is waited for first, and what is counted is counted in the end.
    let answered = one_outcome(subject).await;
    let ends = subject.row.scenario.ends;
    let converged = converged(ground, subject, ends).await;
    let equipped = equipped(ground, subject, ends).await;
    let data = data(ground, subject, ends).await;
    let left = nothing_left(ground, subject, ends).await;
    let repeated = same_again(subject).await;
    let once = nothing_twice(ground, subject, before).await;
    let all = [converged, equipped, data, answered.and(repeated), left, once];
    let what = [What::Converged, What::Equipped, What::Data, What::Outcome, What::Left, What::Once];
    Found(what.into_iter().zip(all).collect())
}

async fn equipped(ground: &Ground<'_>, subject: &mut Subject, ends: Ends) -> Result<String> {
    if ends == Ends::Absent {
        return Ok("has nothing".to_owned());
    }
    until(subject.requester.patience, async || equipment::look(ground, subject, ends).await).await?;
    Ok("as it should be".to_owned())
}

async fn data(ground: &Ground<'_>, subject: &Subject, ends: Ends) -> Result<String> {
    until(subject.requester.patience, async || equipment::data(ground, subject, ends).await).await
}

/// Waits until `check` succeeds, or returns why it does not.
async fn until<T>(patience: Duration, mut check: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        match check().await {
            Err(error) if Instant::now() >= end => return Err(error.context(format!("after {patience:?}"))),
            Err(_) => sleep(PAUSE).await,
            found => return found,
        }
    }
}

async fn one_outcome(subject: &mut Subject) -> Result<()> {
    let answers = subject.requester.answers(&subject.asked, 1).await?;
    let first = answers.first().context("no answer")?;
    ensure!(answers.iter().all(|a| a.payload == first.payload), "answers of different bytes: {answers:?}");
    let answer = &payload(first)["payload"];
    match subject.row.scenario.fails {
        None => ensure!(answer["success"] == true, "it was answered with {}", answer["error"]),
        Some(code) => ensure!(answer["error"]["code"] == code.as_str(), "not {code:?} but {answer}"),
    }
    Ok(())
}

/// The same request again: whatever was delivered before, the same bytes are.
async fn same_again(subject: &mut Subject) -> Result<String> {
    let before = subject.requester.answers(&subject.asked, 1).await?.len();
    subject.requester.send(&subject.asked).await?;
    let answers = subject.requester.answers(&subject.asked, before + 1).await?;
    let first = answers.first().context("no answer")?;
    ensure!(answers.iter().all(|a| a.payload == first.payload), "repeated with other bytes: {answers:?}");
    Ok(format!("one outcome, {} deliveries alike", answers.len()))
}

/// Whether inspect, the retained state and the engine say what is wanted.
async fn converged(ground: &Ground<'_>, subject: &mut Subject, ends: Ends) -> Result<String> {
    let (id, scenario) = (subject.id.clone(), subject.row.scenario);
    let version = if scenario.is_updated() { SECOND } else { FIRST };
    let requester = &mut subject.requester;
    until(requester.patience, async || {
        let inspected = requester.ask(Operation::Inspect, json!({"plugin_id": id})).await?;
        let kept = retained(ground, &[coordinator::state(&id)]).await?;
        let container = ground.stack.plugin_container(&id).await?;
        let state = &inspected["data"]["state"];
        let phase = match ends {
            Ends::Absent => {
                ensure!(inspected["error"]["code"] == ErrorCode::UnknownPlugin.as_str(), "it is {state}");
                ensure!(container.is_none(), "it has a container");
                return Ok("gone".to_owned());
            }
            Ends::Stopped if scenario.operation == Operation::Start && !scenario.cancelled => "failed",
            Ends::Stopped => "stopped",
            Ends::Running => "running",
        };
        ensure!(state["phase"] == phase && state["operation"].is_null(), "it is {inspected}");
        ensure!(state["version"] == version, "it is of the version {}", state["version"]);
        let kept = kept.first().context("no state of it is retained")?;
        ensure!(kept["phase"] == phase, "its retained state is {kept}");
        match (ends, container) {
            (Ends::Running, Some(container)) => {
                ensure!(container["State"]["Running"] == true, "its process is {}", container["State"]);
                ensure!(state["health"] == "healthy", "it runs and is {}", state["health"]);
            }
            (Ends::Running, None) => bail!("it has no container"),
            (_, Some(_)) => bail!("it has a container"),
            (_, None) => {}
        }
        Ok(phase.to_owned())
    })
    .await
}

/// Whether there is nothing of it but what there must be.
async fn nothing_left(ground: &Ground<'_>, subject: &Subject, ends: Ends) -> Result<String> {
    let id = &subject.id;
    until(subject.requester.patience, async || {
        let runs = usize::from(ends == Ends::Running);
        for (role, wanted) in [("plugin", runs), ("forwarder", 0)] {
            let found = ground.stack.containers_of(id, role).await?;
            ensure!(found.len() == wanted, "{} containers with the role {role}, not {wanted}", found.len());
        }
        let identities = ground.stack.identities().await?;
        let login = principal::plugin_login(id);
        let clients = identities["clients"].as_array().cloned().unwrap_or_default();
        let logins = clients.iter().filter(|client| client["username"] == *login).count();
        ensure!(logins == runs, "{logins} logins at the broker, not {runs}");
        if ends != Ends::Absent {
            return Ok("nothing left over".to_owned());
        }
        let text = identities.to_string();
        for trace in [format!("\"{login}\""), format!("{login}:"), format!("/{id}/")] {
            ensure!(!text.contains(&trace), "the broker's identities have {trace} in them");
        }
        let topics =
            [coordinator::spec(id), coordinator::state(id), coordinator::acl(id), plugin::namespace(id)];
        let kept = retained(ground, &topics).await?;
        ensure!(kept.is_empty(), "retained: {kept:?}");
        for image in [&subject.images.first, &subject.images.second] {
            ensure!(!ground.has_image(image).await?, "the engine has {image}");
        }
        Ok("nothing left over".to_owned())
    })
    .await
}

/// Whether no process was started twice, and no container made twice.
async fn nothing_twice(ground: &Ground<'_>, subject: &Subject, before: Count) -> Result<String> {
    let scenario = subject.row.scenario;
    let mut wanted =
        Count { made: before.made + scenario.containers, started: before.started + scenario.starts };
    let ended_unseen = match subject.row.victim {
        // A process that ran has ended with it, and is started again or replaced. Where none ran there is none to start
        // again: then a start more is one that was done twice.
        Victim::Engine => scenario.ends == Ends::Running && subject.ran_at_kill,
        // Nobody saw the process end: that may have been the engine's doing, and it gets another try.
        Victim::Plugin => subject.row.stage.step == "ended_early",
        _ => false,
    };
    if ended_unseen {
        let found = ground.ledger.count(&subject.id).started;
        ensure!(found <= wanted.started + 1, "{found} starts, at most {} are right", wanted.started + 1);
        wanted.started = found;
    }
    let end = Instant::now() + LAG;
    while ground.ledger.count(&subject.id) != wanted {
        let found = ground.ledger.count(&subject.id);
        ensure!(Instant::now() < end, "{found:?} in all, and {wanted:?} is right");
        sleep(PAUSE).await;
    }
    let (made, started) = (scenario.containers, wanted.started - before.started);
    Ok(format!("{made} made, {started} started"))
}

/// What the broker has retained under these filters, as payloads of envelopes.
async fn retained(ground: &Ground<'_>, filters: &[String]) -> Result<Vec<Value>> {
    let mut client = ground.stack.operator_client(Version::V5).await?;
    let end = coordinator::jwks();
    for filter in filters.iter().chain([&end]) {
        client.subscribe(filter).await?;
    }
    let mut kept = Vec::new();
    loop {
        // Sent in the order of subscribing, so everything before this one is here when it comes.
        let message = client.recv(SENDS).await.context("the broker has no keys retained")?;
        if message.topic == end {
            return Ok(kept);
        }
        if message.retain && !message.payload.is_empty() {
            kept.push(payload(&message)["payload"].clone());
        }
    }
}

/// Removes what a row has left installed.
pub async fn clear(requester: &mut crate::stack::requester::Requester, id: &PluginId) -> Result<()> {
    let removed = requester.ask(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await?;
    let gone = removed["success"] == true || removed["error"]["code"] == ErrorCode::UnknownPlugin.as_str();
    ensure!(gone, "it cannot be removed: {removed}");
    Ok(())
}

/// Removes the data that a removal has left, and looks whether any is left then.
pub async fn clear_data(ground: &Ground<'_>, subject: &Subject) -> Result<()> {
    if let Some(volume) = subject.volume.as_ref().filter(|_| subject.row.scenario.keeps_data) {
        Run::docker(["volume", "rm", volume]).ok().await?;
    }
    let left = ground.volumes_of(&subject.id).await?;
    ensure!(left.is_empty(), "its volumes are left: {left:?}");
    Ok(())
}
