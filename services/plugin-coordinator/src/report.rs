//! What the coordinator tells of plugins: retained state and spec, and the events of every change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chassis::Publisher;
use envelope::payload::event::{Event, EventKind, Progress};
use envelope::payload::spec::Spec;
use envelope::payload::state::{Phase, PluginHealth, PluginState, Watchdog, WatchdogState};
use envelope::{Answer, Coordinator, Envelope, MessageType, OperationId, PluginId, topic};
use manifest::{Grant, Manifest};
use serde_json::{Value, json};

use crate::health::HealthNow;
use crate::operation::Running;
use crate::record::{Desired, Record, keys};

/// Tells of plugins, and only what is new.
#[derive(Clone)]
pub(crate) struct Reporter {
    publisher: Publisher,
    node: String,
    told: Arc<Mutex<HashMap<PluginId, Told>>>,
}

/// Why something happens, and what it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Why {
    pub(crate) cause: String,
    pub(crate) by: String,
    pub(crate) operation_id: Option<OperationId>,
    pub(crate) correlation_id: String,
    pub(crate) traceparent: Option<String>,
}

impl From<&Running> for Why {
    fn from(operation: &Running) -> Self {
        Self {
            cause: operation.cause(),
            by: operation.principal.clone(),
            operation_id: Some(operation.id),
            correlation_id: operation.correlation_id.clone(),
            traceparent: operation.traceparent.clone(),
        }
    }
}

#[derive(Default)]
struct Told {
    state: Option<PluginState>,
    spec: Option<Spec>,
}

/// A plugin's state, as it is told on its topic and in answers.
pub(crate) fn state(
    record: &Record,
    manifest: &Manifest,
    node: &str,
    operation: Option<&Running>,
    health: &HealthNow,
) -> PluginState {
    let running = record.standing.phase == Phase::Running;
    PluginState {
        plugin_id: record.id.clone(),
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        phase: record.standing.phase,
        health: if running { health.health } else { PluginHealth::Unknown },
        health_message: health.message.clone().filter(|_| running),
        reason: record.standing.reason.clone(),
        digest: record.release.digest.clone(),
        node: node.to_owned(),
        generation: record.generation,
        rating: record.rating(manifest).score,
        since: record.standing.since,
        cause: record.standing.cause.clone(),
        correlation_id: record.standing.correlation_id.clone(),
        operation: operation.map(Running::summary),
        watchdog: record.watchdog.suspended.as_ref().filter(|_| record.desired == Desired::Running).map(
            |suspended| Watchdog {
                state: WatchdogState::Suspended,
                reason: suspended.why.clone(),
                since: suspended.since,
            },
        ),
    }
}

impl Reporter {
    pub(crate) fn new(publisher: Publisher, node: String) -> Self {
        Self { publisher, node, told: Arc::default() }
    }

    /// Tells a plugin's state and spec where they are news, and an event for a new phase or health.
    pub(crate) fn tell(
        &self,
        record: &Record,
        manifest: &Manifest,
        operation: Option<&Running>,
        health: &HealthNow,
    ) {
        let state = state(record, manifest, &self.node, operation, health);
        let spec = record.spec(manifest, &self.node);
        let (before, new_spec) = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let told = told.entry(record.id.clone()).or_default();
            let new_spec = told.spec.as_ref() != Some(&spec);
            told.spec = Some(spec.clone());
            (told.state.replace(state.clone()), new_spec)
        };
        if new_spec {
            self.publisher.retain(topic::coordinator::spec(&record.id), self.status(spec));
        }
        if before.as_ref() == Some(&state) {
            return;
        }
        self.publisher.retain(topic::coordinator::state(&record.id), self.status(state.clone()));
        let was = before.as_ref().map(|b| b.phase);
        if was != Some(state.phase) {
            let from = was.map_or("unknown", Phase::as_str);
            let why = state.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            let message = format!("{} is {}{why}", record.id, state.phase.as_str());
            let details = json!({"from": from, "to": state.phase});
            self.event(EventKind::Phase, record, operation, message, details);
        }
        if before.is_some_and(|b| b.health != state.health) && state.phase == Phase::Running {
            let why = state.health_message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
            let message = format!("{} is {}{why}", record.id, state.health.as_str());
            let details = json!({"health": state.health});
            self.event(EventKind::Health, record, operation, message, details);
        }
    }

    fn status<T: serde::Serialize>(&self, payload: T) -> Vec<u8> {
        let source = format!("coordinator:{}", Coordinator::Plugin);
        Envelope::new(MessageType::Status, source, payload).encode()
    }

    fn event(
        &self,
        event: EventKind,
        record: &Record,
        operation: Option<&Running>,
        message: String,
        details: Value,
    ) {
        let event = Event {
            event,
            plugin_id: Some(record.id.clone()),
            operation_id: operation.map(|o| o.id),
            message,
            cause: record.standing.cause.clone(),
            details,
        };
        let correlation_id = operation.map_or(&record.standing.correlation_id, |o| &o.correlation_id);
        self.publisher.event(event, correlation_id, operation.and_then(|o| o.traceparent.clone()));
    }

    /// Tells how far an operation has come.
    pub(crate) fn progress(&self, operation: &Running, progress: Progress) {
        let event = Event {
            event: EventKind::Progress,
            plugin_id: Some(operation.plugin_id.clone()),
            operation_id: Some(operation.id),
            message: format!("{} {}: {}", operation.work.operation(), operation.plugin_id, progress.step),
            cause: operation.cause(),
            details: serde_json::to_value(progress).expect("progress has string keys"),
        };
        self.publisher.event(event, &operation.correlation_id, operation.traceparent.clone());
    }

    /// Tells how an operation ended.
    pub(crate) fn outcome(&self, operation: &Running, answer: &Answer) {
        let name = operation.work.operation();
        let (message, details) = match answer {
            Answer::Success(_) => {
                (format!("{name} {} succeeded", operation.plugin_id), json!({"success": true}))
            }
            Answer::Failure(error) => (
                format!("{name} {} failed: {}", operation.plugin_id, error.message),
                json!({"success": false, "code": error.code}),
            ),
        };
        let event = Event {
            event: EventKind::Outcome,
            plugin_id: Some(operation.plugin_id.clone()),
            operation_id: Some(operation.id),
            message,
            cause: operation.cause(),
            details,
        };
        self.publisher.event(event, &operation.correlation_id, operation.traceparent.clone());
    }

    /// Tells that somebody approved grants of a plugin, or took them back.
    pub(crate) fn grants(&self, id: &PluginId, grants: &[Grant], approved: bool, why: &Why) {
        if grants.is_empty() {
            return;
        }
        let all: Vec<String> = grants.iter().map(Grant::key).collect();
        let (verb, state) = if approved { ("approved", "approved") } else { ("took back", "revoked") };
        let event = Event {
            event: EventKind::Grant,
            plugin_id: Some(id.clone()),
            operation_id: why.operation_id,
            message: format!("{} {verb} {} of {id}", why.by, keys(grants)),
            cause: why.cause.clone(),
            details: json!({"state": state, "by": why.by, "grants": all}),
        };
        self.publisher.event(event, &why.correlation_id, why.traceparent.clone());
    }

    /// Tells that something about a plugin was refused, or found other than it should be.
    pub(crate) fn notice(&self, kind: EventKind, id: &PluginId, message: String, cause: &str) {
        let event = Event {
            event: kind,
            plugin_id: Some(id.clone()),
            operation_id: None,
            message,
            cause: cause.to_owned(),
            details: Value::Null,
        };
        self.publisher.event(event, &uuid::Uuid::now_v7().to_string(), None);
    }

    /// The next time that the plugin is told of its spec is, news or not.
    pub(crate) fn says_spec_again(&self, id: &PluginId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = told.get_mut(id) {
            told.spec = None;
        }
    }

    /// Clears what is retained of a plugin that is gone.
    pub(crate) fn forget(&self, id: &PluginId) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.publisher.clear(topic::coordinator::state(id));
        self.publisher.clear(topic::coordinator::spec(id));
    }
}
