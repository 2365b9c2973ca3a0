//! The forger: a key that the coordinators trust, because it was added to the published set with the security
//! coordinator's own login, and tokens that say whatever is wanted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::payload::token::{AUDIENCE, ISSUER, KeyState};
use envelope::topic::coordinator;
use envelope::{StartId, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use testkit::{Message, Version, eventually};
use tests::stack::command::Run;
use tests::stack::image_of;
use tests::stack::listener::{Listener, json as payload};
use token::{SigningKey, TYPE};
use tokio::sync::OnceCell;

use super::super::arena::{PATIENCE, arena};
use crate::e2e::world::World;

static FORGER: OnceCell<Forger> = OnceCell::const_new();

/// Whose key is in the published set.
pub struct Forger {
    pub key: SigningKey,
    stranger: SigningKey,
    sid: StartId,
}

/// The forger, whose key is published once.
pub async fn forger(world: &World) -> &'static Forger {
    FORGER.get_or_init(|| publish(world)).await
}

async fn publish(world: &World) -> Forger {
    let key = SigningKey::generate().expect("random bytes");
    let volume = format!("{}_security-secrets:/secrets:ro", world.stack.project);
    let image = image_of("tools");
    let cat = ["run", "--rm", "--user", "0:0", "--volume", &volume, &image, "cat", "/secrets/password"];
    let lines = Run::docker(cat).lines().await.expect("root reads every volume");
    // The login's name stands before its password, for it changes when the secrets are renewed.
    let (Some(name), Some(password)) = (lines.first(), lines.last()) else {
        panic!("no login in the volume")
    };
    let name = if name == password { "coordinator.security" } else { name.as_str() };
    let security = world.stack.client(Version::V5).login(name, password);
    let mut listener = Listener::on(security.connect().await.expect("connects"), [coordinator::jwks()]).await;
    let mut set = payload(&listener.wait("the keys", PATIENCE, |_| true).await);
    let ours = serde_json::to_value(key.public_jwk(KeyState::Active)).expect("plain data");
    let keys = if set["keys"].is_array() { &mut set["keys"] } else { &mut set["payload"]["keys"] };
    keys.as_array_mut().expect("a set of keys").push(ours);
    let code = listener.client().publish(&coordinator::jwks(), set.to_string(), 1, true).await;
    assert!(matches!(code, Ok(0..0x80)), "the security coordinator's login may: {code:?}");
    let kid = key.kid().to_owned();
    listener.wait("the keys with ours", PATIENCE, |m: &Message| m.text().contains(&kid)).await;
    let sid = arena(world).await.token(world).await;
    let claims = sid.split('.').nth(1).expect("three parts");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64url")).expect("claims");
    let sid = claims["sid"].as_str().and_then(|sid| sid.parse().ok()).expect("a start");
    let forger = Forger { key, stranger: SigningKey::generate().expect("random bytes"), sid };
    eventually(PATIENCE, || async {
        let answer = super::told(world, Some(forger.forge().sign())).await;
        if answer["success"] == true { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    forger
}

impl Forger {
    /// A token of the attacker's that is good in everything.
    pub fn forge(&self) -> Forge {
        let now = Timestamp::now().as_seconds();
        let header = json!({"alg": "EdDSA", "typ": TYPE, "kid": self.key.kid()});
        let claims = json!({
            "iss": ISSUER, "sub": "plugin:arena-attacker", "aud": AUDIENCE, "client_id": "arena-attacker",
            "sid": self.sid, "jti": uuid::Uuid::new_v4().to_string(), "iat": now, "nbf": now, "exp": now + 600,
            "scope": "plugin:read system:read", "manifest_digest": "sha256:00",
        });
        let members = |value| match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Forge {
            header: members(header),
            claims: members(claims),
            key: EncodingKey::from_ed_der(self.key.as_pkcs8()),
            public: self.key.public_jwk(KeyState::Active).x,
            stranger: EncodingKey::from_ed_der(self.stranger.as_pkcs8()),
            strangers_jwk: serde_json::to_value(self.stranger.public_jwk(KeyState::Active))
                .expect("plain data"),
            now,
        }
    }
}

/// A token in the making.
pub struct Forge {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: EncodingKey,
    public: String,
    stranger: EncodingKey,
    strangers_jwk: Value,
    now: i64,
}

impl Forge {
    /// With this in its header.
    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// With this claim.
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Issued, valid and ending so many seconds from now.
    pub fn times(self, iat: i64, nbf: i64, exp: i64) -> Self {
        let now = self.now;
        self.claim("iat", json!(now + iat)).claim("nbf", json!(now + nbf)).claim("exp", json!(now + exp))
    }

    fn message(&self) -> String {
        let part =
            |members: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(members.clone()).to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    fn signed(message: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("a key signs any bytes");
        format!("{message}.{signature}")
    }

    /// Signed with the trusted key.
    pub fn sign(self) -> String {
        Self::signed(&self.message(), &self.key, Algorithm::EdDSA)
    }

    /// With nothing where the signature should be.
    pub fn unsigned(self) -> String {
        format!("{}.", self.message())
    }

    /// With the public key as the secret of an HMAC.
    pub fn hmac(self) -> String {
        Self::signed(&self.message(), &EncodingKey::from_secret(self.public.as_bytes()), Algorithm::HS256)
    }

    /// Signed with a key that nobody knows, in the name of one that everybody knows.
    pub fn strangers_signature(self) -> String {
        Self::signed(&self.message(), &self.stranger, Algorithm::EdDSA)
    }

    /// The same, with the stranger's key in the header.
    pub fn with_own_jwk(self) -> String {
        let jwk = self.strangers_jwk.clone();
        self.header("jwk", jwk).strangers_signature()
    }

    /// Signed, and then a claim is changed.
    pub fn then(mut self, name: &str, value: Value) -> String {
        let whole = Self::signed(&self.message(), &self.key, Algorithm::EdDSA);
        let signature = whole.rsplit('.').next().unwrap_or_default().to_owned();
        self.claims.insert(name.to_owned(), value);
        format!("{}.{signature}", self.message())
    }

    /// With the victim as its first subject and the attacker as its second.
    pub fn subject_twice(self) -> String {
        let claims = Value::Object(self.claims.clone()).to_string();
        let claims = claims.replacen('{', r#"{"sub":"plugin:arena-victim","#, 1);
        let header = Value::Object(self.header.clone()).to_string();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        Self::signed(&message, &self.key, Algorithm::EdDSA)
    }
}
