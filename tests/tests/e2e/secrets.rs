//! No generated secret is anywhere but where it must be: looked for after a plugin's whole life, in everything
//! that anybody can read.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chassis::Service;
use envelope::topic::coordinator;
use envelope::{Coordinator, Operation, PluginId};
use message_coordinator::MessageCoordinator;
use seal::Seal;
use security_coordinator::SecurityCoordinator;
use serde_json::{Value, json};
use store::{Migrator, Store};
use testkit::Version;
use tests::stack::command::Run;
use tests::stack::listener::Listener;
use tests::stack::operator::retained;
use tests::stack::{COORDINATORS, engine};

use super::runner::Case;
use super::world::{Shared, World, login};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    crate::alone![no_secret_is_in_a_log_an_event_a_retained_topic_an_image_a_label_or_a_process_list]
}

async fn no_secret_is_in_a_log_an_event_a_retained_topic_an_image_a_label_or_a_process_list(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    let mut secrets = Secrets::default();
    secrets.of_installation(&world).await;

    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let everything = readable(&id);
    let mut events = Listener::on(client, &everything).await;
    world.install_and_start(&mut operator, &id, &source).await;
    secrets.of_plugin(&world, &id, "its first start").await;
    operator.ask_about(Operation::Stop, &id).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    secrets.of_plugin(&world, &id, "its second start").await;
    // An account with a password that somebody chose.
    let account =
        json!({"name": "night-shift", "role": "viewer", "password": "correct horse battery staple"});
    operator.ask(Operation::AddOperator, account).await.data();
    secrets.add("the password of an account", "correct horse battery staple");
    operator.ask(Operation::RemoveOperator, json!({"name": "night-shift"})).await.data();
    operator.ask(Operation::Audit, json!({"limit": 1000})).await.data();
    operator.ask_about(Operation::Inspect, &id).await.data();
    assert!(secrets.found.len() >= 12, "{:?}", secrets.found.keys());

    let mut places = BTreeMap::new();
    places.insert("what operators hear".to_owned(), heard(&mut events).await);
    let kept = retained(&world.stack, &everything).await;
    let kept: Vec<String> = kept.iter().map(|m| format!("{} {}", m.topic, m.text())).collect();
    places.insert("retained topics".to_owned(), kept.join("\n"));
    places.insert(
        "the process list".to_owned(),
        Run::new("ps", ["axww", "-o", "args"]).ok().await.expect("ps"),
    );
    for container in containers(&world).await {
        look_into(&container, &mut places).await;
    }
    for (name, place) in &places {
        assert!(!place.is_empty(), "{name} is empty: nothing was looked at");
        for (secret, whose) in &secrets.found {
            assert!(!place.contains(secret.as_str()), "{whose} is in {name}");
        }
    }
    world.remove(&mut operator, &id, &source).await;
}

/// Everything an operator may subscribe to.
fn readable(id: &PluginId) -> Vec<String> {
    let mut filters =
        vec![coordinator::specs(), coordinator::states(), coordinator::acls(), coordinator::keys()];
    for c in Coordinator::ALL {
        filters.extend([coordinator::events(c), coordinator::health_all(c)]);
    }
    filters.extend([envelope::topic::plugin::health(id), envelope::topic::plugin::status(id)]);
    filters
}

async fn heard(events: &mut Listener) -> String {
    // Until nothing comes any more; health goes on for ever.
    let is_none = |_: &testkit::Message| false;
    events.find(Duration::from_secs(2), is_none).await;
    events.heard().iter().map(|m| format!("{} {}\n", m.topic, m.text())).collect()
}

/// Logs, labels, processes of a container, and the history of its image.
async fn look_into(container: &str, places: &mut BTreeMap<String, String>) {
    let inspected = engine::inspect(container).await.expect("the engine answers").expect("it is there");
    let name = inspected["Name"].as_str().unwrap_or(container).to_owned();
    let image = inspected["Image"].as_str().expect("it has an image").to_owned();
    let logs = Run::docker(["logs", container]).output().await.expect("the engine answers").text;
    if !logs.is_empty() {
        places.insert(format!("the log of {name}"), logs);
    }
    places.insert(format!("the labels of {name}"), inspected["Config"]["Labels"].to_string());
    places.insert(format!("the arguments of {name}"), format!("{} {}", inspected["Path"], inspected["Args"]));
    let history = Run::docker(["history", "--no-trunc", &image]).ok().await.expect("the engine answers");
    places.insert(format!("the history of {name}'s image"), history);
    let config: Value = serde_json::from_str(
        &Run::docker(["image", "inspect", &image]).ok().await.expect("the engine answers"),
    )
    .expect("JSON");
    places.insert(format!("the configuration of {name}'s image"), config.to_string());
}

async fn containers(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    for filter in [
        format!("label=com.docker.compose.project={}", world.stack.project),
        format!("label=org.bigskies.installation={}", world.stack.installation),
    ] {
        all.extend(engine::containers(&[filter]).await.expect("the engine answers"));
    }
    all
}

/// Secrets, with whose they are.
#[derive(Default)]
struct Secrets {
    found: BTreeMap<String, String>,
}

impl Secrets {
    fn add(&mut self, whose: &str, secret: &str) {
        assert!(secret.len() >= 16, "{whose} is too short to be looked for");
        self.found.insert(secret.to_owned(), whose.to_owned());
    }

    /// Bytes, as hexadecimal and in both alphabets of base64 (RFC 4648).
    fn add_key(&mut self, whose: &str, key: &[u8]) {
        self.add(&format!("{whose}, as hexadecimal"), &hex(key));
        // Within something longer the same bytes have one of three forms. Whole groups of three have no other.
        for offset in 0..3 {
            let groups = &key[offset..offset + (key.len() - offset) / 3 * 3];
            self.add(&format!("{whose}, as base64"), &STANDARD_NO_PAD.encode(groups));
            self.add(&format!("{whose}, as base64 for URLs"), &URL_SAFE_NO_PAD.encode(groups));
        }
    }

    /// What `init` made.
    async fn of_installation(&mut self, world: &World) {
        for (service, c) in COORDINATORS {
            let login = world.stack.file_of(service, "/secrets/password").await.expect("it is there");
            let login = String::from_utf8(login).expect("a login is text");
            self.add(
                &format!("the password of the {c} coordinator"),
                login.trim().lines().last().unwrap_or(""),
            );
            if c != Coordinator::Plugin {
                let key = world.stack.file_of(service, "/secrets/key").await.expect("it is there");
                self.add_key(&format!("the key of the {c} coordinator"), &key);
            }
        }
        for (whose, service, file) in [
            ("the broker's private key", "mqtt-broker", "/secrets/server.pem"),
            ("the certificate authority's private key", "init", "/volumes/authority-secrets/ca.key"),
        ] {
            let pem = world.stack.file_of(service, file).await.expect("it is there");
            let pem = String::from_utf8(pem).expect("PEM is text");
            let (_, key) = pem.split_once("PRIVATE KEY-----\n").expect("it holds a key");
            self.add(whose, key.lines().next().unwrap_or(""));
        }
        self.add("the operator's password", &world.stack.operator().1);
        self.of_canaries(world).await;
        self.of_signing_keys(world).await;
    }

    /// What the message coordinator made for its canaries, from its database.
    async fn of_canaries(&mut self, world: &World) {
        let (store, seal) =
            opened(world, "message", Coordinator::Message, MessageCoordinator::migrations()).await;
        let asked =
            "SELECT plugin_id, start_id, password FROM logins WHERE plugin_id LIKE 'bigskies-canary-%'";
        let rows: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as(asked).fetch_all(store.pool()).await.expect("the database answers");
        assert_eq!(rows.len(), 2, "there are two canaries");
        for (canary, start, sealed) in rows {
            let password = seal.open(&format!("{canary}/{start}"), &sealed).expect("it opens");
            let password = std::str::from_utf8(&password).expect("a password is text");
            self.add(&format!("the password of {canary}"), password);
        }
        store.close().await;
    }

    /// What tokens are signed with, from the security coordinator's database.
    async fn of_signing_keys(&mut self, world: &World) {
        let (store, seal) =
            opened(world, "security", Coordinator::Security, SecurityCoordinator::migrations()).await;
        let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as("SELECT kid, state, sealed FROM keys")
            .fetch_all(store.pool())
            .await
            .expect("the database answers");
        assert!(rows.len() >= 2, "an active key and the next one");
        for (kid, state, sealed) in rows {
            let key = seal.open(&kid, &sealed).expect("it opens");
            // Ed25519 in PKCS#8 (RFC 8410): the private key is the 32 bytes after the first 16.
            let private = &key[16..48];
            self.add_key(&format!("the signing key that is {state}"), private);
        }
        store.close().await;
    }

    /// Login and token of a plugin that runs; the token is taken as the plugin itself.
    async fn of_plugin(&mut self, world: &World, id: &PluginId, when: &str) {
        let (user, password) = login(&world.running(id).await);
        let mut client =
            world.stack.client(Version::V5).login(&user, &password).connect().await.expect("connects");
        client.subscribe(&coordinator::token(id)).await.expect("it may");
        let message = client.recv(PATIENCE).await.expect("the token is retained");
        let token: Value = serde_json::from_slice(&message.payload).expect("JSON");
        let token = token["token"].as_str().expect("a token").to_owned();
        let signature = token.rsplit('.').next().expect("three parts").to_owned();
        self.add(&format!("the password of {id} in {when}"), &password);
        self.add(&format!("the token of {id} in {when}"), &token);
        self.add(&format!("the signature of the token of {id} in {when}"), &signature);
    }
}

/// The database of a coordinator, opened beside its owner, and what opens what is sealed in it.
async fn opened(world: &World, name: &str, coordinator: Coordinator, own: &Migrator) -> (Store, Seal) {
    let file = world.folder_of(&format!("{name}-data")).await.join(format!("{coordinator}.db"));
    let store = Store::open(&file, own).await.expect("opens beside its owner");
    let key = world.folder_of(&format!("{name}-secrets")).await.join("key");
    (store, Seal::read(&key).expect("its key"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
