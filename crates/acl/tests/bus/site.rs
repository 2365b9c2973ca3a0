//! A broker with the framework's logins, two plugins, and a witness that sees and may do everything.

use std::time::Duration;

use acl::compile::{PluginRoles, compile};
use acl::dynsec::{Acl, AclType, Client as Login, Document, Role, RoleRef};
use acl::password::{self, NoRandomness};
use envelope::payload::spec::{Presence, Spec};
use envelope::principal::{operator_login, plugin_login};
use envelope::topic::plugin;
use envelope::{Generation, InstallUid, OperatorName, OperatorRole, PluginId};
use testkit::{Broker, Client, Message, Version};

/// How long a message may take that is expected.
pub const SOON: Duration = Duration::from_secs(10);

pub const BOTH: [Version; 2] = [Version::V3, Version::V5];

pub struct Site {
    pub broker: Broker,
}

pub fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("an id")
}

/// A topic or filter in the namespace of `name`.
pub fn below(name: &str, rest: &str) -> String {
    format!("{}{rest}", plugin::namespace(&id(name)).trim_end_matches('#'))
}

/// The spec of the SDK document's sample manifest.
pub fn sample() -> Spec {
    Spec {
        plugin_id: id("unique-plugin-guid"),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "node".into(),
        presence: Presence::Present,
        alias: Some(id("myplugin")),
        client_ids: vec![],
        publish: vec![below("myplugin", "status"), below("myplugin", "data")],
        subscribe: vec![below("myplugin", "#")],
        health_topic: below("myplugin", "health"),
        permissions: vec![],
        manifest_digest: String::new(),
    }
}

/// What the sample may do.
pub fn sample_roles() -> PluginRoles {
    compile(&sample()).expect("the sample compiles")
}

/// The account of this role at a site with operators: `a-viewer`, `a-operator`, `a-admin`.
pub fn operator(role: OperatorRole) -> OperatorName {
    OperatorName::parse(&format!("a-{role}")).expect("a name")
}

/// The framework's seed, with these plugins' logins and a witness. Every password is `password`.
pub async fn site(plugins: &[(&str, PluginRoles)]) -> Site {
    start(seed(), plugins).await
}

/// The same without plugins, and with an operator of each role.
pub async fn site_with_operators() -> Site {
    let mut document = seed();
    for role in OperatorRole::ALL {
        let name = operator(role);
        add_role(&mut document, acl::fixed::personal_role(&name, role));
        let login = acl::fixed::operators_login(&name, role);
        add_login(&mut document, &login.username, login.roles);
    }
    start(document, &[]).await
}

fn seed() -> Document {
    acl::fixed::seed(|_| Ok::<_, NoRandomness>("password".into())).expect("a seed")
}

async fn start(mut document: Document, plugins: &[(&str, PluginRoles)]) -> Site {
    for (name, roles) in plugins {
        for (_, role) in roles.by_priority() {
            add_role(&mut document, role.clone());
        }
        add_login(&mut document, &plugin_login(&id(name)), roles.refs());
    }
    add_role(&mut document, everything());
    add_login(&mut document, "witness", vec![RoleRef::new("everything", 0)]);
    let identities = serde_json::to_value(&document).expect("it serialises");
    Site { broker: Broker::with_identities(identities).await }
}

pub fn add_role(document: &mut Document, role: Role) {
    if !document.roles.iter().any(|r| r.rolename == role.rolename) {
        document.roles.push(role);
    }
}

pub fn add_login(document: &mut Document, username: &str, roles: Vec<RoleRef>) {
    document.clients.push(Login {
        username: username.to_owned(),
        textname: None,
        clientid: None,
        disabled: false,
        roles,
        groups: vec![],
        password: Some(password::hash("password").expect("random bytes")),
    });
}

fn everything() -> Role {
    let kinds = [AclType::PublishClientSend, AclType::PublishClientReceive, AclType::SubscribePattern];
    let topics = ["#", "$CONTROL/#", "$SYS/#"];
    let acls = kinds.into_iter().flat_map(|acltype| {
        topics.map(|topic| Acl { acltype, topic: topic.into(), priority: 0, allow: true })
    });
    Role { rolename: "everything".into(), acls: acls.collect() }
}

impl Site {
    /// Connects as `login`.
    pub async fn client(&self, login: &str, version: Version) -> Client {
        let id = format!("{login}-{version:?}");
        Client::connect(self.broker.port(), (login, "password"), &id, version)
            .await
            .unwrap_or_else(|why| panic!("{login} cannot connect: {why}"))
    }

    /// Connects as the operator of this role.
    pub async fn operator(&self, role: OperatorRole, version: Version) -> Client {
        self.client(&operator_login(&operator(role)), version).await
    }

    /// Connects as the plugin `name`.
    pub async fn plugin(&self, name: &str, version: Version) -> Client {
        self.client(&plugin_login(&id(name)), version).await
    }

    /// Connects as the witness, listening to everything.
    pub async fn witness(&self) -> Client {
        let witness = self.client("witness", Version::V5).await;
        witness.subscribe("#").await.expect("the witness may");
        witness
    }
}

/// The messages up to the one on `marker`, which the caller has sent after whatever it asks about.
pub async fn until(client: &mut Client, marker: &str) -> Vec<Message> {
    let mut seen = Vec::new();
    loop {
        match client.recv(SOON).await {
            Some(message) if message.topic == marker => return seen,
            Some(message) => seen.push(message),
            None => panic!("no message on {marker}; before it came {seen:?}"),
        }
    }
}
