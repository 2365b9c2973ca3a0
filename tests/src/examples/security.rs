//! Examples of what is about grants, accounts, records, keys and the bus itself.

use envelope::payload::account::{
    AddOperatorRequest, ChangeOperatorRequest, NewPassword, OperatorAccount, OperatorRemoved,
    OperatorsRequest, OperatorsResponse, RemoveOperatorRequest,
};
use envelope::payload::audit::{AuditRecord, AuditRequest, AuditResponse, AuditResult};
use envelope::payload::grant::{
    ApproveRequest, GrantEntry, GrantState, GrantStatus, Grants, RevokeGrantRequest, Risk, SecurityRating,
};
use envelope::payload::token::{
    RevokeTokenRequest, RotateRequest, Rotated, TokenRefreshed, TokenRequest, TokensRevoked,
};
use envelope::payload::watch::{Proof, ProofRequest, Session, SessionsRequest, SessionsResponse};
use envelope::{Coordinator, Operation, OperatorName, OperatorRole};
use serde_json::{Value, json};

use super::{DIGEST, KEY, id, start, time, value};

/// The payload of a request; none when the operation is not one of these.
pub(super) fn request(operation: Operation) -> Option<Value> {
    use Operation as O;
    Some(match operation {
        O::Approve => value(ApproveRequest { plugin_id: id(), approve: DIGEST.to_owned() }),
        O::RevokeGrant => value(RevokeGrantRequest { plugin_id: id(), grant: grant().key }),
        O::Proof => value(ProofRequest {}),
        O::Sessions => value(SessionsRequest {}),
        O::Operators => value(OperatorsRequest {}),
        O::AddOperator => value(AddOperatorRequest {
            name: ann(),
            role: OperatorRole::Viewer,
            password: NewPassword::new("sixteen-or-more-characters"),
        }),
        O::ChangeOperator => value(ChangeOperatorRequest {
            name: ann(),
            role: Some(OperatorRole::Operator),
            password: None,
            disabled: None,
        }),
        O::RemoveOperator => value(RemoveOperatorRequest { name: ann() }),
        O::Rotate => value(RotateRequest {}),
        O::RevokeToken => value(RevokeTokenRequest { plugin_id: Some(id()), jti: None }),
        O::Token => value(TokenRequest {}),
        O::Audit => value(AuditRequest { limit: Some(20), ..AuditRequest::default() }),
        _ => return None,
    })
}

/// The data of an answer; none when the operation is not one of these.
pub(super) fn answer(operation: Operation) -> Option<Value> {
    use Operation as O;
    Some(match operation {
        O::Grants | O::Approve => value(grants(approved())),
        O::RevokeGrant => value(grants(GrantState::Revoked { by: by(), at: time(60) })),
        O::Proof => {
            value(Proof { at: time(0), refused: 42, allowed: 6, leaks: Vec::new(), blocked: Vec::new() })
        }
        O::Sessions => value(SessionsResponse {
            listening_since: Some(time(0)),
            left_out: 0,
            sessions: vec![Session {
                client_id: id().to_string(),
                login: Some(envelope::principal::plugin_login(&id())),
                address: Some("172.18.0.5:49152".to_owned()),
                since: Some(time(1)),
            }],
        }),
        O::Operators => value(OperatorsResponse { operators: vec![account(OperatorRole::Viewer)] }),
        O::AddOperator => value(account(OperatorRole::Viewer)),
        O::ChangeOperator => value(account(OperatorRole::Operator)),
        O::RemoveOperator => value(OperatorRemoved { name: ann() }),
        O::Rotate => value(Rotated {
            active: KEY.to_owned(),
            next: "the-thumbprint-of-the-next-key".to_owned(),
            retiring: vec!["the-thumbprint-of-the-key-before".to_owned()],
        }),
        O::RevokeToken => value(TokensRevoked { plugin_id: id(), sid: Some(start()), jti: None }),
        O::Token => {
            value(TokenRefreshed { expires_at: time(900), refresh_at: time(600), kid: KEY.to_owned() })
        }
        O::Audit => value(AuditResponse {
            coordinator: Coordinator::Plugin,
            records: vec![AuditRecord {
                id: 7,
                at: time(0),
                principal: by(),
                operation: Operation::Start.to_string(),
                target: Some(id().to_string()),
                result: AuditResult::Done,
                code: None,
                message: None,
                correlation_id: "42".to_owned(),
                times: 1,
            }],
            more: false,
        }),
        _ => return None,
    })
}

/// The grant that the examples are about.
pub(super) fn granted() -> GrantStatus {
    GrantStatus { entry: grant(), state: approved() }
}

/// The rating of a plugin that has it.
pub(super) fn rating() -> SecurityRating {
    SecurityRating { score: 4, reasons: vec!["It can start, stop and command other plugins.".to_owned()] }
}

fn grant() -> GrantEntry {
    GrantEntry {
        key: "permission:plugin:control".to_owned(),
        sentence: "May start, stop and command other plugins (plugin:control).".to_owned(),
        risk: Risk::High,
        grant: json!({"kind": "permission", "permission": "plugin:control"}),
    }
}

fn grants(state: GrantState) -> Grants {
    Grants {
        plugin_id: id(),
        grants: vec![GrantStatus { entry: grant(), state }],
        rating: rating(),
        pending: None,
    }
}

fn approved() -> GrantState {
    GrantState::Approved { by: by(), at: time(0) }
}

fn account(role: OperatorRole) -> OperatorAccount {
    OperatorAccount {
        name: ann(),
        role,
        disabled: false,
        created_at: Some(time(0)),
        created_by: Some(by()),
        pending: false,
        note: None,
    }
}

fn by() -> String {
    "operator:operator".to_owned()
}

fn ann() -> OperatorName {
    OperatorName::parse("ann").expect("it is a name")
}
