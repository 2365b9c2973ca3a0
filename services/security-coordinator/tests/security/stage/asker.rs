//! Somebody who makes requests.

use std::time::Duration;

use envelope::payload::token::{IssueRequest, IssueResponse, RevokeRequest, TokenMessage};
use envelope::topic::RequestTopic;
use envelope::{Answer, Envelope, ErrorBody, MessageType, Operation, PluginId, Principal, StartId};
use serde::Serialize;
use serde_json::Value;
use testkit::{Client, Message, Publish, eventually};

use super::PATIENCE;

/// Somebody who makes requests.
pub(crate) struct Asker {
    pub(super) client: Client,
    pub(super) principal: Principal,
}

impl Asker {
    pub(crate) async fn ask(
        &mut self,
        operation: Operation,
        payload: impl Serialize,
    ) -> Result<Value, ErrorBody> {
        let request = Envelope::new(MessageType::Request, "a test", payload);
        let topic = RequestTopic::new(self.principal.clone(), operation).to_string();
        eventually(PATIENCE, async || {
            let message = Publish {
                topic: topic.clone(),
                payload: request.encode().into(),
                qos: 1,
                correlation_data: Some(request.id.clone().into_bytes().into()),
                ..Publish::default()
            };
            match self.client.send(message).await {
                Ok(0) => Ok(()),
                other => Err(format!("the request came to {other:?}")),
            }
        })
        .await;
        loop {
            let answer = self.client.recv(PATIENCE).await.expect("an answer comes");
            if answer.correlation_data.as_deref() != Some(request.id.as_bytes()) {
                continue;
            }
            let answer: Envelope<Answer> = serde_json::from_slice(&answer.payload).expect("decodes");
            return match answer.payload {
                Answer::Success(data) => Ok(data),
                Answer::Failure(error) => Err(error),
            };
        }
    }

    /// The next message, if one comes in time.
    pub(crate) async fn next(&mut self, patience: Duration) -> Option<Message> {
        self.client.recv(patience).await
    }

    /// The next message that is no answer, such as a plugin's own token.
    pub(crate) async fn hear(&mut self, topic: &str) -> Message {
        loop {
            let message = self.client.recv(PATIENCE).await.expect("a message comes");
            if message.topic == topic {
                return message;
            }
        }
    }

    pub(crate) async fn issue(
        &mut self,
        plugin: &PluginId,
        start: StartId,
    ) -> Result<TokenMessage, ErrorBody> {
        let request = IssueRequest {
            plugin_id: plugin.clone(),
            start_id: start,
            scope: vec!["plugin:read".to_owned()],
            digest: "sha256:0".to_owned(),
        };
        let answer = self.ask(Operation::Issue, request).await?;
        let answer: IssueResponse = serde_json::from_value(answer).expect("an answer to issue");
        Ok(answer.token)
    }

    pub(crate) async fn revoke(&mut self, plugin: &PluginId, start: StartId) -> Result<Value, ErrorBody> {
        self.ask(Operation::Revoke, RevokeRequest { plugin_id: plugin.clone(), start_id: start }).await
    }
}
