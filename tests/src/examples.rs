//! An example of each request and answer, made of the types themselves.

use std::collections::BTreeMap;

use envelope::payload::lifecycle::{
    CancelRequest, ConfigRequest, ContainerSummary, ExitRecord, Inspection, InstallRequest, Installed,
    ListRequest, ListResponse, LogsRequest, LogsResponse, ManifestSource, OperationEntry, OperationsRequest,
    OperationsResponse, PluginRequest, PreviousRelease, RemoveRequest, Removed, UpdateRequest, Updated,
};
use envelope::payload::login::{
    Access, DeprovisionRequest, Deprovisioned, ExplainRequest, Explanation, ProvisionRequest,
    ProvisionResponse,
};
use envelope::payload::state::{Phase, PluginHealth, PluginState};
use envelope::payload::token::{
    AUDIENCE, Claims, ISSUER, IntrospectRequest, IntrospectResponse, IssueRequest, IssueResponse,
    RevokeRequest, SessionRevoked, Token, TokenMessage, subject,
};
use envelope::topic::plugin;
use envelope::{
    Answer, ErrorCode, Generation, InstallUid, Operation, OperationId, PluginId, StartId, Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

mod security;

const DIGEST: &str = "sha256:0f1c…";

/// The payload of a request.
pub fn request(operation: Operation) -> Value {
    use Operation as O;
    match operation {
        O::Install => value(InstallRequest {
            plugin_id: id(),
            source: Some("registry.example.com/focuser:1.0.0".to_owned()),
            config: Some(json!({"greeting": "Good seeing tonight"})),
            manifest: None,
            approve: None,
        }),
        O::Start | O::Stop | O::Restart | O::Inspect | O::Grants | O::Rollback => {
            value(PluginRequest { plugin_id: id() })
        }
        O::Remove => value(RemoveRequest { plugin_id: id(), remove_volumes: false }),
        O::Update => value(UpdateRequest {
            plugin_id: id(),
            source: Some("registry.example.com/focuser:1.1.0".to_owned()),
            config: None,
            manifest: None,
            approve: None,
        }),
        O::Config => value(ConfigRequest {
            plugin_id: id(),
            config: Some(json!({"greeting": "Clouds until midnight"})),
        }),
        O::Operations => value(OperationsRequest { plugin_id: Some(id()), limit: Some(10) }),
        O::Cancel => value(CancelRequest { operation_id: operation_id() }),
        O::List => value(ListRequest {}),
        O::Logs => value(LogsRequest { plugin_id: id(), tail: 20 }),
        O::Explain => value(ExplainRequest {
            plugin_id: id(),
            access: Access::Publish,
            topic: plugin::health(&other()),
        }),
        O::Introspect => value(IntrospectRequest { plugin_id: Some(id()), token: None }),
        O::Provision => value(ProvisionRequest {
            plugin_id: id(),
            start_id: start(),
            uid: uid(),
            generation: Generation::FIRST,
        }),
        O::Deprovision => value(DeprovisionRequest { plugin_id: id(), start_id: start() }),
        O::Issue => value(IssueRequest {
            plugin_id: id(),
            start_id: start(),
            scope: vec!["system:read".to_owned()],
            digest: DIGEST.to_owned(),
        }),
        O::Revoke => value(RevokeRequest { plugin_id: id(), start_id: start() }),
        other => security::request(other).expect("the two tables hold every operation"),
    }
}

/// The answer to it when it was done.
pub fn answer(operation: Operation) -> Value {
    use Operation as O;
    let data = match operation {
        O::Install => value(Installed {
            plugin_id: id(),
            name: "Focuser".to_owned(),
            version: "1.0.0".to_owned(),
            digest: DIGEST.to_owned(),
            manifest_source: ManifestSource::Label,
            changed: true,
            warnings: Vec::new(),
        }),
        O::Start | O::Restart | O::Config => value(state(Phase::Running, PluginHealth::Healthy, operation)),
        O::Stop => value(state(Phase::Stopped, PluginHealth::Unknown, operation)),
        O::Remove => value(Removed {
            plugin_id: id(),
            image_removed: true,
            volumes_removed: Vec::new(),
            volumes_kept: vec!["bigskies-plugin-0192f3-focuser..data".to_owned()],
        }),
        O::Update | O::Rollback => {
            let (version, previous) = match operation {
                O::Update => ("1.1.0", "1.0.0"),
                _ => ("1.0.0", "1.1.0"),
            };
            value(Updated {
                plugin_id: id(),
                version: version.to_owned(),
                previous_version: previous.to_owned(),
                digest: DIGEST.to_owned(),
                previous_digest: DIGEST.replace('1', "2"),
                changed: true,
                downtime_ms: Some(1_840),
                warnings: Vec::new(),
            })
        }
        O::Operations => value(OperationsResponse { operations: vec![entry(None)] }),
        O::Cancel => value(entry(Some(ErrorCode::Cancelled))),
        O::List => value(ListResponse {
            plugins: vec![state(Phase::Running, PluginHealth::Healthy, Operation::Start)],
        }),
        O::Inspect => value(inspection()),
        O::Logs => value(LogsResponse {
            plugin_id: id(),
            text: "Plugin started, connected to MQTT\n".to_owned(),
            truncated: false,
            ended: false,
        }),
        O::Explain => value(Explanation {
            plugin_id: id(),
            access: Access::Publish,
            topic: plugin::health(&other()),
            allowed: false,
            role: None,
            rule: None,
            reason: "No rule allows publishing to it.".to_owned(),
        }),
        O::Introspect => value(IntrospectResponse { active: true, claims: Some(claims()), reason: None }),
        O::Provision => value(ProvisionResponse {
            start_id: start(),
            username: envelope::principal::plugin_login(&id()),
            password: "a-random-base64url-text".to_owned(),
        }),
        O::Deprovision => value(Deprovisioned { start_id: start() }),
        O::Issue => value(IssueResponse {
            token: TokenMessage {
                token: Token::new("header.claims.signature"),
                expires_at: time(900),
                kid: KEY.to_owned(),
                refresh_at: time(600),
            },
        }),
        O::Revoke => value(SessionRevoked { start_id: start() }),
        other => security::answer(other).expect("the two tables hold every operation"),
    };
    value(Answer::Success(data))
}

fn operation_id() -> OperationId {
    serde_json::from_value(json!("01936f1c-7a00-7000-8000-00000000000b")).expect("an operation's id")
}

fn entry(ended: Option<ErrorCode>) -> OperationEntry {
    OperationEntry {
        id: operation_id(),
        plugin_id: id(),
        operation: Operation::Update,
        principal: "operator:ann".to_owned(),
        step: "pull".to_owned(),
        started_at: time(0),
        deadline: ended.is_none().then(|| time(1_800)),
        ended_at: ended.map(|_| time(60)),
        success: ended.map(|_| false),
        code: ended,
        message: ended.map(|_| "update of focuser was ended by a cancel request of operator:ann.".to_owned()),
        correlation_id: "01936f1c-7a00-7000-8000-00000000000c".to_owned(),
    }
}

/// Of RFC 8037, appendix A.
const KEY: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

fn state(phase: Phase, health: PluginHealth, by: Operation) -> PluginState {
    PluginState {
        plugin_id: id(),
        name: "Focuser".to_owned(),
        version: "1.0.0".to_owned(),
        phase,
        health,
        health_message: (phase == Phase::Running).then(|| "Plugin is operational".to_owned()),
        reason: None,
        digest: DIGEST.to_owned(),
        node: "local".to_owned(),
        generation: Generation::FIRST,
        rating: security::rating().score,
        since: time(0),
        cause: format!("operator:operator asked to {by}"),
        correlation_id: "42".to_owned(),
        operation: None,
        watchdog: None,
    }
}

fn inspection() -> Inspection {
    Inspection {
        state: state(Phase::Running, PluginHealth::Healthy, Operation::Start),
        uid: uid(),
        generation: Generation::FIRST,
        source: "registry.example.com/focuser:1.0.0".to_owned(),
        installed_at: time(0),
        manifest: json!({"id": id(), "name": "Focuser", "version": "1.0.0"}),
        manifest_source: ManifestSource::Label,
        container: Some(ContainerSummary {
            id: "4f5b…".to_owned(),
            name: "bigskies-plugin-0192f3-focuser".to_owned(),
            started_at: Some(time(0).to_string()),
        }),
        ports: BTreeMap::from([("127.0.0.1:8080".to_owned(), "8080/tcp".to_owned())]),
        volumes: BTreeMap::from([("bigskies-plugin-0192f3-focuser..data".to_owned(), "/data".to_owned())]),
        dns_names: vec!["focuser".to_owned()],
        last_exit: Some(ExitRecord {
            code: 0,
            oom_killed: false,
            at: time(0),
            log_tail: "Shutting down...\n".to_owned(),
        }),
        warnings: Vec::new(),
        rating: security::rating(),
        grants: vec![security::granted()],
        previous: Some(PreviousRelease {
            version: "0.9.0".to_owned(),
            source: "registry.example.com/focuser:0.9.0".to_owned(),
            digest: DIGEST.to_owned(),
        }),
    }
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        sub: subject(&id()),
        aud: AUDIENCE.to_owned(),
        client_id: id().to_string(),
        sid: start(),
        jti: "01978a6e-0000-7000-8000-00000000000a".to_owned(),
        iat: time(0).as_seconds(),
        nbf: time(0).as_seconds(),
        exp: time(900).as_seconds(),
        scope: "system:read".to_owned(),
        manifest_digest: DIGEST.to_owned(),
    }
}

fn id() -> PluginId {
    PluginId::parse("focuser").expect("it is an id")
}

fn other() -> PluginId {
    PluginId::parse("mount").expect("it is an id")
}

fn start() -> StartId {
    "01978a6e-0000-7000-8000-000000000002".parse().expect("it is a UUID")
}

fn uid() -> InstallUid {
    "01978a6e-0000-7000-8000-000000000001".parse().expect("it is a UUID")
}

fn time(seconds: i64) -> Timestamp {
    // The time in the SDK document's health message.
    Timestamp::from_seconds(1_768_521_600 + seconds)
}

fn value(payload: impl Serialize) -> Value {
    serde_json::to_value(payload).expect("the payload types have string keys and no failing parts")
}
