//! Logins and roles in the form of Mosquitto's dynamic security plugin.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::Sha512;

/// Rounds of the hash. Passwords of tests need no protection, and the broker hashes on its only
/// thread.
const ITERATIONS: u32 = 101;

/// Builds a file of identities; everything that no role allows is denied in both directions.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    clients: Vec<Value>,
    roles: Vec<Value>,
}

impl Identities {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a login that may publish to, and subscribe to and receive, what matches these filters.
    #[must_use]
    pub fn login(mut self, name: &str, password: &str, publish: &[&str], subscribe: &[&str]) -> Self {
        let allow = |kind: &str, filter: &&str| json!({"acltype": kind, "topic": filter, "allow": true});
        let mut acls: Vec<Value> = publish.iter().map(|f| allow("publishClientSend", f)).collect();
        for filter in subscribe {
            acls.push(allow("subscribePattern", filter));
            acls.push(allow("publishClientReceive", filter));
        }
        let role = format!("role-{name}");
        self.clients.push(client(name, password, &role));
        self.roles.push(json!({"rolename": role, "acls": acls}));
        self
    }

    /// Adds a login that may do everything, the administration of the broker included.
    #[must_use]
    pub fn admin(self, name: &str, password: &str) -> Self {
        let all = ["#", "$CONTROL/#", "$SYS/#"];
        self.login(name, password, &all, &all)
    }

    /// The file's content.
    #[must_use]
    pub fn build(self) -> Value {
        json!({
            "defaultACLAccess": {
                "publishClientSend": false,
                "publishClientReceive": false,
                "subscribe": false,
                "unsubscribe": true,
            },
            "clients": self.clients,
            "groups": [],
            "roles": self.roles,
        })
    }
}

fn client(name: &str, password: &str, role: &str) -> Value {
    // Twelve bytes, the only length that the plugin takes. Nothing secret is protected by them.
    let salt = *b"testkit-salt";
    let mut hash = [0; 64];
    pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, ITERATIONS, &mut hash);
    json!({
        "username": name,
        "password": STANDARD.encode(hash),
        "salt": STANDARD.encode(salt),
        "iterations": ITERATIONS,
        "roles": [{"rolename": role}],
    })
}
