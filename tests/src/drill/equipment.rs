//! What a plugin is equipped with: image, manifest, configuration, grants and data. Looked at where it is recorded, and
//! where it takes effect: in the container, at the broker and in the token.

use anyhow::{Context as _, Result, ensure};
use envelope::{Operation, PluginId};
use serde_json::{Value, json};

use super::ground::Ground;
use super::subject::{self, FIRST, SECOND, Subject};
use super::table::Ends;
use crate::stack::Stack;
use crate::stack::command::Run;
use crate::stack::listener::json as payload;
use crate::stack::requester::Requester;

const CONFIG: &str = "/config/plugin.json";
const APPROVED: &str = "approved";
/// Where the volume is mounted.
const FOLDER: &str = "/data";
/// What is written into it.
const DATA: &str = "/data/mark";

/// What it must have once the row's operation has ended as it was answered.
struct Wanted {
    source: String,
    manifest: Value,
    config: Value,
    /// Key and state of what it asks for beyond its own topics.
    grants: Vec<(String, &'static str)>,
}

impl Wanted {
    fn of(subject: &Subject) -> Self {
        let scenario = subject.row.scenario;
        let (version, source) = match scenario.is_updated() {
            true => (SECOND, &subject.images.second),
            false => (FIRST, &subject.images.first),
        };
        let asks = subject::is_about_grants(scenario) || version == SECOND;
        let is_asked_for = scenario.operation == Operation::Config;
        Self {
            source: source.clone(),
            manifest: subject::manifest(scenario, &subject.id, version),
            config: if is_asked_for { subject::another_config() } else { subject::config(version) },
            grants: if asks { grants(scenario.operation) } else { Vec::new() },
        }
    }

    fn has(&self, key: &str) -> bool {
        self.grants.iter().any(|(known, state)| known == key && *state == APPROVED)
    }
}

/// What there is of grants after this operation.
fn grants(after: Operation) -> Vec<(String, &'static str)> {
    let topic = if after == Operation::RevokeGrant { "revoked" } else { APPROVED };
    vec![(subject::topic_grant(), topic), (subject::PERMISSION_GRANT.to_owned(), APPROVED)]
}

/// Whether it has what the operation should leave, in the record and in what runs.
///
/// # Errors
/// What is otherwise, or cannot be looked at.
pub(super) async fn look(ground: &Ground<'_>, subject: &mut Subject, ends: Ends) -> Result<()> {
    let wanted = Wanted::of(subject);
    let id = subject.id.clone();
    let inspected = subject.requester.must(Operation::Inspect, json!({"plugin_id": id})).await?;
    let digest = &inspected["state"]["digest"];
    ensure!(inspected["source"] == wanted.source, "it is of the image {}", inspected["source"]);
    ensure!(inspected["manifest"] == wanted.manifest, "its manifest is {}", inspected["manifest"]);
    let told = subject.requester.must(Operation::Grants, json!({"plugin_id": id})).await?;
    for grants in [&inspected["grants"], &told["grants"]] {
        ensure!(states(grants) == wanted.grants, "its grants are {grants}");
    }
    let answers = subject.requester.answers(&subject.asked, 1).await?;
    let answered = answers.first().map(payload).unwrap_or_default();
    let answered = &answered["payload"]["data"]["digest"];
    ensure!(answered.is_null() || answered == digest, "it is of {digest}, and was answered {answered}");
    if ends == Ends::Running {
        in_what_runs(ground, subject, &wanted, digest).await?;
    }
    Ok(())
}

/// Key and state of each grant.
fn states(grants: &Value) -> Vec<(String, &str)> {
    let all = grants.as_array().into_iter().flatten();
    all.filter_map(|grant| Some((grant["key"].as_str()?.to_owned(), grant["state"].as_str()?))).collect()
}

/// A configuration is told to nobody: it is seen in a container only.
async fn in_what_runs(
    ground: &Ground<'_>,
    subject: &mut Subject,
    wanted: &Wanted,
    digest: &Value,
) -> Result<()> {
    let id = &subject.id;
    let container = ground.stack.plugin_container(id).await?.context("it has no container")?;
    let image = container["Config"]["Image"].as_str().unwrap_or_default();
    let digest = digest.as_str().context("it has no digest")?;
    ensure!(image.ends_with(&format!("@{digest}")), "its container is of {image}, and not of {digest}");
    let name = container["Id"].as_str().context("a container has an id")?;
    let config = ground.read(name, CONFIG).await.context("it has no configuration")?;
    let config: Value = serde_json::from_str(&config).context("its configuration is no JSON")?;
    ensure!(config == wanted.config, "its container is configured with {config}, and not {}", wanted.config);

    let token = subject.requester.must(Operation::Introspect, json!({"plugin_id": id})).await?;
    let is_granted = wanted.has(subject::PERMISSION_GRANT);
    let scope = if is_granted { "system:read plugin:control" } else { "system:read" };
    let found = &token["claims"]["scope"];
    ensure!(*found == scope, "its token has the scope {found}, and not {scope:?}");
    let asked = json!({"plugin_id": id, "access": "subscribe", "topic": subject::foreign_topic()});
    let explained = subject.requester.must(Operation::Explain, asked).await?;
    let is_allowed = wanted.has(&subject::topic_grant());
    ensure!(explained["allowed"] == is_allowed, "its rights at the broker: {explained}");
    Ok(())
}

/// Whether its data is as it was, or gone where that was asked for, and no other volume is left.
///
/// # Errors
/// What is otherwise.
pub(super) async fn data(ground: &Ground<'_>, subject: &Subject, ends: Ends) -> Result<String> {
    let found = ground.volumes_of(&subject.id).await?;
    if ends == Ends::Absent && !subject.row.scenario.keeps_data {
        ensure!(found.is_empty(), "its volumes are left: {found:?}");
        return Ok("no data left".to_owned());
    }
    if let (Ends::Running, Some(volume)) = (ends, &subject.volume) {
        let container = ground.stack.plugin_container(&subject.id).await?.context("it has no container")?;
        let mounts = container["Mounts"].as_array().cloned().unwrap_or_default();
        let has = mounts.iter().any(|m| m["Name"] == **volume && m["Destination"] == FOLDER);
        ensure!(has, "{volume} is not mounted at {FOLDER}: {mounts:?}");
    }
    let Some(volume) = subject.volume.as_ref().filter(|_| subject.has_data) else {
        // One that never ran has no data; a start that failed has made its volume.
        let others = found.iter().any(|name| Some(name) != subject.volume.as_ref());
        ensure!(!others, "its volumes are {found:?}");
        return Ok("no data yet".to_owned());
    };
    ensure!(found == [volume.clone()], "its volumes are {found:?}, and not {volume}");
    let data = ground.read_volume(volume, FOLDER, DATA).await.context("its data is gone")?;
    ensure!(data == subject.id.as_str(), "its data is {data:?}");
    Ok("data kept".to_owned())
}

/// Writes into the volume of a plugin that runs, as the plugin would.
///
/// # Errors
/// It does not run, or its volume is not its user's.
pub(super) async fn write_data(stack: &Stack, id: &PluginId) -> Result<()> {
    within(stack, id, &format!("printf %s {id} > {DATA}")).await
}

/// Takes away what was written, so that it is seen whether that would be noticed.
///
/// # Errors
/// It does not run.
pub(super) async fn lose_data(stack: &Stack, id: &PluginId) -> Result<()> {
    within(stack, id, &format!("rm -f {DATA}")).await
}

async fn within(stack: &Stack, id: &PluginId, command: &str) -> Result<()> {
    let found = stack.containers_of(id, "plugin").await?;
    let container = found.first().context("it has no container")?;
    Run::docker(["exec", container, "sh", "-c", command]).ok().await?;
    Ok(())
}

/// The name of a plugin's volume.
///
/// # Errors
/// It has none.
pub(super) async fn volume(requester: &mut Requester, id: &PluginId) -> Result<String> {
    let inspected = requester.must(Operation::Inspect, json!({"plugin_id": id})).await?;
    let volumes = inspected["volumes"].as_object().cloned().unwrap_or_default();
    volumes.keys().next().cloned().with_context(|| format!("it has no volume: {inspected}"))
}
