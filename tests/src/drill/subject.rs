//! A throw-away plugin: how it comes to where a row begins, and what is asked about it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use envelope::{Operation, PluginId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ground::Images;
use super::table::{Begins, Behaviour, Row, Scenario};
use crate::stack::Stack;
use crate::stack::requester::{Asked, Requester};

/// What is taken back and given again where an operation is about grants.
const GRANT: &str = "permission:plugin:control";

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
        if scenario.begins == Begins::Revoked {
            requester.must(Operation::RevokeGrant, json!({"plugin_id": id, "grant": GRANT})).await?;
        }
        if scenario.begins == Begins::Updated {
            requester.must(Operation::Update, update(scenario, &id, images)).await?;
        }
        let payload = payload(&mut requester, scenario, &id, images).await?;
        let asked = Asked::new(scenario.operation, payload);
        Ok(Self { row, id, images: images.clone(), requester, asked })
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

fn manifest(scenario: &Scenario, id: &PluginId, version: &str) -> Value {
    let mut manifest = json!({"id": id, "name": "Throw-away", "version": version, "stop_timeout_seconds": 5});
    if is_about_grants(scenario) {
        manifest["permissions"] = json!(["system:read", "plugin:control"]);
    }
    let is_new = version == SECOND || scenario.operation == Operation::Start;
    match scenario.behaviour {
        Behaviour::Ending if is_new => manifest["docker"] = json!({"environment": {"DRILL_ENDS": "1"}}),
        Behaviour::Silent if is_new => {
            manifest["docker"] = json!({"environment": {"FIRST": "3600"}});
            manifest["start_timeout_seconds"] = json!(SILENCE_SECONDS);
        }
        Behaviour::Well | Behaviour::Ending | Behaviour::Silent => {}
    }
    manifest
}

fn is_about_grants(scenario: &Scenario) -> bool {
    matches!(scenario.operation, Operation::Approve | Operation::RevokeGrant)
}

async fn install(requester: &mut Requester, scenario: &Scenario, id: &PluginId, source: &str) -> Result<()> {
    let mut request = json!({"plugin_id": id, "source": source, "manifest": manifest(scenario, id, FIRST)});
    if is_about_grants(scenario) {
        let told = requester.ask(Operation::Install, request.clone()).await?;
        request["approve"] = told["error"]["details"]["approve"].clone();
    }
    requester.must(Operation::Install, request).await?;
    Ok(())
}

fn update(scenario: &Scenario, id: &PluginId, images: &Images) -> Value {
    json!({"plugin_id": id, "source": images.second, "manifest": manifest(scenario, id, SECOND)})
}

/// What the row's operation is asked with.
async fn payload(
    requester: &mut Requester,
    scenario: &Scenario,
    id: &PluginId,
    images: &Images,
) -> Result<Value> {
    Ok(match scenario.operation {
        Operation::Install => {
            json!({"plugin_id": id, "source": images.first, "manifest": manifest(scenario, id, FIRST)})
        }
        Operation::Update => update(scenario, id, images),
        Operation::Config => json!({"plugin_id": id, "config": {"gain": 1}}),
        Operation::Remove => json!({"plugin_id": id, "remove_volumes": true}),
        Operation::RevokeGrant => json!({"plugin_id": id, "grant": GRANT}),
        Operation::Approve => {
            let told = requester.must(Operation::Grants, json!({"plugin_id": id})).await?;
            json!({"plugin_id": id, "approve": told["pending"]["approve"]})
        }
        _ => json!({"plugin_id": id}),
    })
}
