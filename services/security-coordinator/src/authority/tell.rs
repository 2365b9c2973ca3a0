//! Events of what changed. No token and no private key is ever told.

use envelope::payload::event::{Event, EventKind};
use envelope::payload::token::Rotated;
use envelope::{PluginId, StartId, Timestamp};
use serde_json::{Value, json};

use super::{Authority, Origin};
use crate::tokens::Issued;

impl Authority {
    /// Tells that a plugin has a new token. The token itself is never told.
    pub(super) fn tell_issued(&self, change: &'static str, issued: &Issued, origin: Origin<'_>) {
        let details = json!({
            "change": change,
            "start_id": issued.terms.start_id,
            "jti": issued.jti,
            "kid": issued.kid,
            "scope": issued.terms.scope,
            "expires_at": Timestamp::from_seconds(issued.expires_at),
            "refresh_at": issued.refresh_at,
        });
        let plugin = &issued.terms.plugin_id;
        self.tell(plugin, format!("The token of {plugin} was {change}."), details, origin);
    }

    /// Tells that the tokens of a start are refused from now on.
    pub(crate) fn tell_revoked(
        &self,
        change: &'static str,
        plugin: &PluginId,
        start: StartId,
        origin: Origin<'_>,
    ) {
        let details = json!({"change": change, "start_id": start});
        let message = format!("The tokens of {plugin}'s start {start} are refused from now on.");
        self.tell(plugin, message, details, origin);
    }

    /// Tells that one token is refused from now on.
    pub(crate) fn tell_token_revoked(
        &self,
        plugin: &PluginId,
        start: StartId,
        jti: &str,
        origin: Origin<'_>,
    ) {
        let details = json!({"change": "revoked", "start_id": start, "jti": jti});
        self.tell(plugin, format!("The token {jti} of {plugin} is refused from now on."), details, origin);
    }

    /// Tells that another key signs from now on.
    pub(super) fn tell_rotated(&self, keys: &Rotated, origin: Origin<'_>) {
        let details = json!({
            "change": "rotated",
            "active": keys.active,
            "next": keys.next,
            "retiring": keys.retiring,
        });
        self.publish_event(
            EventKind::Key,
            None,
            format!("Key {} signs from now on.", keys.active),
            details,
            origin,
        );
    }

    /// Tells that keys verify nothing any more.
    pub(crate) fn tell_dropped(&self, kids: &[String], origin: Origin<'_>) {
        let details = json!({"change": "dropped", "kids": kids});
        let message = format!("Retired keys are dropped: {}.", kids.join(", "));
        self.publish_event(EventKind::Key, None, message, details, origin);
    }

    fn tell(&self, plugin: &PluginId, message: String, details: Value, origin: Origin<'_>) {
        self.publish_event(EventKind::Token, Some(plugin.clone()), message, details, origin);
    }

    fn publish_event(
        &self,
        kind: EventKind,
        plugin_id: Option<PluginId>,
        message: String,
        details: Value,
        origin: Origin<'_>,
    ) {
        let cause = origin.cause;
        let event = Event { event: kind, plugin_id, operation_id: None, message, cause, details };
        self.publisher.event(event, origin.correlation_id, origin.traceparent);
    }
}
