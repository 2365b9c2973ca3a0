//! What is told: acknowledgements, and events with their cause.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chassis::Publisher;
use envelope::payload::event::{Event, EventKind};
use envelope::payload::spec::{AclOutcome, AclStatus};
use envelope::{Coordinator, Envelope, MessageType, PluginId, topic};
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::proof::is_canary;
use crate::reconcile::{Drift, DriftKind, Planned};

/// Above so many losses one event tells of all of them: the broker had lost its file.
const MANY: usize = 20;

/// Why something happens, and what it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    /// In words.
    pub(crate) text: String,
    /// Joins everything that comes of it.
    pub(crate) correlation_id: String,
    /// Trace context to send on.
    pub(crate) traceparent: Option<String>,
}

impl Cause {
    /// Something that begins here.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let correlation_id = uuid::Uuid::now_v7().to_string();
        Self { text: text.into(), correlation_id, traceparent: None }
    }

    /// A request.
    pub(crate) fn request(permit: &chassis::Permit, request: &chassis::Request) -> Self {
        Self {
            text: format!("{} asked to {}", permit.principal(), permit.operation()),
            correlation_id: request.correlation_id.clone(),
            traceparent: request.traceparent.clone(),
        }
    }
}

/// Tells the world.
pub(crate) struct Report {
    publisher: Publisher,
    acknowledged: Mutex<BTreeMap<PluginId, AclStatus>>,
}

impl Report {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self { publisher, acknowledged: Mutex::default() }
    }

    /// Keeps the acknowledgement on its topic. What was said before is not said again.
    pub(crate) fn acknowledge(&self, status: &AclStatus) {
        let mut said = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(&status.plugin_id) == Some(status) {
            return;
        }
        said.insert(status.plugin_id.clone(), status.clone());
        let source = format!("coordinator:{}", Coordinator::Message);
        let message = Envelope::new(MessageType::Status, source, status).encode();
        self.publisher.retain(topic::coordinator::acl(&status.plugin_id), message);
    }

    /// Clears the acknowledgement.
    pub(crate) fn forget(&self, id: &PluginId) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.publisher.clear(topic::coordinator::acl(id));
    }

    /// Tells what became of a spec.
    pub(crate) fn settled(&self, status: &AclStatus, cause: &Cause) {
        let (id, generation) = (&status.plugin_id, status.generation);
        let message = match &status.outcome {
            AclOutcome::Applied { .. } => {
                format!("The broker has the rights of the plugin {id} in its generation {generation}.")
            }
            AclOutcome::Absent => format!("Nothing of the plugin {id} is left at the broker."),
            AclOutcome::Refused { reasons } => {
                format!("The rights of the plugin {id} are refused. {}", reasons.join(" "))
            }
        };
        let details = serde_json::to_value(status).unwrap_or_default();
        self.event(EventKind::Acl, Some(id), message, details, cause);
    }

    /// Tells what was found other than it should be, and put right.
    pub(crate) fn drift<'a>(&self, steps: impl Iterator<Item = &'a Planned>, cause: &Cause) {
        let drifts: Vec<(&Planned, &Drift)> =
            steps.filter_map(|planned| Some((planned, planned.drift.as_ref()?))).collect();
        let missing = drifts.iter().filter(|(_, d)| d.kind == DriftKind::Missing).count();
        for (planned, drift) in &drifts {
            if missing > MANY && drift.kind == DriftKind::Missing {
                tracing::warn!("{}", drift.message);
                continue;
            }
            let mut details = json!({"kind": drift.kind.as_str()});
            if let Some(account) = &planned.account {
                details["account"] = json!(account);
            }
            let plugin = planned.plugin.as_ref().filter(|id| !is_canary(id));
            self.event(EventKind::Drift, plugin, drift.message.clone(), details, cause);
        }
        if missing > MANY {
            let message = format!(
                "The broker had lost {missing} roles and logins, as with its file; they are there again."
            );
            let details = json!({"kind": DriftKind::Missing.as_str(), "count": missing});
            self.event(EventKind::Drift, None, message, details, cause);
        }
    }

    /// Tells what became of an operator's account, and who saw to it.
    pub(crate) fn account(&self, account: &Account, message: String, cause: &Cause) {
        let details = json!({
            "account": account.name,
            "role": account.role,
            "disabled": account.disabled,
            "removed": account.removed,
            "by": account.changed.by,
        });
        self.event(EventKind::Account, None, message, details, cause);
    }

    /// Tells that something on a topic of ours was not taken.
    pub(crate) fn refused(&self, id: &PluginId, message: String, cause: &Cause) {
        self.event(EventKind::Refused, Some(id), message, Value::Null, cause);
    }

    fn event(
        &self,
        event: EventKind,
        plugin: Option<&PluginId>,
        message: String,
        details: Value,
        cause: &Cause,
    ) {
        let event = Event {
            event,
            plugin_id: plugin.cloned(),
            operation_id: None,
            message,
            cause: cause.text.clone(),
            details,
        };
        self.publisher.event(event, &cause.correlation_id, cause.traceparent.clone());
    }
}
