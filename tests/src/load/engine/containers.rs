//! The crowd's containers: made, started, stopped and shown as the engine does it, without anything behind them but a
//! task for each process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use envelope::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::http::{Answer, Request};
use super::{Environment, MARK, Process};

/// All of them.
pub(super) struct Containers {
    process: Process,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    by_id: BTreeMap<String, Container>,
    ids: BTreeMap<String, String>,
}

impl All {
    /// The id of the container of that id or name.
    fn id(&self, named: &str) -> Option<String> {
        let id = self.ids.get(named).map_or(named, String::as_str);
        self.by_id.contains_key(id).then(|| id.to_owned())
    }
}

struct Container {
    name: String,
    created: String,
    /// What it was made from.
    body: Value,
    started: Option<String>,
    finished: Option<String>,
    /// Its process, while that runs.
    process: Option<JoinHandle<()>>,
    /// As it is shown, until something of it changes.
    shown: Option<Vec<u8>>,
}

impl Drop for Container {
    fn drop(&mut self) {
        self.end();
    }
}

impl Containers {
    pub(super) fn new(process: Process) -> Self {
        Self { process, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is to be answered here, whose body is not needed to tell.
    pub(super) fn owns(&self, request: &Request) -> bool {
        if request.path == "/images/create" {
            return request.query.get("fromImage").is_some_and(|image| image.contains(MARK));
        }
        let Some((named, _)) = named(request) else { return false };
        named.contains(MARK) || self.all().id(named).is_some()
    }

    /// Makes a container, when it is one of the crowd's.
    pub(super) fn create(&self, request: &Request, body: &[u8]) -> Option<Answer> {
        let body: Value = serde_json::from_slice(body).ok()?;
        if !body["Image"].as_str()?.contains(MARK) {
            return None;
        }
        let name = request.query.get("name").cloned().unwrap_or_default();
        let mut all = self.all();
        if let Some(id) = all.ids.get(&name) {
            let message =
                format!("Conflict. The container name \"/{name}\" is already in use by container {id:?}.");
            return Some(Answer::refused(409, &message));
        }
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let container = Container {
            name: name.clone(),
            created: now(),
            body,
            started: None,
            finished: None,
            process: None,
            shown: None,
        };
        all.by_id.insert(id.clone(), container);
        all.ids.insert(name, id.clone());
        Some(Answer::new(201, json!({"Id": id, "Warnings": []})))
    }

    /// Does what is asked of one container.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        if request.path == "/images/create" {
            // It is there: whatever is made from it is simulated.
            return Answer::new(200, Value::Null);
        }
        let (named, verb) = named(request).unwrap_or_default();
        let mut all = self.all();
        let Some(id) = all.id(named) else {
            return Answer::refused(404, &format!("No such container: {named}"));
        };
        if (request.method.as_str(), verb) == ("DELETE", "") {
            let gone = all.by_id.remove(&id);
            gone.and_then(|gone| all.ids.remove(&gone.name));
            return Answer::new(204, Value::Null);
        }
        let Some(there) = all.by_id.get_mut(&id) else {
            return Answer::refused(404, &format!("No such container: {named}"));
        };
        match (request.method.as_str(), verb) {
            ("GET", "json") => Answer::bytes(there.shown(&id)),
            ("POST", "start") if there.process.is_some() => Answer::new(304, Value::Null),
            ("POST", "start") => {
                (there.started, there.finished, there.shown) = (Some(now()), None, None);
                there.process = Some((self.process)(there.environment()));
                Answer::new(204, Value::Null)
            }
            ("POST", "stop" | "kill") => {
                let status = if there.end() { 204 } else { 304 };
                Answer::new(status, Value::Null)
            }
            ("POST", "wait") => Answer::new(200, json!({"StatusCode": 0})),
            ("HEAD", "archive") => Answer::new(404, Value::Null),
            ("GET", "archive") => Answer::refused(404, "Could not find the file in a simulated container"),
            ("PUT", "archive") | ("GET", "logs") => Answer::new(200, Value::Null),
            (method, verb) => Answer::refused(501, &format!("{method} {verb} is not simulated")),
        }
    }

    /// As a list shows those that a request asks for.
    pub(super) fn listed(&self, request: &Request) -> Vec<Value> {
        let everything = request.query.get("all").is_some_and(|all| all == "true" || all == "1");
        let filters: Value =
            request.query.get("filters").and_then(|f| serde_json::from_str(f).ok()).unwrap_or_default();
        let wanted: Vec<(&str, &str)> = filters["label"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|label| label.as_str()?.split_once('='))
            .collect();
        let all = self.all();
        let fits = |there: &&(&String, &Container)| {
            let labels = &there.1.body["Labels"];
            (everything || there.1.process.is_some())
                && wanted.iter().all(|(name, value)| labels[*name] == *value)
        };
        let found: Vec<(&String, &Container)> = all.by_id.iter().collect();
        found.iter().filter(fits).map(|(id, there)| there.summary(id)).collect()
    }
}

impl Container {
    fn environment(&self) -> Environment {
        let pairs = self.body["Env"].as_array().into_iter().flatten();
        let pairs = pairs.filter_map(|pair| pair.as_str()?.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Ends its process. False when there is none.
    fn end(&mut self) -> bool {
        let Some(process) = self.process.take() else { return false };
        process.abort();
        (self.finished, self.shown) = (Some(now()), None);
        true
    }

    fn status(&self) -> &'static str {
        match (&self.process, &self.started) {
            (Some(_), _) => "running",
            (None, Some(_)) => "exited",
            (None, None) => "created",
        }
    }

    fn networks(&self) -> Value {
        let wanted = self.body["NetworkingConfig"]["EndpointsConfig"].as_object();
        let endpoints = wanted.into_iter().flatten();
        endpoints
            .map(|(name, endpoint)| (name.clone(), endpoint.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// As it is shown. It is looked at far more often than it changes.
    fn shown(&mut self, id: &str) -> Vec<u8> {
        if self.shown.is_none() {
            self.shown = serde_json::to_vec(&self.inspected(id)).ok();
        }
        self.shown.clone().unwrap_or_default()
    }

    fn inspected(&self, id: &str) -> Value {
        let runs = self.process.is_some();
        const NEVER: &str = "0001-01-01T00:00:00Z";
        json!({
            "Id": id,
            "Name": format!("/{}", self.name),
            "Created": self.created,
            "Image": self.body["Image"],
            "State": {
                "Status": self.status(), "Running": runs, "Paused": false, "Restarting": false,
                "OOMKilled": false, "Dead": false, "Pid": i32::from(runs), "ExitCode": 0, "Error": "",
                "StartedAt": self.started.as_deref().unwrap_or(NEVER),
                "FinishedAt": self.finished.as_deref().unwrap_or(NEVER),
            },
            "Config": {"Image": self.body["Image"], "Labels": self.body["Labels"], "Env": self.body["Env"]},
            "HostConfig": self.body["HostConfig"],
            "NetworkSettings": {"Networks": self.networks(), "Ports": {}},
        })
    }

    fn summary(&self, id: &str) -> Value {
        json!({
            "Id": id, "Names": [format!("/{}", self.name)], "Image": self.body["Image"],
            "Labels": self.body["Labels"], "State": self.status(), "Status": self.status(),
            "Ports": [], "Mounts": [], "SizeRw": 0, "SizeRootFs": 0,
        })
    }
}

/// The container that a path names, and what is asked of it.
fn named(request: &Request) -> Option<(&str, &str)> {
    let rest = request.path.strip_prefix("/containers/")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

fn now() -> String {
    Timestamp::now().to_string()
}
