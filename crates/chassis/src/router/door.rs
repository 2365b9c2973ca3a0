//! The door: who may come in now. Nothing here waits for the database.

use std::sync::Arc;

use bus::{Delivery, Outgoing};
use envelope::topic::RequestTopic;
use envelope::{Answer, ErrorBody, Principal};
use tokio::time::Instant;

use super::desk::{Errand, Letter};
use super::{Hall, Router, received};
use crate::flood::Admission;
use crate::service::Service;

impl<S: Service> Router<S> {
    /// Takes a message of the request session to the desk, unless its sender asks too often.
    pub(super) async fn admit(self: &Arc<Self>, delivery: Delivery, hall: &mut Hall) {
        let Some(topic) = RequestTopic::parse(&delivery.topic) else {
            tracing::warn!(topic = delivery.topic, "a message that is no request is ignored");
            return delivery.ack().await;
        };
        let in_hand = match &topic.caller {
            Principal::Coordinator(_) => None,
            caller => match hall.floods.knock(caller, &topic.operation, Instant::now()) {
                Admission::In(in_hand) => Some(in_hand),
                Admission::Over(told) => {
                    if let Some(error) = told {
                        let correlation_id = received::correlation(&delivery);
                        self.send_back(&topic, &delivery, error, &correlation_id);
                    }
                    return delivery.ack().await;
                }
            },
        };
        let away = hall.marker.as_ref().map(|m| m.away);
        let at = Instant::now();
        hall.send(Errand::Letter(Box::new(Letter { topic, delivery, away, at, in_hand })));
    }

    /// Answers a request that is not in the journal: once, for its caller asks again.
    pub(super) fn send_back(
        &self,
        topic: &RequestTopic,
        delivery: &Delivery,
        error: ErrorBody,
        correlation_id: &str,
    ) {
        let response = self.replies.encode(&Answer::Failure(error), correlation_id, None);
        let mut message = Outgoing::new(topic.response(), response);
        message.correlation_data = delivery.correlation_data.clone();
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            if let Err(error) = bus.publish(message).await {
                tracing::warn!(error = telemetry::chain(&error), "a refusal was not delivered");
            }
        });
    }
}
