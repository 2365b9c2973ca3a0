//! What the broker's dynamic security plugin says: raw, or a good answer with anything changed in it.

use std::sync::LazyLock;

use acl::dynsec::{Answer, Command, Document, decode};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

use crate::json;

const WORDS: [&str; 26] = [
    "command",
    "correlationData",
    "error",
    "data",
    "responses",
    "role",
    "roles",
    "client",
    "clients",
    "acls",
    "acltype",
    "topic",
    "allow",
    "priority",
    "rolename",
    "username",
    "textname",
    "totalCount",
    "groups",
    "publishClientSend",
    "subscribePattern",
    "unsubscribe",
    "Role not found",
    "Client already exists",
    "\u{1b}[2J",
    "password",
];

static GOOD: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let acls = json!([{"acltype": "publishClientSend", "topic": "a/#", "priority": 0, "allow": true}]);
    let role = json!({"rolename": "r", "acls": acls});
    let client = json!({"username": "u", "textname": "n", "roles": [{"rolename": "r", "priority": 3}],
        "groups": [{"groupname": "g"}]});
    let defaults: Vec<Value> = ["publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"]
        .into_iter()
        .map(|kind| json!({"acltype": kind, "allow": false}))
        .collect();
    [
        json!({"command": "getRole", "correlationData": "b/0", "data": {"role": role}}),
        json!({"command": "listRoles", "data": {"totalCount": 1, "roles": [role]}}),
        json!({"command": "listRoles", "data": {"totalCount": 2, "roles": ["r", "s"]}}),
        json!({"command": "getClient", "data": {"client": client}}),
        json!({"command": "listClients", "data": {"totalCount": 1, "clients": [client]}}),
        json!({"command": "getDefaultACLAccess", "data": {"acls": defaults}}),
        json!({"command": "deleteRole", "error": "Role not found"}),
    ]
    .into()
});

static FILE: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "defaultACLAccess": {"publishClientSend": false, "subscribe": false, "unsubscribe": true},
        "clients": [{"username": "u", "textname": "n", "roles": [{"rolename": "r", "priority": 3}],
            "password": "cA==", "salt": "c2FsdA==", "iterations": 101}],
        "groups": [],
        "roles": [{"rolename": "r", "acls": [
            {"acltype": "publishClientSend", "topic": "a/#", "priority": 0, "allow": true},
            {"acltype": "novel", "topic": "b"},
        ]}],
    })
});

/// One of the three by the first byte.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, rest)) => check_bytes(rest),
        Some((n @ 1..=160, rest)) => {
            let answer = &GOOD[usize::from(*n) % GOOD.len()];
            let _ = changed(json!({"responses": [answer]}), rest);
        }
        Some((_, rest)) => {
            let _ = changed(FILE.clone(), rest);
        }
        None => {}
    }
}

fn changed(good: Value, bytes: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(bytes);
    let document = json::mutated(good, &mut u, &WORDS)?;
    let (bytes, _) = json::written(&document, &mut u)?;
    check_bytes(&bytes);
    Ok(())
}

fn check_bytes(bytes: &[u8]) {
    for answer in decode(bytes).unwrap_or_default() {
        check_answer(&answer);
    }
    if let Ok(file) = Document::decode(bytes, "u") {
        let again = Document::decode(&file.encode(), "u").expect("what was written can be read");
        assert_eq!(again, file);
        for client in file.clients.iter().take(3) {
            // Not looked for by its text, which may stand in another field by chance.
            let mut other = client.clone();
            if let Some(hashed) = &mut other.password {
                hashed.password.push_str("another");
                hashed.salt.push_str("another");
            }
            assert_eq!(format!("{client:?}"), format!("{other:?}"), "a password is shown");
        }
    }
}

/// Reading an answer in every way gives something or an error of bounded length, which can be shown.
fn check_answer(answer: &Answer) {
    let errors = [
        answer.role().err(),
        answer.roles().err(),
        answer.role_names().err(),
        answer.client().err(),
        answer.clients().err(),
        answer.default_access().err(),
    ];
    for error in errors.into_iter().flatten() {
        assert!(error.to_string().len() < 1024);
    }
    if let Ok(role) = answer.role() {
        assert!(role.has_rules_of(&role));
    }
    for command in [Command::GetRole("r".into()), Command::DeleteClient("u".into())] {
        if let Err(failure) = answer.outcome(&command) {
            assert!(failure.reason.chars().count() <= 256);
            assert!(!failure.to_string().chars().any(char::is_control), "{failure:?}");
            let _ = (failure.is_missing(), failure.is_duplicate());
        }
    }
}
