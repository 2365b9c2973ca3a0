//! A plugin with the grants of its manifest, tried as itself, with real clients of both versions of the
//! protocol: it reaches nothing that is not its own.

use std::time::Duration;

use acl::fixed::first_operator;
use envelope::topic::{broker, coordinator, operator as operators, plugin};
use envelope::{
    Coordinator, Envelope, ErrorCode, MessageType, Operation, PluginId, Principal, topic::RequestTopic,
};
use serde_json::{Value, json};
use testkit::{Client, ClientOptions, Publish, Version, eventually};
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};
use tests::stack::operator::{raw_request, request};

use super::runner::Case;
use super::world::{Shared, World, id, login, minimal};

const PATIENCE: Duration = Duration::from_secs(20);
const VERSIONS: [Version; 2] = [Version::V3, Version::V5];
/// MQTT 5's reason code: not authorized.
const NOT_AUTHORIZED: u8 = 0x87;
/// What stands in every message that must not get through.
const FORGED: &str = r#"{"forged": true}"#;

pub fn cases() -> Vec<Case> {
    crate::beside![
        a_plugin_can_subscribe_to_its_own_topics_only,
        a_plugin_can_publish_to_its_own_topics_only,
        a_plugin_that_steals_a_session_is_delivered_nothing_of_it,
        a_plugins_requests_need_its_own_token_and_permission,
        a_login_is_dead_after_the_stop,
    ]
}

/// Two plugins that run, the first of which is tried as itself.
struct Pair {
    own: PluginId,
    other: PluginId,
    sources: [String; 2],
    login: (String, String),
}

impl Pair {
    async fn start(world: &World, name: &str) -> Self {
        let (own, other) = (id(&format!("{name}-itself")), id(&format!("{name}-other")));
        let mut operator = world.operator().await;
        let mut sources = Vec::new();
        for id in [&own, &other] {
            let image = Script::healthy(id.as_str()).label(minimal(id));
            let source = image.push(&world.stack).await.expect("the image builds");
            world.install_and_start(&mut operator, id, &source).await;
            sources.push(source);
        }
        let login = login(&world.running(&own).await);
        let sources = sources.try_into().expect("two plugins have two images");
        Self { own, other, sources, login }
    }

    fn client(&self, world: &World, version: Version) -> ClientOptions {
        world.stack.client(version).login(&self.login.0, &self.login.1)
    }

    async fn connect(&self, world: &World, version: Version) -> Client {
        self.client(world, version).connect().await.expect("the plugin's login opens the broker")
    }

    async fn end(self, world: &World) {
        let mut operator = world.operator().await;
        for (id, source) in [&self.own, &self.other].into_iter().zip(&self.sources) {
            world.remove(&mut operator, id, source).await;
        }
    }

    fn request_of_itself(&self, operation: Operation) -> RequestTopic {
        RequestTopic::new(Principal::Plugin(self.own.clone()), operation)
    }

    fn request_of_the_other(&self, operation: Operation) -> RequestTopic {
        RequestTopic::new(Principal::Plugin(self.other.clone()), operation)
    }
}

async fn a_plugin_can_subscribe_to_its_own_topics_only(world: Shared) {
    let pair = Pair::start(&world, "subscribes").await;
    let (own, other) = (&pair.own, &pair.other);
    let mut refused: Vec<String> = broker::broadest();
    refused.extend(broker::reserved().map(str::to_owned));
    refused.extend([
        "$share/group/#".to_owned(),
        format!("$share/group/{}", plugin::health(other)),
        plugin::namespace(other),
        plugin::health(other),
        plugin::all_health(),
        plugin::control(other),
        plugin::all_control(),
        plugin::requests(other),
        plugin::responses(other),
        plugin::all_responses(),
        plugin::all_requests(),
        coordinator::token(other),
        coordinator::tokens(),
        coordinator::all(),
        coordinator::all_internal(),
        coordinator::raw_requests(),
        coordinator::raw_responses(),
        raw_request(Operation::Install).to_string(),
        raw_request(Operation::Install).response(),
        coordinator::specs(),
        coordinator::spec(own),
        coordinator::states(),
        coordinator::acls(),
        coordinator::events(Coordinator::Plugin),
        operators::all(),
        operators::requests(&first_operator()),
        operators::responses(&first_operator()),
        broker::control().to_owned(),
        broker::control_answers().to_owned(),
        broker::log().to_owned(),
        broker::version().to_owned(),
    ]);
    for version in VERSIONS {
        for filter in &refused {
            let client = pair.connect(&world, version).await;
            let answer = client.subscribe(filter).await;
            assert!(answer.is_err(), "{version:?}: the plugin was let subscribe to {filter}");
        }
        let mut allowed = vec![
            plugin::control(own),
            plugin::control_command(own, "park"),
            plugin::responses(own),
            coordinator::token(own),
            coordinator::keys(),
            coordinator::jwks(),
        ];
        allowed.extend(Coordinator::ALL.map(coordinator::health));
        let client = pair.connect(&world, version).await;
        for filter in &allowed {
            let answer = client.subscribe(filter).await;
            assert!(answer.is_ok(), "{version:?}: the plugin may not subscribe to {filter}: {answer:?}");
        }
    }
    pair.end(&world).await;
}

/// Topics that are somebody else's to write.
fn foreign(pair: &Pair) -> Vec<String> {
    let (own, other) = (&pair.own, &pair.other);
    let mut topics = vec![
        plugin::health(other),
        plugin::status(other),
        plugin::control_command(other, "park"),
        plugin::control_command(own, "park"),
        plugin::health(&id("not-installed")),
        pair.request_of_the_other(Operation::Stop).to_string(),
        pair.request_of_the_other(Operation::Stop).response(),
        pair.request_of_itself(Operation::Stop).response(),
        coordinator::token(own),
        coordinator::token(other),
        coordinator::jwks(),
        coordinator::revoked(),
        coordinator::spec(own),
        coordinator::spec(&id("forged")),
        coordinator::state(own),
        coordinator::acl(own),
        request(Operation::Install).to_string(),
        request(Operation::Install).response(),
        broker::control().to_owned(),
    ];
    for c in Coordinator::ALL {
        topics.extend([coordinator::health(c), coordinator::event(c, "phase"), coordinator::marker(c)]);
    }
    for operation in Operation::ALL {
        let caller = match operation.is_internal() {
            true => Principal::Coordinator(Coordinator::Plugin),
            false => Principal::Unnamed,
        };
        let topic = RequestTopic::new(caller, operation);
        topics.extend([topic.to_string(), topic.response()]);
    }
    topics
}

/// Everything that an operator can hear.
async fn everything(world: &World) -> Listener {
    let mut filters = vec![plugin::all(), coordinator::specs(), coordinator::states(), coordinator::acls()];
    filters.extend([coordinator::keys(), operators::responses(&first_operator())]);
    for c in Coordinator::ALL {
        filters.extend([coordinator::health_all(c), coordinator::events(c)]);
    }
    for operation in Operation::ALL.into_iter().filter(|o| o.is_raw()) {
        filters.push(raw_request(operation).response());
    }
    let client = world.stack.operator_client(Version::V5).await.expect("the operator connects");
    Listener::on(client, filters).await
}

async fn a_plugin_can_publish_to_its_own_topics_only(world: Shared) {
    let pair = Pair::start(&world, "publishes").await;
    let foreign = foreign(&pair);
    for version in VERSIONS {
        let mut watch = everything(&world).await;
        let client = pair.connect(&world, version).await;
        for topic in &foreign {
            for retain in [false, true] {
                let code = client.publish(topic, FORGED, 1, retain).await;
                let code = code.unwrap_or_else(|e| panic!("{version:?}: {topic} ended the connection: {e}"));
                // MQTT 3.1.1 cannot say so: there only what arrives tells.
                if version == Version::V5 {
                    assert_eq!(code, NOT_AUTHORIZED, "{topic} (retain {retain})");
                }
            }
        }
        for topic in &foreign {
            // The broker may refuse such a will when it connects, or when the will is due.
            let with_will = pair.client(&world, version).will(topic, FORGED).connect().await;
            drop(with_will);
        }
        let last_words = pair.client(&world, version).will(plugin::status(&pair.own), "gone").connect().await;
        drop(last_words.expect("a will on its own topic is taken"));
        watch.wait("the will on its own topic", PATIENCE, |m| m.text() == "gone").await;
        let code = client.publish(&plugin::status(&pair.own), "still here", 1, false).await;
        assert_eq!(code, Ok(0), "its own status is its own");
        watch.wait("its own status", PATIENCE, |m| m.text() == "still here").await;
        let forged: Vec<_> = watch.heard().iter().filter(|m| m.text().contains("forged")).collect();
        assert!(forged.is_empty(), "{version:?}: {forged:?}");
    }
    pair.end(&world).await;
}

async fn a_plugin_that_steals_a_session_is_delivered_nothing_of_it(world: Shared) {
    let pair = Pair::start(&world, "steals").await;
    for version in VERSIONS {
        let mut watch = everything(&world).await;
        // An operator's session that stays at the broker, with everything that plugins say queued in it.
        let name = format!("victim-{}", uuid::Uuid::new_v4().simple());
        let session = || Client::at(world.stack.mqtt_port, name.clone()).version(version).durable();
        let (user, password) = world.stack.operator();
        let victim = session().login(user, password).connect().await.expect("connects");
        victim.subscribe(&plugin::namespace(&pair.other)).await.expect("the operator may");
        victim.disconnect().await;
        for _ in 0..2 {
            let heard = |m: &testkit::Message| m.topic == plugin::health(&pair.other);
            watch.wait("health of the other plugin", PATIENCE, heard).await;
        }

        let (user, password) = &pair.login;
        let thief = session().login(user, password).connect().await.expect("the plugin connects");
        let inherited = thief.session_present();
        let mut thief = Listener::on(thief, [plugin::control(&pair.own)]).await;
        watch.forget();
        for _ in 0..2 {
            let heard = |m: &testkit::Message| m.topic == plugin::health(&pair.other);
            watch.wait("health of the other plugin", PATIENCE, heard).await;
        }
        let command = plugin::control_command(&pair.own, "end-of-test");
        world.operator().await.publish(&command, "{}").await;
        thief.wait("what it is told itself", PATIENCE, |m| m.topic == command).await;
        let stolen = thief.heard();
        assert!(stolen.is_empty(), "{version:?} (session there: {inherited}): {stolen:?}");
    }
    pair.end(&world).await;
}

/// Asks as the plugin itself.
pub async fn ask(
    listener: &mut Listener,
    topic: &RequestTopic,
    token: Option<String>,
    asked: Value,
) -> Value {
    let mut envelope = Envelope::new(MessageType::Request, "tests", asked);
    envelope.token = token;
    let publish =
        Publish { topic: topic.to_string(), payload: envelope.encode().into(), qos: 1, ..Publish::default() };
    listener.client().send(publish).await.expect("the connection stands");
    let wanted = |m: &testkit::Message| payload(m)["correlation_id"] == *envelope.id;
    let answer = listener.wait("the answer", PATIENCE, wanted).await;
    assert_eq!(answer.topic, topic.response());
    payload(&answer)["payload"].clone()
}

/// The token that the security coordinator gave the plugin with this login.
pub async fn token(world: &World, plugin: &PluginId) -> String {
    let client = world.plugin_client(plugin, Version::V3).await;
    let mut listener = Listener::on(client, [coordinator::token(plugin)]).await;
    let message = listener.wait("its token", PATIENCE, |_| true).await;
    let message = payload(&message);
    let token = message["token"].as_str().or_else(|| message["payload"]["token"].as_str());
    token.unwrap_or_else(|| panic!("no token in {message:#}")).to_owned()
}

async fn a_plugins_requests_need_its_own_token_and_permission(world: Shared) {
    let pair = Pair::start(&world, "requests").await;
    let (own, other) = (token(&world, &pair.own).await, token(&world, &pair.other).await);
    for version in VERSIONS {
        let client = pair.connect(&world, version).await;
        let mut listener = Listener::on(client, [plugin::responses(&pair.own)]).await;
        let logs = pair.request_of_itself(Operation::Logs);
        let asked = json!({"plugin_id": pair.own});
        let answer = ask(&mut listener, &logs, Some(own.clone()), asked.clone()).await;
        assert_eq!(answer["success"], true, "{answer:#}");
        // What may hold another's passwords: its log, and the end of it and the environment in what inspect tells.
        for operation in [Operation::Logs, Operation::Inspect] {
            let topic = pair.request_of_itself(operation);
            let asked = json!({"plugin_id": pair.other});
            let answer = ask(&mut listener, &topic, Some(own.clone()), asked).await;
            assert_eq!(answer["error"]["code"], ErrorCode::Forbidden.as_str(), "{operation}: {answer:#}");
        }
        for wrong in [None, Some(other.clone()), Some("a.b.c".to_owned()), Some(format!("{own}x"))] {
            let answer = ask(&mut listener, &logs, wrong, asked.clone()).await;
            assert_eq!(answer["error"]["code"], ErrorCode::TokenInvalid.as_str(), "{answer:#}");
        }
        let stop = pair.request_of_itself(Operation::Stop);
        let answer = ask(&mut listener, &stop, Some(own.clone()), json!({"plugin_id": pair.other})).await;
        assert_eq!(answer["error"]["code"], ErrorCode::Forbidden.as_str(), "{answer:#}");
    }
    world.running(&pair.other).await;
    pair.end(&world).await;
}

async fn a_login_is_dead_after_the_stop(world: Shared) {
    let pair = Pair::start(&world, "old-login").await;
    let mut operator = world.operator().await;
    let mut connected = pair.connect(&world, Version::V5).await;
    let old_token = token(&world, &pair.own).await;
    operator.ask_about(Operation::Stop, &pair.own).await.data();
    eventually(PATIENCE, || async {
        match pair.client(&world, Version::V3).connect().await {
            Ok(_) => Err("the old login still opens the broker"),
            Err(_) => Ok(()),
        }
    })
    .await;
    connected.ended().await.expect("who was connected with it is cut off");
    let answer = operator.ask(Operation::Introspect, json!({"token": old_token})).await;
    assert_eq!(answer.data()["active"], false, "the old token is still valid");

    operator.ask_about(Operation::Start, &pair.own).await.data();
    let new = login(&world.running(&pair.own).await);
    assert_ne!(new.1, pair.login.1, "each start has a password of its own");
    pair.client(&world, Version::V5).connect().await.expect_err("the old password is dead for good");
    pair.end(&world).await;
}
