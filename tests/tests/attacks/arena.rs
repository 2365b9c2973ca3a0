//! Two plugins that run for all attacks: one that an attacker has taken over, and its victim.

use std::time::Duration;

use envelope::operation::Operation;
use envelope::topic::{RequestTopic, coordinator, plugin};
use envelope::{Envelope, MessageType, PluginId, Principal};
use serde_json::{Value, json};
use testkit::{Client, ClientOptions, Message, Publish, Version};
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};
use tokio::sync::OnceCell;

use crate::e2e::world::{World, id, login};

/// How long what must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Reason code: not authorized (MQTT 5.0 section 2.4).
pub const NOT_AUTHORIZED: u8 = 0x87;

static ARENA: OnceCell<Arena> = OnceCell::const_new();

/// The two plugins. What is known of the attacker's is what its own container was given.
pub struct Arena {
    pub attacker: PluginId,
    pub victim: PluginId,
    pub login: (String, String),
    pub image: String,
}

/// The arena, which is made once.
pub async fn arena(world: &World) -> &'static Arena {
    ARENA.get_or_init(|| Arena::make(world)).await
}

/// A manifest that asks for `permissions`.
fn manifest(id: &PluginId, permissions: &[&str]) -> Value {
    json!({"id": id, "name": "In the arena", "version": "1.0.0", "permissions": permissions})
}

impl Arena {
    async fn make(world: &World) -> Self {
        let (attacker, victim) = (id("arena-attacker"), id("arena-victim"));
        let mut operator = world.operator().await;
        let mut images = Vec::new();
        for id in [&attacker, &victim] {
            let script = Script::healthy(id.as_str()).label(manifest(id, &["system:read", "plugin:read"]));
            let image = script.push(&world.stack).await.expect("the image builds");
            world.install_and_start(&mut operator, id, &image).await;
            images.push(image);
        }
        let login = login(&world.running(&attacker).await);
        Self { attacker, victim, login, image: images.swap_remove(0) }
    }

    /// A client with the attacker's login.
    pub fn client(&self, world: &World, version: Version) -> ClientOptions {
        world.stack.client(version).login(&self.login.0, &self.login.1)
    }

    /// The attacker, connected.
    pub async fn connect(&self, world: &World, version: Version) -> Client {
        self.client(world, version).connect().await.expect("the attacker's login opens the broker")
    }

    /// The attacker, listening to the answers to its own requests.
    pub async fn asking(&self, world: &World) -> Listener {
        let client = self.connect(world, Version::V5).await;
        Listener::on(client, [plugin::responses(&self.attacker)]).await
    }

    /// Where the attacker asks with its own identity.
    pub fn request(&self, operation: Operation) -> RequestTopic {
        RequestTopic::new(Principal::Plugin(self.attacker.clone()), operation)
    }

    /// The attacker's own token.
    pub async fn token(&self, world: &World) -> String {
        let client = self.connect(world, Version::V5).await;
        let mut listener = Listener::on(client, [coordinator::token(&self.attacker)]).await;
        token_in(&listener.wait("its own token", PATIENCE, |m| !m.payload.is_empty()).await)
    }
}

/// The token in the message that its plugin gets.
pub fn token_in(message: &Message) -> String {
    let said = payload(message);
    let token = said["token"].as_str().or_else(|| said["payload"]["token"].as_str());
    token.unwrap_or_else(|| panic!("no token in {said:#}")).to_owned()
}

/// A request in an envelope.
pub fn envelope(payload: Value) -> Envelope {
    Envelope::new(MessageType::Request, "attacks", payload)
}

/// Sends a request and returns what its answer says, `success` with `data` or `error`.
pub async fn ask(listener: &mut Listener, topic: &RequestTopic, asked: &Envelope) -> Value {
    let message =
        Publish { topic: topic.to_string(), payload: asked.encode().into(), qos: 1, ..Publish::default() };
    listener.client().send(message).await.expect("the connection stands");
    let wanted = |m: &Message| payload(m)["correlation_id"] == *asked.id;
    let answer = listener.wait("the answer", PATIENCE, wanted).await;
    assert_eq!(answer.topic, topic.response());
    payload(&answer)["payload"].clone()
}
