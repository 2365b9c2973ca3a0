//! A throw-away plugin: how it comes to where a row begins, and what is asked about it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use envelope::topic::plugin;
use envelope::{Operation, PluginId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::equipment;
use super::ground::Images;
use super::table::{Begins, Behaviour, Row, Scenario};
use crate::stack::Stack;
use crate::stack::requester::{Asked, Requester};

/// One of the two grants that there are: it shows in the token. The other is [`topic_grant`].
pub const PERMISSION_GRANT: &str = "permission:plugin:control";

const PAUSE: Duration = Duration::from_millis(100);

/// A throw-away plugin of one row.
pub struct Subject {
    /// The row.
    pub row: Row,
    /// Its id.
    pub id: PluginId,
    /// Its images.
    pub images: Images,
    /// Who asks.
    pub requester: Requester,
    /// The request that the row is about.
    pub asked: Asked,
    /// Its volume, if it is installed when the row begins.
    pub volume: Option<String>,
    /// Whether there is something in its volume that must stay there.
    pub has_data: bool,
    /// Whether its process ran when the row's victim was killed.
    pub ran_at_kill: bool,
}

impl Subject {
    /// Brings a plugin to where the row begins.
    ///
    /// # Errors
    /// It does not come there.
    pub async fn bring(stack: &Stack, row: Row, images: &Images) -> Result<Self> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let id = PluginId::parse(&format!("drill-{}", &unique[..12])).context("an id")?;
        let mut requester = Requester::connect(stack).await?;
        let scenario = row.scenario;
        if scenario.begins != Begins::Absent {
            install(&mut requester, scenario, &id, &images.first).await?;
        }
        if matches!(scenario.begins, Begins::Running | Begins::Revoked | Begins::Updated) {
            requester.must(Operation::Start, json!({"plugin_id": id})).await?;
        }
        let has_data = !matches!(scenario.begins, Begins::Absent | Begins::Installed);
        if has_data {
            equipment::write_data(stack, &id).await?;
        }
        if scenario.begins == Begins::Revoked {
            for grant in [PERMISSION_GRANT.to_owned(), topic_grant()] {
                requester.must(Operation::RevokeGrant, json!({"plugin_id": id, "grant": grant})).await?;
            }
        }
        if scenario.begins == Begins::Updated {
            let update = update(&mut requester, scenario, &id, images).await?;
            requester.must(Operation::Update, update).await?;
        }
        let volume = match scenario.begins {
            Begins::Absent => None,
            _ => Some(equipment::volume(&mut requester, &id).await?),
        };
        let payload = payload(&mut requester, scenario, &id, images).await?;
        let asked = Asked::new(scenario.operation, payload);
        let images = images.clone();
        Ok(Self { row, id, images, requester, asked, volume, has_data, ran_at_kill: false })
    }

    /// Cancels what was asked for once it waits for the message coordinator.
    ///
    /// # Errors
    /// It does not come so far in time, or is not cancelled.
    pub async fn cancel(&mut self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        loop {
            let inspected = self.requester.ask(Operation::Inspect, json!({"plugin_id": self.id})).await?;
            let operation = &inspected["data"]["state"]["operation"];
            if operation["step"] == "await_acl" {
                let payload = json!({"operation_id": operation["id"]});
                self.requester.must(Operation::Cancel, payload).await?;
                return Ok(());
            }
            ensure!(Instant::now() < end, "it does not wait for the message coordinator: {operation}");
            sleep(PAUSE).await;
        }
    }
}

/// The version that it has when it is updated; it is installed with another.
pub const SECOND: &str = "1.1.0";
/// The version that it is installed with.
pub const FIRST: &str = "1.0.0";

/// How long a plugin may be silent that is to fail by it.
const SILENCE_SECONDS: u32 = 8;

/// A topic that is another's.
pub fn foreign_topic() -> String {
    plugin::status(&PluginId::parse("drill-neighbour").expect("an id"))
}

/// The other grant: it shows at the broker, and is taken back where that is the operation.
pub fn topic_grant() -> String {
    format!("subscribe:{}", foreign_topic())
}

/// What a version of it is installed or updated with.
pub fn manifest(scenario: &Scenario, id: &PluginId, version: &str) -> Value {
    let mut manifest = json!({
        "id": id, "name": "Throw-away", "version": version, "stop_timeout_seconds": 5,
        "docker": {"volumes": ["data:/data"]},
    });
    // What it is updated to asks for more than what it is installed from.
    if is_about_grants(scenario) || version == SECOND {
        manifest["permissions"] = json!(["system:read", "plugin:control"]);
        manifest["mqtt"] = json!({"topics_subscribe": [foreign_topic()]});
    }
    let is_new = version == SECOND || scenario.operation == Operation::Start;
    match scenario.behaviour {
        Behaviour::Ending if is_new => {
            manifest["docker"]["environment"] = json!({"DRILL_ENDS": "1"});
        }
        Behaviour::Silent if is_new => {
            manifest["docker"]["environment"] = json!({"FIRST": "3600"});
            manifest["start_timeout_seconds"] = json!(SILENCE_SECONDS);
        }
        Behaviour::Well | Behaviour::Ending | Behaviour::Silent => {}
    }
    manifest
}

/// Whether its operation is about grants.
pub fn is_about_grants(scenario: &Scenario) -> bool {
    matches!(scenario.operation, Operation::Approve | Operation::RevokeGrant)
}

async fn install(requester: &mut Requester, scenario: &Scenario, id: &PluginId, source: &str) -> Result<()> {
    let mut request = first(scenario, id, source);
    if is_about_grants(scenario) {
        request = approved(requester, Operation::Install, request).await?;
    }
    requester.must(Operation::Install, request).await?;
    Ok(())
}

/// What it is installed with.
fn first(scenario: &Scenario, id: &PluginId, source: &str) -> Value {
    let manifest = manifest(scenario, id, FIRST);
    json!({"plugin_id": id, "source": source, "manifest": manifest, "config": config(FIRST)})
}

/// What it is updated with.
async fn update(
    requester: &mut Requester,
    scenario: &Scenario,
    id: &PluginId,
    images: &Images,
) -> Result<Value> {
    let manifest = manifest(scenario, id, SECOND);
    let request =
        json!({"plugin_id": id, "source": images.second, "manifest": manifest, "config": config(SECOND)});
    approved(requester, Operation::Update, request).await
}

/// The request with what approves all that it asks for: that is told to who asks without.
async fn approved(requester: &mut Requester, operation: Operation, mut request: Value) -> Result<Value> {
    let told = requester.ask(operation, request.clone()).await?;
    let approve = &told["error"]["details"]["approve"];
    ensure!(approve.is_string(), "{operation} needs no approval: {told}");
    request["approve"] = approve.clone();
    Ok(request)
}

/// The configuration that comes with a version.
pub fn config(version: &str) -> Value {
    json!({"of": version})
}

/// The configuration that is asked for where that is the operation.
pub fn another_config() -> Value {
    json!({"of": "a request"})
}

/// What the row's operation is asked with.
async fn payload(
    requester: &mut Requester,
    scenario: &Scenario,
    id: &PluginId,
    images: &Images,
) -> Result<Value> {
    Ok(match scenario.operation {
        Operation::Install => first(scenario, id, &images.first),
        Operation::Update => update(requester, scenario, id, images).await?,
        Operation::Config => json!({"plugin_id": id, "config": another_config()}),
        Operation::Remove => json!({"plugin_id": id, "remove_volumes": !scenario.keeps_data}),
        Operation::RevokeGrant => json!({"plugin_id": id, "grant": topic_grant()}),
        Operation::Approve => {
            let told = requester.must(Operation::Grants, json!({"plugin_id": id})).await?;
            json!({"plugin_id": id, "approve": told["pending"]["approve"]})
        }
        _ => json!({"plugin_id": id}),
    })
}
