//! Answers of the dynamic security plugin.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Client, Command, DefaultAccess, Role};

/// Most bytes of an answer that is decoded.
const MAX_BYTES: usize = 64 << 20;

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Larger than any that was asked for.
    #[error("the broker's answer has {0} bytes; at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// Not what the plugin says.
    #[error("the broker's answer is not one of Mosquitto's dynamic security plugin")]
    Malformed(#[source] serde_json::Error),
    /// Without the part that the command asked for.
    #[error("the broker's answer to {command} has no {part:?}")]
    Incomplete {
        /// The command.
        command: String,
        /// What is missing.
        part: &'static str,
    },
}

/// Why the broker did not carry a command out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker refused {command} {subject}: {reason}")]
pub struct Failure {
    /// The command.
    pub command: &'static str,
    /// The role or login that it was about.
    pub subject: String,
    /// What the broker said.
    pub reason: String,
}

impl Failure {
    /// Whether the role or login does not exist.
    pub fn is_missing(&self) -> bool {
        self.reason.ends_with("not found") || self.reason.ends_with("does not exist")
    }

    /// Whether the role or login exists already.
    pub fn is_duplicate(&self) -> bool {
        self.reason.ends_with("already exists")
    }
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The command that is answered.
    pub command: String,
    /// What the command carried.
    #[serde(default, deserialize_with = "text")]
    pub correlation_data: Option<String>,
    /// Why it was not carried out.
    #[serde(default)]
    error: Option<Value>,
    /// What it asked for.
    #[serde(default)]
    data: Value,
}

/// Some of many roles or logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are altogether.
    pub total: usize,
    /// Those asked for.
    pub items: Vec<T>,
}

/// Decodes one message of answers, in the order of its commands.
///
/// # Errors
/// Says that the message is not one of the plugin's.
pub fn decode(bytes: &[u8]) -> Result<Vec<Answer>, AnswerError> {
    #[derive(Deserialize)]
    struct Message {
        responses: Vec<Answer>,
    }
    if bytes.len() > MAX_BYTES {
        return Err(AnswerError::TooLarge(bytes.len()));
    }
    serde_json::from_slice::<Message>(bytes).map(|m| m.responses).map_err(AnswerError::Malformed)
}

impl Answer {
    /// Whether the command was carried out.
    ///
    /// # Errors
    /// The broker's reason, when it was not.
    pub fn outcome(&self, command: &Command) -> Result<(), Failure> {
        match &self.error {
            None => Ok(()),
            Some(reason) => Err(Failure {
                command: command.name(),
                subject: command.subject().to_owned(),
                reason: shown(reason),
            }),
        }
    }

    /// The role that `getRole` asked for.
    ///
    /// # Errors
    /// Says that there is none in the answer, or not one that can be understood.
    pub fn role(&self) -> Result<Role, AnswerError> {
        self.part("role")
    }

    /// The roles that `listRoles` asked for.
    ///
    /// # Errors
    /// Says that there are none in the answer, or some that cannot be understood.
    pub fn roles(&self) -> Result<Page<Role>, AnswerError> {
        self.page("roles")
    }

    /// The names of roles that `listRoles` asked for.
    ///
    /// # Errors
    /// Says that there are none in the answer, or some that cannot be understood.
    pub fn role_names(&self) -> Result<Page<String>, AnswerError> {
        self.page("roles")
    }

    /// The login that `getClient` asked for.
    ///
    /// # Errors
    /// Says that there is none in the answer, or not one that can be understood.
    pub fn client(&self) -> Result<Client, AnswerError> {
        self.part("client")
    }

    /// The logins that `listClients` asked for.
    ///
    /// # Errors
    /// Says that there are none in the answer, or some that cannot be understood.
    pub fn clients(&self) -> Result<Page<Client>, AnswerError> {
        self.page("clients")
    }

    /// What `getDefaultACLAccess` asked for.
    ///
    /// # Errors
    /// Says that one of the four kinds of access is missing.
    pub fn default_access(&self) -> Result<DefaultAccess, AnswerError> {
        #[derive(Deserialize)]
        struct One {
            acltype: String,
            allow: bool,
        }
        let all: Vec<One> = self.part("acls")?;
        let of = |kind: &'static str| {
            all.iter()
                .find(|one| one.acltype == kind)
                .map(|one| one.allow)
                .ok_or_else(|| self.incomplete(kind))
        };
        Ok(DefaultAccess {
            publish_client_send: of("publishClientSend")?,
            publish_client_receive: of("publishClientReceive")?,
            subscribe: of("subscribe")?,
            unsubscribe: of("unsubscribe")?,
        })
    }

    fn page<T: for<'de> Deserialize<'de>>(&self, part: &'static str) -> Result<Page<T>, AnswerError> {
        Ok(Page { total: self.part("totalCount")?, items: self.part(part)? })
    }

    fn part<T: for<'de> Deserialize<'de>>(&self, part: &'static str) -> Result<T, AnswerError> {
        let value = self.data.get(part).ok_or_else(|| self.incomplete(part))?;
        T::deserialize(value).map_err(AnswerError::Malformed)
    }

    fn incomplete(&self, part: &'static str) -> AnswerError {
        AnswerError::Incomplete { command: self.command.chars().take(64).collect(), part }
    }
}

/// A reason as text without control characters, at most 256 characters long.
fn shown(reason: &Value) -> String {
    let text = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

/// Text, or nothing where a version of the plugin says something else.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dynsec::{AclType, RoleRef};

    fn one(text: &str) -> Answer {
        decode(format!(r#"{{"responses":[{text}]}}"#).as_bytes()).expect("decodes").remove(0)
    }

    #[test]
    fn a_failure_says_which_command_failed_and_why() {
        let answer = one(r#"{"command":"getRole","error":"Role not found","correlationData":"b/0"}"#);
        let failure = answer.outcome(&Command::GetRole("r".into())).expect_err("it failed");
        assert_eq!(failure.to_string(), "the broker refused getRole r: Role not found");
        assert!(failure.is_missing() && !failure.is_duplicate());
        assert_eq!(answer.correlation_data.as_deref(), Some("b/0"));
    }

    #[test]
    fn roles_logins_and_defaults_are_read_as_the_plugin_writes_them() {
        let role = one(r#"{"command":"getRole","data":{"role":{"rolename":"r","acls":[
            {"acltype":"subscribePattern","topic":"a","priority":0,"allow":true}]}}}"#);
        assert_eq!(role.role().expect("a role").acls[0].acltype, AclType::SubscribePattern);
        let clients = one(r#"{"command":"listClients","data":{"totalCount":7,"clients":[
            {"username":"u","roles":[{"rolename":"r"}],"groups":[{"groupname":"g"}],"connections":[]}]}}"#);
        let page = clients.clients().expect("a page");
        assert_eq!((page.total, &page.items[0].roles), (7, &vec![RoleRef::new("r", -1)]));
        let defaults = one(r#"{"command":"getDefaultACLAccess","data":{"acls":[
            {"acltype":"publishClientSend","allow":false},{"acltype":"publishClientReceive","allow":false},
            {"acltype":"subscribe","allow":false},{"acltype":"unsubscribe","allow":true}]}}"#);
        assert_eq!(defaults.default_access().expect("defaults"), DefaultAccess::DENY);
        assert!(defaults.role().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_answer_makes_reading_it_panic(text in r#"\{"command":"c","data":(\{"role":(1|\{\}|\{"rolename":1\})\}|\[\]|"x"|\{"acls":[\[\]{}1]*\})\}"#) {
            if let Ok(answers) = decode(format!(r#"{{"responses":[{text}]}}"#).as_bytes()) {
                for answer in answers {
                    let _ = (answer.role(), answer.roles(), answer.client(), answer.clients(), answer.default_access());
                }
            }
        }
    }
}
