//! What is said of principals that ask too often: in the audit trail, as an event, to the service.

use std::sync::Arc;

use envelope::payload::event::{Event, EventKind};
use envelope::topic::RequestTopic;
use envelope::{ErrorBody, ErrorCode};
use serde_json::json;

use super::desk::plugin;
use super::{Router, fresh};
use crate::flood::Report;
use crate::service::Service;

impl<S: Service> Router<S> {
    /// Says it beside the session's own task, which has requests to take.
    pub(super) fn report_floods(self: &Arc<Self>, reports: Vec<Report>) {
        for report in reports {
            let router = self.clone();
            self.tasks.spawn(async move { router.report_flood(report).await });
        }
    }

    async fn report_flood(&self, report: Report) {
        let Report { principal, operation, refused, event, sustained } = report;
        let correlation_id = fresh();
        if let Some(count) = event {
            let event = Event {
                event: EventKind::Flood,
                plugin_id: plugin(&principal),
                operation_id: None,
                message: format!(
                    "{principal} asks more often than is allowed: {count} more of its requests were not taken."
                ),
                cause: format!("requests of {principal} over its bound"),
                details: json!({"principal": principal.to_string(), "refused": count}),
            };
            self.publisher.event(event, &correlation_id, None);
        }
        if refused > 0 {
            let error = ErrorBody::new(
                ErrorCode::TooManyRequests,
                "It asked more often than is allowed, and was not taken. Other operations may be counted here.",
            );
            let topic = RequestTopic { caller: principal.clone(), coordinator: S::COORDINATOR, operation };
            self.record_refusal(&topic, None, &error, &correlation_id, refused).await;
        }
        if sustained {
            self.service.flooding(&principal).await;
        }
    }
}
