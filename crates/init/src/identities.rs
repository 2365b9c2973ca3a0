//! The broker's identities file (the JSON of Mosquitto's dynamic security plugin), before the broker runs.
//!
//! The file is the broker's: the message coordinator changes it through the broker while that runs. The
//! seed, made beside the passwords, holds what must be there for the coordinators to log in at all. Here
//! the two are brought together: a file that cannot be read is replaced by the seed, what changed in the
//! seed since it was last applied (a new password, a role of a new version) is carried over, and a coordinator
//! that is gone is put back. Everything else in the file stays, such as plugins and an operator's own password.
//!
//! The file is handled as JSON, not as crate `acl`'s types, so that what a newer broker wrote stays in it.
//! Nothing here decides what a role may do; that is the business of crate `acl`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Clients and roles, each list with the field that names its entries.
const LISTS: [(&str, &str); 2] = [("roles", "rolename"), ("clients", "username")];

/// Why a file cannot serve as the broker's identities.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is none, or it is empty.
    #[error("it is missing or empty")]
    Missing,
    /// It is cut off or something else.
    #[error("it is not JSON: {0}")]
    Syntax(String),
    /// It is JSON of another kind.
    #[error("its member {0} is missing or of the wrong kind")]
    Shape(&'static str),
}

/// A file that has the form of the dynamic security plugin's.
#[derive(Debug, Clone, PartialEq)]
pub struct Identities(Map<String, Value>);

impl Identities {
    /// Parses a file's content; `None` stands for a file that is not there.
    pub fn parse(content: Option<&[u8]>) -> Result<Self, Fault> {
        let content = content.filter(|content| !content.trim_ascii().is_empty()).ok_or(Fault::Missing)?;
        let value: Value =
            serde_json::from_slice(content).map_err(|error| Fault::Syntax(error.to_string()))?;
        let Value::Object(document) = value else {
            return Err(Fault::Shape("(the whole)"));
        };
        // Without it the broker falls back to its own default, which lets everybody receive everything.
        if !document.get("defaultACLAccess").is_some_and(Value::is_object) {
            return Err(Fault::Shape("defaultACLAccess"));
        }
        for (list, key) in LISTS {
            let named = |entry: &Value| entry.get(key).is_some_and(Value::is_string);
            if !document.get(list).and_then(Value::as_array).is_some_and(|entries| entries.iter().all(named))
            {
                return Err(Fault::Shape(list));
            }
        }
        Ok(Self(document))
    }

    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(&self.0).expect("a JSON value is always encoded");
        content.push(b'\n');
        content
    }

    /// Carries over what the seed changed since it was last applied. Returns the names of what was set
    /// or taken away.
    pub fn carry_over(&mut self, seed: &Identities, applied: Option<&Identities>) -> Vec<String> {
        let mut changed = Vec::new();
        for (list, key) in LISTS {
            let wanted = seed.entries(list, key);
            let before = applied.map(|applied| applied.entries(list, key)).unwrap_or_default();
            let Some(present) = self.0.get_mut(list).and_then(Value::as_array_mut) else {
                continue;
            };
            for (name, entry) in &wanted {
                let same_as_applied = before.get(name) == Some(entry);
                match present.iter_mut().find(|present| name_of(present, key) == Some(name)) {
                    Some(place) if same_as_applied || place == *entry => continue,
                    None if same_as_applied && may_be_gone(list, name) => continue,
                    Some(place) => *place = (*entry).clone(),
                    None => present.push((*entry).clone()),
                }
                changed.push((*name).to_owned());
            }
            present.retain(|entry| {
                let gone = name_of(entry, key)
                    .filter(|name| before.contains_key(name) && !wanted.contains_key(name));
                changed.extend(gone.map(str::to_owned));
                gone.is_none()
            });
        }
        changed
    }

    fn entries<'a>(&'a self, list: &str, key: &str) -> BTreeMap<&'a str, &'a Value> {
        let entries = self.0.get(list).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|entry| Some((name_of(entry, key)?, entry))).collect()
    }
}

/// Whether its absence can be somebody's decision: an operator can be taken away, a coordinator cannot.
fn may_be_gone(list: &str, name: &str) -> bool {
    list == "clients" && !name.starts_with("coordinator.")
}

fn name_of<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    entry.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identities(value: Value) -> Identities {
        Identities::parse(Some(value.to_string().as_bytes())).expect("well formed")
    }

    fn seed(password: &str, topic: &str) -> Identities {
        identities(json!({
            "defaultACLAccess": {"publishClientReceive": false},
            "clients": [
                {"username": "coordinator.message", "password": password},
                {"username": "operator.operator", "password": "first"},
            ],
            "roles": [{"rolename": "coordinator.message", "acls": [{"topic": topic}]}],
        }))
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_reason() {
        let cases: [(&str, &str); 8] = [
            ("", "missing or empty"),
            (" \n", "missing or empty"),
            ("{\"clients\": [", "not JSON"),
            ("\u{0}\u{0}\u{0}", "not JSON"),
            ("[]", "(the whole)"),
            (r#"{"clients": [], "roles": []}"#, "defaultACLAccess"),
            (r#"{"defaultACLAccess": {}, "clients": {}, "roles": []}"#, "clients"),
            (r#"{"defaultACLAccess": {}, "clients": [], "roles": [{"acls": []}]}"#, "roles"),
        ];
        for (content, reason) in cases {
            let fault = Identities::parse(Some(content.as_bytes())).expect_err(content);
            assert!(fault.to_string().contains(reason), "{content:?}: {fault}");
        }
        assert_eq!(Identities::parse(None), Err(Fault::Missing));
    }

    #[test]
    fn a_coordinator_and_a_role_that_are_gone_are_put_back() {
        let mut file = identities(json!({"defaultACLAccess": {}, "clients": [], "roles": []}));
        let changed = file.carry_over(&seed("p", "t"), Some(&seed("p", "t")));
        assert_eq!(changed, ["coordinator.message", "coordinator.message"]);
        assert!(file.entries("clients", "username").contains_key("coordinator.message"));
    }

    #[test]
    fn an_operator_that_is_gone_stays_gone_because_somebody_took_it_away() {
        let mut file = seed("p", "t");
        file.0["clients"] = json!([{"username": "coordinator.message", "password": "p"}]);
        let before = file.clone();
        assert!(file.carry_over(&seed("p", "t"), Some(&seed("p", "t"))).is_empty());
        assert_eq!(file, before);
    }

    #[test]
    fn a_seed_that_did_not_change_changes_nothing() {
        let mut file = seed("p", "t");
        file.0["clients"][1]["password"] = json!("chosen by the operator");
        let before = file.clone();
        assert!(file.carry_over(&seed("p", "t"), Some(&seed("p", "t"))).is_empty());
        assert_eq!(file, before);
    }

    #[test]
    fn a_new_password_and_a_new_role_are_carried_over_and_plugins_stay() {
        let mut file = seed("old", "old");
        let plugin = json!({"username": "plugin.weather", "password": "x"});
        file.0["clients"].as_array_mut().expect("a list").push(plugin.clone());
        file.0["clients"][1]["password"] = json!("chosen by the operator");
        let changed = file.carry_over(&seed("new", "new"), Some(&seed("old", "old")));
        assert_eq!(changed, ["coordinator.message", "coordinator.message"]);
        assert_eq!(file.0["clients"][0]["password"], "new");
        assert_eq!(file.0["clients"][1]["password"], "chosen by the operator");
        assert_eq!(file.0["clients"][2], plugin);
        assert_eq!(file.0["roles"][0]["acls"][0]["topic"], "new");
    }

    #[test]
    fn what_left_the_seed_leaves_the_file() {
        let mut applied = seed("p", "t");
        applied.0["roles"].as_array_mut().expect("a list").push(json!({"rolename": "old-role"}));
        let mut file = applied.clone();
        assert_eq!(file.carry_over(&seed("p", "t"), Some(&applied)), ["old-role"]);
        assert_eq!(file, seed("p", "t"));
    }
}
