//! Every schema there is.

use envelope::payload::account::{
    AddOperatorRequest, ChangeOperatorRequest, OperatorAccount, OperatorRemoved, OperatorsRequest,
    OperatorsResponse, RemoveOperatorRequest,
};
use envelope::payload::audit::{AuditRequest, AuditResponse};
use envelope::payload::event::{Event, Progress};
use envelope::payload::grant::{ApprovalDetails, ApproveRequest, Grants, RevokeGrantRequest};
use envelope::payload::health::Health;
use envelope::payload::lifecycle::{
    CancelRequest, ConfigRequest, Inspection, InstallRequest, Installed, LifecycleResponse, ListRequest,
    ListResponse, LogsRequest, LogsResponse, OperationEntry, OperationsRequest, OperationsResponse,
    PluginRequest, RemoveRequest, Removed, UpdateRequest, Updated,
};
use envelope::payload::login::{
    DeprovisionRequest, Deprovisioned, ExplainRequest, Explanation, ProvisionRequest, ProvisionResponse,
};
use envelope::payload::spec::{AclStatus, Spec};
use envelope::payload::state::PluginState;
use envelope::payload::token::{
    Claims, IntrospectRequest, IntrospectResponse, IssueRequest, IssueResponse, Jwks, RevokeRequest,
    RevokeTokenRequest, Revoked, RotateRequest, Rotated, SessionRevoked, TokenMessage, TokenRefreshed,
    TokenRequest, TokensRevoked,
};
use envelope::payload::watch::{Proof, ProofRequest, SessionsRequest, SessionsResponse};
use envelope::{Answer, Envelope, ErrorCode, Operation};
use schemars::JsonSchema;

use super::document::{Document, What};
use super::text::meanings;

/// Every schema, in the order of their names.
pub fn all() -> Vec<Document> {
    let mut documents = fixed();
    let meanings = meanings::<Operation>();
    for operation in Operation::ALL {
        let name = operation.unique_name();
        let meaning = meanings.get(name).map(String::as_str).unwrap_or_default();
        let to = match operation.is_common() {
            true => "each".to_owned(),
            false => format!("the {}", operation.coordinator()),
        };
        documents.push(request(operation).called(
            format!("Request: {name}"),
            format!("Payload of a request to {to} coordinator, in an envelope or alone. {meaning}"),
        ));
        documents.push(response(operation).called(
            format!("Response: {name}"),
            format!("Payload of {to} coordinator's answer to {operation}, always in an envelope."),
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
        Document::written::<ApprovalDetails>("approval", What::Part)
            .called("What is to be approved", "The details of the errors approval_required and approval_changed."),
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
        Document::read::<T>(format!("{}.request", operation.unique_name()), What::Payload)
    }
    use Operation as O;
    match operation {
        O::Install => of::<InstallRequest>(operation),
        O::Start | O::Stop | O::Restart | O::Inspect | O::Grants | O::Rollback => {
            of::<PluginRequest>(operation)
        }
        O::Remove => of::<RemoveRequest>(operation),
        O::Update => of::<UpdateRequest>(operation),
        O::Config => of::<ConfigRequest>(operation),
        O::Operations => of::<OperationsRequest>(operation),
        O::Cancel => of::<CancelRequest>(operation),
        O::List => of::<ListRequest>(operation),
        O::Logs => of::<LogsRequest>(operation),
        O::Explain => of::<ExplainRequest>(operation),
        O::Introspect => of::<IntrospectRequest>(operation),
        O::Provision => of::<ProvisionRequest>(operation),
        O::Deprovision => of::<DeprovisionRequest>(operation),
        O::Issue => of::<IssueRequest>(operation),
        O::Revoke => of::<RevokeRequest>(operation),
        O::Approve => of::<ApproveRequest>(operation),
        O::RevokeGrant => of::<RevokeGrantRequest>(operation),
        O::Proof => of::<ProofRequest>(operation),
        O::Sessions => of::<SessionsRequest>(operation),
        O::Operators => of::<OperatorsRequest>(operation),
        O::AddOperator => of::<AddOperatorRequest>(operation),
        O::ChangeOperator => of::<ChangeOperatorRequest>(operation),
        O::RemoveOperator => of::<RemoveOperatorRequest>(operation),
        O::Rotate => of::<RotateRequest>(operation),
        O::RevokeToken => of::<RevokeTokenRequest>(operation),
        O::Token => of::<TokenRequest>(operation),
        O::Audit => of::<AuditRequest>(operation),
    }
}

fn response(operation: Operation) -> Document {
    fn of<T: JsonSchema>(operation: Operation) -> Document {
        Document::answering::<T>(format!("{}.response", operation.unique_name()))
    }
    use Operation as O;
    match operation {
        O::Install => of::<Installed>(operation),
        O::Start | O::Stop | O::Restart | O::Config => of::<LifecycleResponse>(operation),
        O::Inspect => of::<Inspection>(operation),
        O::Remove => of::<Removed>(operation),
        O::Update | O::Rollback => of::<Updated>(operation),
        O::Operations => of::<OperationsResponse>(operation),
        O::Cancel => of::<OperationEntry>(operation),
        O::List => of::<ListResponse>(operation),
        O::Logs => of::<LogsResponse>(operation),
        O::Explain => of::<Explanation>(operation),
        O::Introspect => of::<IntrospectResponse>(operation),
        O::Provision => of::<ProvisionResponse>(operation),
        O::Deprovision => of::<Deprovisioned>(operation),
        O::Issue => of::<IssueResponse>(operation),
        O::Revoke => of::<SessionRevoked>(operation),
        O::Grants | O::Approve | O::RevokeGrant => of::<Grants>(operation),
        O::Proof => of::<Proof>(operation),
        O::Sessions => of::<SessionsResponse>(operation),
        O::Operators => of::<OperatorsResponse>(operation),
        O::AddOperator | O::ChangeOperator => of::<OperatorAccount>(operation),
        O::RemoveOperator => of::<OperatorRemoved>(operation),
        O::Rotate => of::<Rotated>(operation),
        O::RevokeToken => of::<TokensRevoked>(operation),
        O::Token => of::<TokenRefreshed>(operation),
        O::Audit => of::<AuditResponse>(operation),
    }
}
