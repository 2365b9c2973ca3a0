//! `docker.user`: who the plugin is inside its container.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Findings, quoted};
use crate::read::{Node, whole_number};

/// A user and group of the container, by number. A name means whatever the image says it means, so it
/// cannot be judged before the image is there; `root` alone is taken, as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number; the engine's choice when the manifest names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

impl User {
    /// Whether it is the user that the kernel asks least of.
    pub fn is_root(self) -> bool {
        self.uid == 0
    }

    fn parse(text: &str) -> Option<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let gid = match group {
            Some(group) => Some(number(group)?),
            None => None,
        };
        Some(Self { uid: number(user)?, gid })
    }
}

/// Linux keeps 2^32 - 1 for "nobody in particular"; engines take numbers up to 2^31 - 1.
fn number(text: &str) -> Option<u32> {
    if text == "root" {
        return Some(0);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n <= i32::MAX as u32)
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gid {
            Some(gid) => write!(f, "{}:{gid}", self.uid),
            None => write!(f, "{}", self.uid),
        }
    }
}

pub(super) fn read(node: &Node<'_>, found: &mut Findings) -> Option<User> {
    let text = match node.value {
        serde_json::Value::Number(number) => match whole_number(number) {
            Some(number) => number.to_string(),
            None => number.to_string(),
        },
        _ => node.text(found)?.to_owned(),
    };
    let user = User::parse(&text);
    if user.is_none() {
        let reason = format!("{} is not a user by number", quoted(&text));
        let fix = "write user and group as numbers, such as \"1000:1000\"";
        found.fault(&node.at, reason, fix);
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_and_root_cannot_hide() {
        for (text, shown, root) in [
            ("1000:1000", "1000:1000", false),
            ("1000", "1000", false),
            ("1000:0", "1000:0", false),
            ("0", "0", true),
            ("000:7", "0:7", true),
            ("root", "0", true),
            ("root:root", "0:0", true),
        ] {
            let user = User::parse(text).expect(text);
            assert_eq!((user.to_string().as_str(), user.is_root()), (shown, root));
        }
        for text in [
            "",
            ":",
            "1000:",
            ":0",
            "nobody",
            "Root",
            "-1",
            "+0",
            "0x0",
            "4294967296",
            "2147483648",
            "1:2:3",
            " 0",
        ] {
            assert_eq!(User::parse(text), None, "{text:?}");
        }
    }
}
