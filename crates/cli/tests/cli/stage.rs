//! A broker with a coordinator that says what the test tells it to, and the program under test.

use std::io::{Seek, Write};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use bus::{Bus, Config, Delivery, Inbox, Incoming, Outgoing, Tls};
use envelope::operation::Operation;
use envelope::payload::event::{Event, EventKind};
use envelope::principal::{Coordinator, OperatorRole, Principal, operator_login};
use envelope::topic::{self, RequestTopic};
use envelope::{Envelope, MessageType, OperatorName};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Broker, Identities};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::terminal::Terminal;

const PASSWORD: &str = "pass word";
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker with an operator's login, and the folder in which it was left.
pub struct Stage {
    pub broker: Broker,
    folder: TempDir,
}

impl Stage {
    pub async fn new() -> Self {
        let broker = Broker::with_identities(Self::identities()).await;
        Self::with(broker)
    }

    /// The same with an encrypted listener, and its certificate beside the login as `ca.pem`.
    pub async fn encrypted() -> Self {
        let stage = Self::with(Broker::with_identities(Self::identities()).tls().await);
        stage.file(".bigskies/ca.pem", stage.broker.ca_pem().expect("it is encrypted"));
        stage
    }

    fn with(broker: Broker) -> Self {
        let stage = Self { broker, folder: tempfile::tempdir().expect("a folder") };
        stage.write_login(PASSWORD);
        stage
    }

    /// `ada` may ask for everything; the role of `vic` allows to look alone.
    fn identities() -> Value {
        let watched = |name: &OperatorName| -> Vec<String> {
            Coordinator::ALL
                .iter()
                .flat_map(|c| [topic::coordinator::events(*c), topic::coordinator::health_all(*c)])
                .chain([topic::coordinator::states(), topic::operator::responses(name)])
                .collect()
        };
        let (ada, vic) = (name(), OperatorName::parse("vic").expect("a name"));
        assert_eq!(Principal::Operator(ada.clone()).to_string(), "operator:ada");
        let everything = vec![topic::operator::requests(&ada), topic::plugin::all_control()];
        let looking = Operation::ALL
            .iter()
            .filter(|operation| operation.is_open_to(OperatorRole::Viewer))
            .map(|operation| RequestTopic::new(Principal::Operator(vic.clone()), *operation).to_string())
            .collect::<Vec<_>>();
        let mut identities = Identities::new().admin("coordinator", PASSWORD);
        for (account, publish) in [(ada, everything), (vic, looking)] {
            let watched = watched(&account);
            let publish: Vec<&str> = publish.iter().map(String::as_str).collect();
            let watched: Vec<&str> = watched.iter().map(String::as_str).collect();
            identities = identities.login(&operator_login(&account), PASSWORD, &publish, &watched);
        }
        identities.build()
    }

    /// Leaves the login where the program looks for it.
    pub fn write_login(&self, password: &str) {
        let file = self.folder.path().join(".bigskies/operator.env");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let content = format!(
            "MQTT_HOST=127.0.0.1\nMQTT_PORT={}\nMQTT_USERNAME=operator.ada\nMQTT_PASSWORD='{password}'\n",
            self.broker.port()
        );
        std::fs::write(&file, content).expect("a file");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
        }
    }

    /// Gives a login another password, upon which the broker ends its connections.
    pub async fn change_password(&self, login: &str, password: &str) {
        let administrator = self.client().await;
        let command =
            json!({"commands": [{"command": "setClientPassword", "username": login, "password": password}]});
        let message = Outgoing::new(topic::broker::control(), command.to_string());
        administrator.publish(message).await;
    }

    /// A file in the folder that the program runs in.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Starts the program.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Starts the program with something to read.
    pub fn spawn_with(&self, args: &[&str], input: &str) -> Child {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("our own file");
        self.command(args).stdin(file).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Starts the program where somebody sits at a terminal; what is asked and told there is not in
    /// [`Ended::err`].
    pub fn spawn_at_terminal(&self, args: &[&str]) -> (Child, Terminal) {
        let (terminal, user) = Terminal::open();
        let error = user.try_clone().expect("another handle");
        let mut command = self.command(args);
        let child = command.env("NO_COLOR", "1").stdin(user).stderr(error).spawn();
        (child.expect("the program starts"), terminal)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigskies"));
        command.args(args).current_dir(self.folder.path()).stdout(Stdio::piped()).kill_on_drop(true);
        for name in ["MQTT_HOST", "MQTT_PORT", "MQTT_USERNAME", "MQTT_PASSWORD", "MQTT_TLS_CA"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program to its end.
    pub async fn run(&self, args: &[&str]) -> Ended {
        end(self.spawn(args)).await
    }

    /// A coordinator that listens to operators' requests.
    pub async fn coordinator(&self, coordinator: Coordinator) -> Fake {
        let fake = self.client().await;
        fake.bus.subscribe(&envelope::topic::request_filters(coordinator)).await.expect("subscribed");
        fake
    }

    /// A client that may do everything.
    pub async fn client(&self) -> Fake {
        let id = format!("fake-{}", uuid::Uuid::new_v4().simple());
        let mut config = Config::new("127.0.0.1", self.broker.port(), id).login("coordinator", PASSWORD);
        config.tls = self.broker.ca_pem().map(|pem| Tls { ca_pem: pem.as_bytes().to_vec() });
        let (bus, inbox) = Bus::connect(config);
        Fake { bus, inbox }
    }
}

fn name() -> OperatorName {
    OperatorName::parse("ada").expect("a name")
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

pub async fn end(child: Child) -> Ended {
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it can be waited for");
    Ended {
        code: status.code().expect("no signal ended it"),
        out: String::from_utf8(stdout).expect("UTF-8"),
        err: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// A coordinator that does what the test tells it to.
pub struct Fake {
    pub bus: Bus,
    inbox: Inbox,
}

/// A request that arrived.
pub struct Asked {
    pub delivery: Delivery,
    pub envelope: Envelope,
}

impl Fake {
    /// The next message.
    pub async fn next(&mut self) -> Delivery {
        timeout(PATIENCE, async {
            loop {
                if let Incoming::Message(delivery) = self.inbox.recv().await.expect("the bus is open") {
                    return delivery;
                }
            }
        })
        .await
        .expect("a message arrives")
    }

    /// The next request, which must be for `operation`.
    pub async fn asked(&mut self, operation: Operation) -> Asked {
        let delivery = self.next().await;
        let topic = RequestTopic::parse(&delivery.topic).expect("a request topic");
        assert_eq!(topic.known_operation(), Some(operation));
        assert_eq!(topic.caller, Principal::Operator(name()));
        let envelope = serde_json::from_slice(&delivery.payload).expect("an envelope");
        Asked { delivery, envelope }
    }

    /// Publishes whatever the test wants.
    pub async fn publish(&self, message: Outgoing) {
        self.bus.publish(message).await.expect("published");
    }

    /// Retains a payload in an envelope.
    pub async fn retain(&self, topic: String, payload: Value) {
        let envelope = Envelope::new(MessageType::Status, "fake", payload);
        self.publish(Outgoing::new(topic, envelope.encode()).retained()).await;
    }

    /// Answers with `{success, data}` or `{success, error}`.
    pub async fn answer(&self, asked: &Asked, payload: Value) {
        let correlation = asked.delivery.correlation_data.clone().expect("correlation data");
        self.answer_as(asked, String::from_utf8(correlation.to_vec()).expect("UTF-8"), payload).await;
    }

    /// The same under another correlation id.
    pub async fn answer_as(&self, asked: &Asked, correlation: String, payload: Value) {
        let response = asked.delivery.response_topic.clone().expect("a response topic");
        let envelope = Envelope::new(MessageType::Response, "fake", payload).correlated(correlation.clone());
        self.publish(Outgoing::new(response, envelope.encode()).correlated_by(correlation)).await;
    }

    /// Tells how far it is.
    pub async fn progress(&self, asked: &Asked, details: Value) {
        let event = Event {
            event: EventKind::Progress,
            plugin_id: None,
            operation_id: None,
            message: "further".to_owned(),
            cause: "test".to_owned(),
            details,
        };
        let id = asked.envelope.correlation_id.clone().expect("a correlation id");
        let envelope = Envelope::new(MessageType::Event, "fake", event).correlated(id);
        let topic = topic::coordinator::event(Coordinator::Plugin, "progress");
        self.publish(Outgoing::new(topic, envelope.encode())).await;
    }
}

pub fn success(data: Value) -> Value {
    json!({"success": true, "data": data})
}

pub fn failure(code: &str, message: &str, details: Value) -> Value {
    json!({"success": false, "error": {"code": code, "message": message, "details": details}})
}

/// A plugin's state as the plugin coordinator tells it.
pub fn state(id: &str, phase: &str, health: &str) -> Value {
    json!({"plugin_id": id, "name": "Focuser Control", "version": "1.0.0", "phase": phase, "health": health,
        "digest": "sha256:ab", "node": "local", "generation": 1, "since": "2026-01-16T00:00:00.000Z",
        "cause": "start by operator:ada", "correlation_id": "c"})
}
