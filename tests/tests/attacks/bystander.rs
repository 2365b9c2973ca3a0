//! A broker beside the framework, on which defences are missing: the attacker's login has rights that no manifest
//! gets. With the guard role above them (as if the plugin coordinator lied), or without it.

use acl::dynsec::{Acl, AclType, Client as Login, DefaultAccess, Document, Role, RoleRef};
use acl::role::priority;
use acl::{guard, password};
use envelope::PluginId;
use testkit::{Broker, Client, ClientOptions, Version};

use crate::e2e::world::id;

const PASSWORD: &str = "known to the test";
const ATTACKER: &str = "plugin.arena-attacker";
const WITNESS: &str = "witness";

/// The broker.
pub struct Bystander {
    broker: Broker,
}

/// Whether the guard role stands above what the attacker was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// It does: only the plugin coordinator's checks are missing.
    On,
    /// It does not: nothing is left.
    Off,
}

/// Everything, in every direction.
fn everything() -> Role {
    let filters = ["#", "$SYS/#", "$CONTROL/#", "$share/#", "$share/+/#"];
    let kinds = [AclType::PublishClientSend, AclType::PublishClientReceive, AclType::SubscribePattern];
    let acls = kinds.into_iter().flat_map(|acltype| {
        filters.map(|topic| Acl { acltype, topic: topic.to_owned(), priority: 0, allow: true })
    });
    Role { rolename: "everything".to_owned(), acls: acls.collect() }
}

impl Bystander {
    /// Starts it.
    pub async fn start(guarded: Guard) -> Self {
        let guard = guard::role();
        let below = RoleRef::new("everything", priority::MANIFEST);
        let mut roles = vec![below.clone()];
        if guarded == Guard::On {
            roles.push(RoleRef::new(&guard.rolename, priority::GUARD));
        }
        let login = |username: &str, roles| Login {
            username: username.to_owned(),
            textname: None,
            clientid: None,
            disabled: false,
            roles,
            groups: Vec::new(),
            password: Some(password::hash(PASSWORD).expect("random bytes")),
        };
        let identities = Document {
            default_access: DefaultAccess::DENY,
            clients: vec![login(ATTACKER, roles), login(WITNESS, vec![below])],
            groups: Vec::new(),
            roles: vec![everything(), guard],
        };
        let identities = serde_json::to_value(&identities).expect("plain data");
        Self { broker: Broker::with_identities(identities).start().await }
    }

    /// The attacker's name.
    pub fn attacker() -> PluginId {
        id("arena-attacker")
    }

    /// A client with the attacker's login.
    pub fn attack(&self, version: Version) -> ClientOptions {
        self.attack_as(&fresh(ATTACKER), version)
    }

    /// The same under a client id of its choice.
    pub fn attack_as(&self, client_id: &str, version: Version) -> ClientOptions {
        Client::at(self.broker.port(), client_id).login(ATTACKER, PASSWORD).version(version)
    }

    /// Somebody who sees and may say everything.
    pub async fn witness(&self) -> Client {
        self.witness_as(&fresh(WITNESS)).await
    }

    /// The same under this client id.
    pub async fn witness_as(&self, client_id: &str) -> Client {
        self.witness_at(client_id).connect().await.expect("the witness connects")
    }

    /// The same, to be connected.
    pub fn witness_at(&self, client_id: &str) -> ClientOptions {
        Client::at(self.broker.port(), client_id).login(WITNESS, PASSWORD)
    }
}

fn fresh(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}
