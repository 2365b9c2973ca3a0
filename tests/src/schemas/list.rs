//! Every schema there is.

use envelope::payload::event::{Event, Progress};
use envelope::payload::health::Health;
use envelope::payload::lifecycle::{
    Inspection, InstallRequest, Installed, LifecycleResponse, ListRequest, ListResponse, LogsRequest,
    LogsResponse, PluginRequest, RemoveRequest, Removed,
};
use envelope::payload::login::{
    DeprovisionRequest, Deprovisioned, ExplainRequest, Explanation, ProvisionRequest, ProvisionResponse,
};
use envelope::payload::spec::{AclStatus, Spec};
use envelope::payload::state::PluginState;
use envelope::payload::token::{
    Claims, IntrospectRequest, IntrospectResponse, IssueRequest, IssueResponse, Jwks, RevokeRequest, Revoked,
    TokenMessage,
};
use envelope::{Answer, Envelope, ErrorCode, Operation, StartId};
use schemars::JsonSchema;
use serde::Serialize;

use super::document::{Document, What};
use super::text::meanings;

/// What `revoke` answers with.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Ended {
    /// The start whose tokens are refused from now on.
    pub(crate) start_id: StartId,
}

/// Every schema, in the order of their names.
pub fn all() -> Vec<Document> {
    let mut documents = fixed();
    let meanings = meanings::<Operation>();
    for operation in Operation::ALL {
        let meaning = meanings.get(operation.as_str()).map(String::as_str).unwrap_or_default();
        let to = operation.coordinator();
        documents.push(request(operation).called(
            format!("Request: {operation}"),
            format!("Payload of a request to the {to} coordinator, in an envelope or alone. {meaning}"),
        ));
        documents.push(response(operation).called(
            format!("Response: {operation}"),
            format!("Payload of the {to} coordinator's answer to {operation}, always in an envelope."),
        ));
    }
    documents.sort_by(|one, other| one.name.cmp(&other.name));
    documents
}

fn fixed() -> Vec<Document> {
    vec![
        Document::of("plugin", What::File, manifest::schema()),
        Document::read::<Envelope>("envelope", What::Message).called(
            "Envelope",
            "What stands around every message that is not a raw request. Unknown fields are never an error.",
        ),
        Document::written::<Answer>("answer", What::Payload).called(
            "Answer",
            "Payload of every response: success with data that depends on the operation, or an error.",
        ),
        Document::written::<ErrorCode>("error-code", What::Part)
            .called("Error code", "What kind of failure: the closed list. New ones may be added, none changes its meaning."),
        Document::enveloped::<Event>("event", "event").called("Event", "Something happened; who sent it is in the topic."),
        Document::written::<Progress>("event.progress", What::Part)
            .called("Details of a progress event", "What an event of kind progress carries in its details."),
        Document::enveloped_by_others::<Health>("health", "status")
            .called("Health message", "How a plugin or a coordinator is, as it says itself."),
        Document::enveloped::<PluginState>("state", "status")
            .called("Plugin state", "Retained: where a plugin is in its life, and its health."),
        Document::enveloped::<Spec>("spec", "status").called(
            "Plugin spec",
            "Retained: what a plugin should be, as the message coordinator needs to know it. It holds no environment \
             and no secret.",
        ),
        Document::enveloped::<AclStatus>("acl", "status")
            .called("ACL status", "Retained: what became of a plugin's spec at the broker."),
        Document::written::<TokenMessage>("token", What::Message)
            .called("Token message", "Retained until the token expires, for its plugin alone. It has no envelope."),
        Document::written::<Claims>("token.claims", What::Part)
            .called("Token claims", "The claims of a plugin's access token (RFC 7519 section 4, RFC 9068 section 2.2)."),
        Document::written::<Jwks>("jwks", What::Message)
            .called("Public keys", "Retained: the keys that verify tokens (RFC 7517 section 5). It has no envelope."),
        Document::written::<Revoked>("revoked", What::Message)
            .called("Revocations", "Retained: starts and tokens that are refused. It has no envelope."),
    ]
}

fn request(operation: Operation) -> Document {
    fn of<T: JsonSchema>(operation: Operation) -> Document {
        Document::read::<T>(format!("{operation}.request"), What::Payload)
    }
    use Operation as O;
    match operation {
        O::Install => of::<InstallRequest>(operation),
        O::Start | O::Stop | O::Restart | O::Inspect => of::<PluginRequest>(operation),
        O::Remove => of::<RemoveRequest>(operation),
        O::List => of::<ListRequest>(operation),
        O::Logs => of::<LogsRequest>(operation),
        O::Explain => of::<ExplainRequest>(operation),
        O::Introspect => of::<IntrospectRequest>(operation),
        O::Provision => of::<ProvisionRequest>(operation),
        O::Deprovision => of::<DeprovisionRequest>(operation),
        O::Issue => of::<IssueRequest>(operation),
        O::Revoke => of::<RevokeRequest>(operation),
    }
}

fn response(operation: Operation) -> Document {
    fn of<T: JsonSchema>(operation: Operation) -> Document {
        Document::answering::<T>(format!("{operation}.response"))
    }
    use Operation as O;
    match operation {
        O::Install => of::<Installed>(operation),
        O::Start | O::Stop | O::Restart => of::<LifecycleResponse>(operation),
        O::Inspect => of::<Inspection>(operation),
        O::Remove => of::<Removed>(operation),
        O::List => of::<ListResponse>(operation),
        O::Logs => of::<LogsResponse>(operation),
        O::Explain => of::<Explanation>(operation),
        O::Introspect => of::<IntrospectResponse>(operation),
        O::Provision => of::<ProvisionResponse>(operation),
        O::Deprovision => of::<Deprovisioned>(operation),
        O::Issue => of::<IssueResponse>(operation),
        O::Revoke => of::<Ended>(operation),
    }
}
