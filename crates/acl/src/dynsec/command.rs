//! Commands to the dynamic security plugin.

use serde::Serialize;

use super::{Acl, DefaultAccess, Role, RoleRef};

/// One command. What is left out of it is not changed by it.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a role. Disconnects nobody.
    CreateRole(Role),
    /// Replaces a role's rules. From Mosquitto 2.1 on it disconnects every client that has the role.
    ModifyRole(Role),
    /// Takes a role away, from every client that has it too, and disconnects these.
    DeleteRole(String),
    /// Asks for one role.
    GetRole(String),
    /// Asks for `count` roles with their rules, from the `offset`th on, by name.
    ListRoles {
        /// Where to begin.
        offset: usize,
        /// How many.
        count: usize,
    },
    /// Asks for the names of `count` roles, from the `offset`th on.
    ListRoleNames {
        /// Where to begin.
        offset: usize,
        /// How many.
        count: usize,
    },
    /// Makes a login. Disconnects nobody.
    CreateClient {
        /// The login's name.
        username: String,
        /// Its password, in plain text.
        password: String,
        /// A note.
        textname: String,
        /// Its roles, which must exist.
        roles: Vec<RoleRef>,
    },
    /// Replaces a login's roles, and takes it out of every group. Disconnects it.
    SetClientRoles {
        /// The login's name.
        username: String,
        /// Its roles, which must exist.
        roles: Vec<RoleRef>,
    },
    /// Replaces a login's note. Disconnects it.
    SetClientNote {
        /// The login's name.
        username: String,
        /// The note.
        textname: String,
    },
    /// Replaces a login's password. Disconnects it.
    SetClientPassword {
        /// The login's name.
        username: String,
        /// Its password, in plain text.
        password: String,
    },
    /// Lets a login connect. Disconnects nobody.
    EnableClient(String),
    /// Lets a login not connect, and disconnects it.
    DisableClient(String),
    /// Takes a login away, and disconnects it.
    DeleteClient(String),
    /// Asks for one login.
    GetClient(String),
    /// Asks for `count` logins with their roles, from the `offset`th on, by name.
    ListClients {
        /// Where to begin.
        offset: usize,
        /// How many.
        count: usize,
    },
    /// Sets what is allowed when no rule matches. Disconnects nobody.
    SetDefaultAccess(DefaultAccess),
    /// Asks what is allowed when no rule matches.
    GetDefaultAccess,
}

impl Command {
    /// As it is written on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateRole(_) => "createRole",
            Self::ModifyRole(_) => "modifyRole",
            Self::DeleteRole(_) => "deleteRole",
            Self::GetRole(_) => "getRole",
            Self::ListRoles { .. } | Self::ListRoleNames { .. } => "listRoles",
            Self::CreateClient { .. } => "createClient",
            Self::SetClientRoles { .. } | Self::SetClientNote { .. } => "modifyClient",
            Self::SetClientPassword { .. } => "setClientPassword",
            Self::EnableClient(_) => "enableClient",
            Self::DisableClient(_) => "disableClient",
            Self::DeleteClient(_) => "deleteClient",
            Self::GetClient(_) => "getClient",
            Self::ListClients { .. } => "listClients",
            Self::SetDefaultAccess(_) => "setDefaultACLAccess",
            Self::GetDefaultAccess => "getDefaultACLAccess",
        }
    }

    /// The role or login that it is about.
    pub fn subject(&self) -> &str {
        match self {
            Self::CreateRole(role) | Self::ModifyRole(role) => &role.rolename,
            Self::DeleteRole(name)
            | Self::GetRole(name)
            | Self::EnableClient(name)
            | Self::DisableClient(name)
            | Self::DeleteClient(name)
            | Self::GetClient(name) => name,
            Self::CreateClient { username, .. }
            | Self::SetClientRoles { username, .. }
            | Self::SetClientNote { username, .. }
            | Self::SetClientPassword { username, .. } => username,
            Self::ListRoles { .. }
            | Self::ListRoleNames { .. }
            | Self::ListClients { .. }
            | Self::SetDefaultAccess(_)
            | Self::GetDefaultAccess => "",
        }
    }

    fn wire<'a>(&'a self, correlation: &'a str) -> Wire<'a> {
        let mut wire = Wire { command: self.name(), correlation_data: correlation, ..Wire::default() };
        match self {
            Self::CreateRole(role) | Self::ModifyRole(role) => {
                wire.rolename = Some(&role.rolename);
                wire.acls = Some(Acls::Rules(&role.acls));
            }
            Self::DeleteRole(name) | Self::GetRole(name) => wire.rolename = Some(name),
            Self::ListRoles { offset, count } | Self::ListClients { offset, count } => {
                wire.verbose = Some(true);
                wire.offset = Some(*offset);
                wire.count = Some(*count);
            }
            Self::ListRoleNames { offset, count } => {
                wire.offset = Some(*offset);
                wire.count = Some(*count);
            }
            Self::CreateClient { username, password, textname, roles } => {
                wire.username = Some(username);
                wire.password = Some(password);
                wire.textname = Some(textname);
                wire.roles = Some(roles);
            }
            Self::SetClientRoles { username, roles } => {
                wire.username = Some(username);
                wire.roles = Some(roles);
                wire.groups = Some([]);
            }
            Self::SetClientNote { username, textname } => {
                wire.username = Some(username);
                wire.textname = Some(textname);
            }
            Self::SetClientPassword { username, password } => {
                wire.username = Some(username);
                wire.password = Some(password);
            }
            Self::EnableClient(name)
            | Self::DisableClient(name)
            | Self::DeleteClient(name)
            | Self::GetClient(name) => wire.username = Some(name),
            Self::SetDefaultAccess(access) => wire.acls = Some(Acls::Defaults(defaults(*access))),
            Self::GetDefaultAccess => {}
        }
        wire
    }
}

impl std::fmt::Debug for Command {
    /// Name and subject only: some commands carry a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.subject())
    }
}

/// The bytes of one message with these commands. The `n`th answer carries `"{batch}/{n}"`.
pub fn encode(batch: &str, commands: &[Command]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        commands: Vec<Wire<'a>>,
    }
    let correlations: Vec<String> = (0..commands.len()).map(|n| format!("{batch}/{n}")).collect();
    let commands = commands.iter().zip(&correlations).map(|(c, id)| c.wire(id)).collect();
    serde_json::to_vec(&Message { commands }).expect("text, numbers and lists always serialise")
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    command: &'a str,
    correlation_data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rolename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acls: Option<Acls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    textname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [RoleRef]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbose: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Acls<'a> {
    Rules(&'a [Acl]),
    Defaults([OneDefault; 4]),
}

#[derive(Serialize)]
struct OneDefault {
    acltype: &'static str,
    allow: bool,
}

fn defaults(access: DefaultAccess) -> [OneDefault; 4] {
    [
        OneDefault { acltype: "publishClientSend", allow: access.publish_client_send },
        OneDefault { acltype: "publishClientReceive", allow: access.publish_client_receive },
        OneDefault { acltype: "subscribe", allow: access.subscribe },
        OneDefault { acltype: "unsubscribe", allow: access.unsubscribe },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_the_plugin_reads_them() {
        let bytes = encode(
            "b",
            &[
                Command::GetRole("r".into()),
                Command::SetClientRoles { username: "u".into(), roles: vec![RoleRef::new("r", 2)] },
                Command::ListClients { offset: 0, count: 10 },
            ],
        );
        assert_eq!(
            String::from_utf8(bytes).expect("JSON is UTF-8"),
            concat!(
                r#"{"commands":[{"command":"getRole","correlationData":"b/0","rolename":"r"},"#,
                r#"{"command":"modifyClient","correlationData":"b/1","username":"u","roles":[{"rolename":"r","priority":2}],"groups":[]},"#,
                r#"{"command":"listClients","correlationData":"b/2","verbose":true,"offset":0,"count":10}]}"#
            )
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        let set = Command::SetClientPassword { username: "u".into(), password: "secret".into() };
        assert_eq!(format!("{set:?}"), "setClientPassword u");
    }
}
