//! The dynamic security plugin's own words: its file, its commands, its answers.
//!
//! What comes from the broker is taken with tolerance (a newer version may say more) and with limits
//! (it is input like any other).

mod answer;
mod command;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, AnswerError, Failure, Page, decode};
pub use command::{Command, encode};

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AclType {
    /// A client publishes. The topic is a filter.
    PublishClientSend,
    /// The broker delivers to a client, live, retained or queued. The topic is a filter.
    PublishClientReceive,
    /// A client subscribes to exactly this filter; asked before the patterns of the same role.
    SubscribeLiteral,
    /// A client subscribes to a filter that lies inside this one.
    SubscribePattern,
    /// A client unsubscribes from exactly this filter.
    UnsubscribeLiteral,
    /// A client unsubscribes from a filter that lies inside this one.
    UnsubscribePattern,
    /// A type that this version does not know.
    #[serde(other)]
    Unknown,
}

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acl {
    /// What it is about.
    pub acltype: AclType,
    /// A topic filter.
    pub topic: String,
    /// Rules of a role are asked from the highest priority down; the first that matches decides.
    #[serde(default)]
    pub priority: i32,
    /// Whether it allows or denies. The broker takes a missing one as `false`.
    #[serde(default)]
    pub allow: bool,
}

/// A named list of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub rolename: String,
    /// Its rules.
    #[serde(default)]
    pub acls: Vec<Acl>,
}

impl Role {
    /// Whether both have the same rules, in whatever order they are listed.
    ///
    /// The broker lists rules by type, and rules of one type and priority in the order of their making;
    /// the roles made here never depend on that order.
    pub fn has_rules_of(&self, other: &Self) -> bool {
        let sorted = |role: &Self| {
            let mut acls = role.acls.clone();
            acls.sort();
            acls
        };
        sorted(self) == sorted(other)
    }
}

/// A role that a client has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoleRef {
    /// The role's name.
    pub rolename: String,
    /// Roles of a client are asked from the highest priority down.
    #[serde(default = "RoleRef::no_priority")]
    pub priority: i32,
}

impl RoleRef {
    /// What the broker takes a missing priority for, and then does not list.
    const fn no_priority() -> i32 {
        -1
    }

    /// The role `rolename`, at `priority`.
    pub fn new(rolename: impl Into<String>, priority: i32) -> Self {
        Self { rolename: rolename.into(), priority }
    }
}

/// A login as the broker lists it, and as it stands in the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The login's name.
    pub username: String,
    /// A note; the message coordinator writes the start that the login belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub textname: Option<String>,
    /// The only client id that it may connect with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clientid: Option<String>,
    /// Whether it may not connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<RoleRef>,
    /// The groups whose roles it has besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRef>,
    /// Its password, hashed; in the file only.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub password: Option<HashedPassword>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("username", &self.username)
            .field("textname", &self.textname)
            .field("disabled", &self.disabled)
            .field("roles", &self.roles)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// A group that a client is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRef {
    /// The group's name.
    pub groupname: String,
}

/// A password as the file holds it; see [`crate::password::hash`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedPassword {
    /// The hash: 64 bytes in base64.
    pub password: String,
    /// The salt: 12 bytes in base64.
    pub salt: String,
    /// Rounds of PBKDF2.
    pub iterations: u32,
}

/// What is allowed when no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultAccess {
    /// Publishing.
    #[serde(default)]
    pub publish_client_send: bool,
    /// Being delivered to.
    #[serde(default)]
    pub publish_client_receive: bool,
    /// Subscribing.
    #[serde(default)]
    pub subscribe: bool,
    /// Unsubscribing.
    #[serde(default)]
    pub unsubscribe: bool,
}

impl DefaultAccess {
    /// What the framework runs with: nothing but giving up what one has.
    pub const DENY: Self = Self {
        publish_client_send: false,
        publish_client_receive: false,
        subscribe: false,
        unsubscribe: true,
    };
}

/// The file in which the plugin keeps everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What is allowed when no rule matches.
    #[serde(rename = "defaultACLAccess")]
    pub default_access: DefaultAccess,
    /// All logins.
    pub clients: Vec<Client>,
    /// All groups; the framework makes none.
    #[serde(default)]
    pub groups: Vec<serde_json::Value>,
    /// All roles.
    pub roles: Vec<Role>,
}

/// Why a file is not one that a broker can start with.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than any that the plugin writes for [`MAX_DOCUMENT_BYTES`].
    #[error("the identities file has {0} bytes; at most {MAX_DOCUMENT_BYTES} are read")]
    TooLarge(usize),
    /// Not what the plugin writes. An interrupted write leaves the file empty or cut off.
    #[error(
        "the identities file is not what Mosquitto's dynamic security plugin writes; restore it from the seed"
    )]
    Malformed(#[source] serde_json::Error),
    /// Nobody could administer the broker.
    #[error("the identities file has no login {0:?}; restore it from the seed")]
    NoLogin(String),
}

/// Most bytes of a file that is read: 10,000 plugins fit.
pub const MAX_DOCUMENT_BYTES: usize = 256 << 20;

impl Document {
    /// Reads the file's content, and sees that the login `administrator` is in it, with a password.
    ///
    /// # Errors
    /// Says that it cannot be what the plugin wrote; the broker would start with no users and no word.
    pub fn decode(bytes: &[u8], administrator: &str) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(DocumentError::Malformed)?;
        let administers = |c: &Client| c.username == administrator && c.password.is_some() && !c.disabled;
        if !document.clients.iter().any(administers) {
            return Err(DocumentError::NoLogin(administrator.to_owned()));
        }
        Ok(document)
    }

    /// The content to write.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("text, numbers and lists always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_by_the_plugin_is_read() {
        let text = r#"{"defaultACLAccess":{"publishClientSend":false,"publishClientReceive":false,"subscribe":false,"unsubscribe":true},
            "clients":[{"username":"a","textname":"x","roles":[{"rolename":"r","priority":3},{"rolename":"s"}],
              "password":"cA==","salt":"c2FsdA==","iterations":101,"new":1}],
            "groups":[],"roles":[{"rolename":"r","textdescription":"d","allowwildcardsubs":true,
              "acls":[{"acltype":"publishClientSend","topic":"a/#","priority":0,"allow":true},{"acltype":"novel","topic":"b"}]}],"anonymousGroup":""}"#;
        let document = Document::decode(text.as_bytes(), "a").expect("decodes");
        let roles = [RoleRef::new("r", 3), RoleRef::new("s", -1)];
        assert_eq!(document.clients[0].roles, roles);
        assert_eq!(document.roles[0].acls[1].acltype, AclType::Unknown);
        assert!(!document.roles[0].acls[1].allow);
        assert_eq!(Document::decode(&document.encode(), "a").expect("again"), document);
    }

    #[test]
    fn a_file_that_would_leave_the_broker_without_its_administrator_is_refused() {
        let text = |clients: &str| format!(r#"{{"defaultACLAccess":{{}},"clients":[{clients}],"roles":[]}}"#);
        for broken in [
            String::new(),
            "{".into(),
            "[]".into(),
            text(""),
            text(r#"{"username":"a"}"#),
            text(r#"{"username":"a","password":"","salt":"","iterations":1,"disabled":true}"#),
        ] {
            assert!(Document::decode(broken.as_bytes(), "a").is_err(), "{broken}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let hashed = HashedPassword { password: "secret".into(), salt: "secret".into(), iterations: 1 };
        let client = Client {
            username: "a".into(),
            textname: None,
            clientid: None,
            disabled: false,
            roles: vec![],
            groups: vec![],
            password: Some(hashed),
        };
        assert!(!format!("{client:?}").contains("secret"));
    }
}
