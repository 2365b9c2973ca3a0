//! What the tests share: the framework, images that several of them install, and what "nothing is left" means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envelope::topic::coordinator;
use envelope::{Operation, PluginId};
use serde_json::{Value, json};
use testkit::{Client, Version, eventually};
use tests::stack::command::Run;
use tests::stack::images;
use tests::stack::operator::{Answered, Operator, retained};
use tests::stack::{Stack, engine};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// What a removal may still have to clear after its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The framework with what the tests share.
pub struct World {
    /// The framework.
    pub stack: Stack,
    hello: OnceCell<String>,
    /// Held by a test that installs the plugin whose id the SDK document prints.
    sdk_id: Mutex<()>,
    hello_id: Mutex<()>,
}

impl World {
    /// Around a framework.
    pub fn new(stack: Stack) -> Self {
        Self { stack, hello: OnceCell::new(), sdk_id: Mutex::default(), hello_id: Mutex::default() }
    }

    /// An operator, over MQTT 5.
    pub async fn operator(&self) -> Operator {
        Operator::connect(&self.stack, Version::V5).await.expect("the operator connects")
    }

    /// The image of the sample plugin, built once.
    pub async fn hello(&self) -> &str {
        let built = self.hello.get_or_try_init(|| images::push_hello(&self.stack)).await;
        built.expect("the sample plugin builds")
    }

    /// The id that the SDK document prints, for one test at a time.
    pub async fn sdk_id(&self) -> (PluginId, MutexGuard<'_, ()>) {
        (id("my-plugin-guid"), self.sdk_id.lock().await)
    }

    /// The id of the sample plugin, for one test at a time.
    pub async fn hello_id(&self) -> (PluginId, MutexGuard<'_, ()>) {
        (id("hello-rust"), self.hello_id.lock().await)
    }

    /// A client with the login that a running plugin was given.
    pub async fn plugin_client(&self, id: &PluginId, version: Version) -> Client {
        let (user, password) = login(&self.running(id).await);
        self.stack.client(version).login(user, password).connect().await.expect("its login opens the broker")
    }

    /// The container of a plugin that runs.
    pub async fn running(&self, id: &PluginId) -> Value {
        let container = self.stack.plugin_container(id).await.expect("the engine answers");
        let container = container.unwrap_or_else(|| panic!("{id} has no container"));
        assert_eq!(container["State"]["Status"], "running", "{:#}", container["State"]);
        container
    }

    /// Where a volume of the framework lies on this machine.
    pub async fn folder_of(&self, volume: &str) -> PathBuf {
        let volume = format!("{}_{volume}", self.stack.project);
        let folder = Run::docker(["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).line().await;
        PathBuf::from(folder.expect("the volume is there"))
    }

    /// Whether the plugin has a container, running or not, or one that carries its ports.
    pub async fn has_container(&self, id: &PluginId) -> bool {
        let forwarders = self.stack.containers_of(id, "forwarder").await.expect("the engine answers");
        let container = self.stack.plugin_container(id).await.expect("the engine answers");
        container.is_some() || !forwarders.is_empty()
    }

    /// Where a plugin's ports are published on this machine by what carries them, `address:port`.
    pub async fn published(&self, id: &PluginId) -> Vec<String> {
        let mut places = Vec::new();
        for forwarder in self.stack.containers_of(id, "forwarder").await.expect("the engine answers") {
            let container = engine::inspect(&forwarder).await.expect("the engine answers");
            let container = container.expect("it is there");
            let bindings = container["HostConfig"]["PortBindings"].as_object().cloned().unwrap_or_default();
            let text = |binding: &Value, name: &str| binding[name].as_str().unwrap_or_default().to_owned();
            let all = bindings.values().filter_map(Value::as_array).flatten();
            places.extend(all.map(|b| format!("{}:{}", text(b, "HostIp"), text(b, "HostPort"))));
        }
        places
    }

    /// Whether the engine has the image, under whatever tag or digest.
    pub async fn has_image(&self, source: &str) -> bool {
        let repository = repository(source);
        let list = ["images", "--all", "--quiet", repository];
        !Run::docker(list).lines().await.expect("the engine answers").is_empty()
    }

    /// Nothing is there of a plugin that was never installed, or was removed: no container, no image, no place
    /// in the registry, no retained topic, no login and no role at the broker.
    pub async fn assert_nothing_is_left(&self, id: &PluginId, source: &str) {
        assert!(!self.has_container(id).await, "{id} has a container");
        let mut operator = self.operator().await;
        let listed = operator.ask(Operation::List, json!({})).await;
        let plugins = listed.data()["plugins"].as_array().cloned().unwrap_or_default();
        assert!(plugins.iter().all(|p| p["plugin_id"] != *id.as_str()), "{id} is listed");
        let topics = [
            coordinator::spec(id),
            coordinator::state(id),
            coordinator::acl(id),
            format!("bigskies/plugin/{id}/#"),
        ];
        eventually(PATIENCE, || async {
            if self.has_image(source).await {
                return Err(format!("the engine has {source}"));
            }
            let kept = retained(&self.stack, &topics).await;
            if !kept.is_empty() {
                return Err(format!("retained: {kept:?}"));
            }
            let Some(identities) = self.identities().await else {
                return Err("the broker is writing its identities".to_owned());
            };
            let traces = [format!("plugin.{id}\""), format!("plugin.{id}:"), format!("/{id}/")];
            match traces.iter().find(|trace| identities.contains(*trace)) {
                Some(trace) => Err(format!("the broker's identities have {trace} in them")),
                None => Ok(()),
            }
        })
        .await;
    }

    /// The broker's own file of identities, unless it is being written.
    async fn identities(&self) -> Option<String> {
        let place = self.stack.folder().join(format!("identities-{}.json", uuid::Uuid::new_v4().simple()));
        let from = format!("{}:/data/dynamic-security.json", self.stack.container("mqtt-broker"));
        let copied = Run::docker(["cp", &from, &place.display().to_string()]).output().await;
        if copied.expect("the engine answers").code != Some(0) {
            return None;
        }
        let text = std::fs::read_to_string(&place).expect("it was copied");
        let whole: Value = serde_json::from_str(&text).ok()?;
        whole["clients"].is_array().then_some(text)
    }

    /// Installs a plugin and starts it.
    pub async fn install_and_start(&self, operator: &mut Operator, id: &PluginId, source: &str) {
        operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
        let started = operator.ask_about(Operation::Start, id).await;
        assert_eq!(started.data()["phase"], "running");
    }

    /// Removes a plugin with its data, and sees that nothing is left.
    pub async fn remove(&self, operator: &mut Operator, id: &PluginId, source: &str) -> Answered {
        let request = json!({"plugin_id": id, "remove_volumes": true});
        let removed = operator.ask(Operation::Remove, request).await;
        removed.data();
        self.assert_nothing_is_left(id, source).await;
        removed
    }

    /// The last lines of a plugin's log, as the operator gets them.
    pub async fn log(&self, operator: &mut Operator, id: &PluginId) -> String {
        let logs = operator.ask_about(Operation::Logs, id).await;
        logs.data()["text"].as_str().unwrap_or_default().to_owned()
    }
}

/// A plugin id.
pub fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("a valid id")
}

/// A manifest that says no more than it must.
pub fn minimal(id: &PluginId) -> Value {
    json!({"id": id, "name": "A test", "version": "1.0.0"})
}

/// `registry/name` of `registry/name:tag`.
fn repository(source: &str) -> &str {
    match source.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => source,
    }
}

/// What `docker inspect` says of a container that must stay the same: its id, and since when it runs.
pub fn sameness(container: &Value) -> (Value, Value, Value) {
    (container["Id"].clone(), container["State"]["StartedAt"].clone(), container["RestartCount"].clone())
}

/// The login that a plugin was given: name and password.
pub fn login(container: &Value) -> (String, String) {
    let value = |name| engine::variable(container, name).unwrap_or_else(|| panic!("{name} is not set"));
    (value("MQTT_USERNAME"), value("MQTT_PASSWORD"))
}

/// Shared by the tests.
pub type Shared = Arc<World>;
