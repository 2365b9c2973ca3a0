//! A broker beside the framework with the framework's own logins and roles, and nobody there yet: a test speaks for
//! whom it likes, also for a coordinator that lacks a check.

use acl::compile::{PluginRoles, compile};
use acl::dynsec::Client as Login;
use acl::fixed::seed;
use acl::password::{self, NoRandomness};
use envelope::payload::spec::{Presence, Spec};
use envelope::principal::plugin_login;
use envelope::topic::plugin;
use envelope::{Generation, InstallUid, PluginId};
use testkit::{Broker, Client};

const PASSWORD: &str = "known to the test";

/// The broker.
pub struct Replica {
    broker: Broker,
}

impl Replica {
    /// Starts it, with the logins of an installation that has these plugins, which asked for nothing.
    pub async fn start(plugins: &[&PluginId]) -> Self {
        let mut identities =
            seed(|_| Ok::<_, NoRandomness>(PASSWORD.to_owned())).expect("random bytes for the salts");
        for id in plugins {
            let roles = compile(&spec(id)).expect("a spec that asks for nothing");
            identities.clients.push(Login {
                username: plugin_login(id),
                textname: None,
                clientid: None,
                disabled: false,
                roles: roles.refs(),
                groups: Vec::new(),
                password: Some(password::hash(PASSWORD).expect("random bytes")),
            });
            // The guard is one of those that are the same in every installation.
            let PluginRoles { own, manifest, .. } = roles;
            identities.roles.extend([own, manifest]);
        }
        let identities = serde_json::to_value(&identities).expect("plain data");
        Self { broker: Broker::with_identities(identities).start().await }
    }

    /// A client with this login.
    pub async fn client(&self, login: &str) -> Client {
        let name = format!("{login}-{}", uuid::Uuid::new_v4().simple());
        let client = Client::at(self.broker.port(), name).login(login, PASSWORD).connect().await;
        client.unwrap_or_else(|refusal| panic!("{login}: {refusal}"))
    }
}

/// What the plugin coordinator tells the message coordinator of such a plugin.
fn spec(id: &PluginId) -> Spec {
    Spec {
        plugin_id: id.clone(),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "local".to_owned(),
        presence: Presence::Present,
        alias: None,
        client_ids: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
        health_topic: plugin::health(id),
        permissions: Vec::new(),
        manifest_digest: "sha256:00".to_owned(),
    }
}
