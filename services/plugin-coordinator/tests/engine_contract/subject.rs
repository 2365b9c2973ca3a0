//! An engine to check, with images that behave in known ways.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{
    KillContainerOptions, ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
};
use futures_util::FutureExt;
use plugin_coordinator::engine::fake::{FakeEngine, FakeImage};
use plugin_coordinator::engine::{
    Change, ContainerSpec, DockerEngine, Engine, Health, ImageRef, Limits, label,
};
use serde_json::json;
use tar::EntryType;
use testkit::Registry;
use uuid::Uuid;

use crate::push::{Entry, PushedImage, push};

/// How the process of an image behaves. Each writes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Writes `hello`, runs until it is told to stop, then exits with 0.
    Obedient,
    /// Ignores the stop signal.
    Stubborn,
    /// Writes `failing` and exits with 3.
    Failing,
    /// Its command does not exist.
    Broken,
    /// Never run; full of files and of what is none.
    Files,
    /// As the obedient one, with a health check.
    Checked,
}

/// The engine under test and its surroundings. All names made here hold `run`.
#[async_trait]
pub trait Subject: Send + Sync {
    fn engine(&self) -> &dyn Engine;
    /// Unique to this test.
    fn run(&self) -> &str;
    /// An image in the registry, not pulled.
    async fn publish(&self, kind: Kind) -> ImageRef;
    /// A container's process ends, and it was not us.
    async fn crash(&self, container: &str);
    /// Somebody holds a running container.
    async fn hold(&self, container: &str);
    /// Somebody gives a container these bounds, and tells the engine to start it again whenever it ends.
    async fn loosen(&self, container: &str, limits: Limits);
    /// A container's health check decides.
    async fn decide_health(&self, container: &str, health: Health);

    /// An image in the engine.
    async fn image(&self, kind: Kind) -> String {
        let image = self.publish(kind).await;
        self.engine().pull(&image, None, &mut |_| {}).await.expect("the pull works");
        image.to_string()
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.run())
    }

    fn labels(&self, start: &str) -> BTreeMap<String, String> {
        let start = (label::START.to_owned(), start.to_owned());
        [(label::INSTALLATION.to_owned(), self.run().to_owned()), start].into()
    }

    fn spec(&self, what: &str, image: &str) -> ContainerSpec {
        ContainerSpec {
            name: self.name(what),
            image: image.to_owned(),
            labels: self.labels(what),
            ..Default::default()
        }
    }
}

/// The fake.
pub struct Fake {
    pub engine: FakeEngine,
    run: String,
}

impl Fake {
    pub fn new() -> Self {
        Self { engine: FakeEngine::new(), run: "fake".into() }
    }
}

#[async_trait]
impl Subject for Fake {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn run(&self) -> &str {
        &self.run
    }

    async fn publish(&self, kind: Kind) -> ImageRef {
        let digest = format!("{:064x}", kind as u8 + 1);
        let reference: ImageRef = format!("fake/{}@sha256:{digest}", format!("{kind:?}").to_lowercase())
            .parse()
            .expect("a reference");
        let mut image = FakeImage::new(reference.to_string()).with_label("kind", &format!("{kind:?}"));
        image.output = "hello\n".into();
        match kind {
            Kind::Obedient => {}
            Kind::Stubborn => image.stops_with = None,
            Kind::Failing => {
                image.output = "failing\n".into();
                image.exits = Some(3);
            }
            Kind::Broken => image.bad_command = Some(127),
            Kind::Checked => image.image.has_healthcheck = true,
            Kind::Files => {
                image = image.with_file("/plugin.json", "{}").with_file("/large", vec![0; 5000]);
                let odd = [
                    ("/link", "a symbolic link"),
                    ("/pipe", "a pipe"),
                    ("/device", "a device"),
                    ("/folder", "a folder"),
                ];
                image.oddities = odd.map(|(path, what)| (path.to_owned(), what)).into();
            }
        }
        self.engine.publish(image);
        reference
    }

    async fn crash(&self, container: &str) {
        assert!(self.engine.crash(container, 137), "{container} runs");
    }

    async fn hold(&self, container: &str) {
        assert!(self.engine.pause(container), "{container} runs");
    }

    async fn loosen(&self, container: &str, limits: Limits) {
        assert!(self.engine.tamper(container, &Change::Bound(limits)), "{container} has other bounds");
        assert!(self.engine.set_engine_restarts(container));
    }

    async fn decide_health(&self, container: &str, health: Health) {
        self.engine.set_health(container, health);
    }
}

/// The engine of this machine, with a registry of its own.
pub struct Real {
    pub engine: DockerEngine,
    pub docker: Docker,
    pub registry: Registry,
    run: String,
}

impl Real {
    /// Runs a test, and removes whatever it made, also when it fails.
    pub async fn test<F: Future<Output = ()>>(test: impl FnOnce(std::sync::Arc<Self>) -> F) {
        let socket = testkit::engine().display().to_string();
        let run = format!("bigskies-test-{}", Uuid::new_v4().simple());
        let subject = std::sync::Arc::new(Self {
            engine: DockerEngine::new(&socket, &run),
            docker: Docker::connect_with_unix(&socket, 120, bollard::API_DEFAULT_VERSION).expect("a client"),
            registry: Registry::open().await,
            run,
        });
        let outcome = AssertUnwindSafe(test(subject.clone())).catch_unwind().await;
        subject.clean().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }

    pub async fn push(&self, name: &str, image: &PushedImage) -> ImageRef {
        let repository = format!("{}/{}/{name}", self.registry.address(), self.run);
        let digest = push(&format!("{repository}:1"), image, None).await;
        format!("{repository}@{digest}").parse().expect("a reference")
    }

    /// Pushes and pulls an image with a shell that runs a script.
    pub async fn script(&self, name: &str, script: &str, entries: Vec<Entry>) -> String {
        let config = json!({"Cmd": ["/bin/sh", "-c", script], "Labels": {"run": self.run}});
        let image = self.push(name, &PushedImage { config, with_shell: true, entries }).await;
        self.engine.pull(&image, None, &mut |_| {}).await.expect("the pull works");
        image.to_string()
    }

    /// Containers of this test, of whatever label.
    pub async fn leftovers(&self) -> Vec<String> {
        let options = ListContainersOptions { all: true, ..Default::default() };
        let all = self.docker.list_containers(Some(options)).await.expect("a list");
        let ours = |labels: Option<std::collections::HashMap<String, String>>| {
            labels.unwrap_or_default().into_values().any(|value| value == self.run)
        };
        all.into_iter().filter(|found| ours(found.labels.clone())).filter_map(|found| found.id).collect()
    }

    async fn clean(&self) {
        for container in self.leftovers().await {
            let _ = self.engine.remove(&container).await;
        }
        let networks = self.docker.list_networks(None::<ListNetworksOptions>).await.unwrap_or_default();
        for name in
            networks.into_iter().filter_map(|network| network.name).filter(|name| name.contains(&self.run))
        {
            let _ = self.engine.remove_network(&name).await;
        }
        let volumes =
            self.docker.list_volumes(None::<ListVolumesOptions>).await.ok().and_then(|found| found.volumes);
        for volume in volumes.unwrap_or_default().into_iter().filter(|volume| volume.name.contains(&self.run))
        {
            let _ = self.engine.remove_volume(&volume.name).await;
        }
        let images = self.docker.list_images(None::<ListImagesOptions>).await.unwrap_or_default();
        for image in images
            .into_iter()
            .flat_map(|image| [image.repo_digests, image.repo_tags].concat())
            .filter(|name| name.contains(&self.run))
        {
            let _ = self.engine.remove_image(&image).await;
        }
    }
}

#[async_trait]
impl Subject for Real {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn run(&self) -> &str {
        &self.run
    }

    async fn publish(&self, kind: Kind) -> ImageRef {
        let sh = |script: &str| json!(["/bin/sh", "-c", script]);
        let obedient = "trap 'exit 0' TERM; echo hello; sleep 1000 & wait";
        let (command, entries) = match kind {
            Kind::Obedient | Kind::Checked => (sh(obedient), vec![]),
            Kind::Stubborn => (sh("trap '' TERM; echo hello; sleep 1000"), vec![]),
            Kind::Failing => (sh("echo failing; exit 3"), vec![]),
            Kind::Broken => (json!(["/no/such/program"]), vec![]),
            Kind::Files => (
                json!(null),
                vec![
                    Entry::File("/plugin.json", b"{}".to_vec()),
                    Entry::File("/large", vec![0; 5000]),
                    Entry::Link("/link", "/plugin.json"),
                    Entry::Odd("/pipe", EntryType::Fifo),
                    Entry::Odd("/device", EntryType::Char),
                    Entry::Folder("/folder", 0o755, 0),
                ],
            ),
        };
        // The run makes another image of it for each test, so that one can be removed.
        let mut config = json!({"Cmd": command, "Labels": {"kind": format!("{kind:?}"), "run": self.run}});
        if kind == Kind::Checked {
            config["Healthcheck"] =
                json!({"Test": ["CMD-SHELL", "test ! -e /sick"], "Interval": 200_000_000, "Retries": 1});
        }
        let name = format!("{kind:?}").to_lowercase();
        self.push(&name, &PushedImage { config, with_shell: kind != Kind::Files, entries }).await
    }

    async fn crash(&self, container: &str) {
        let options = KillContainerOptions { signal: "SIGKILL".into() };
        self.docker.kill_container(container, Some(options)).await.expect("it runs");
    }

    async fn hold(&self, container: &str) {
        self.docker.pause_container(container).await.expect("it runs");
    }

    async fn loosen(&self, container: &str, limits: Limits) {
        let memory = limits.memory_bytes.map(|n| i64::try_from(n).expect("small"));
        let body = ContainerUpdateBody {
            memory,
            memory_swap: memory,
            nano_cpus: limits.nano_cpus.map(|n| i64::try_from(n).expect("small")),
            pids_limit: limits.pids.map(i64::from),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ALWAYS),
                maximum_retry_count: None,
            }),
            ..Default::default()
        };
        self.docker.update_container(container, body).await.expect("it can be changed");
    }

    async fn decide_health(&self, container: &str, health: Health) {
        if health == Health::Unhealthy {
            let file = plugin_coordinator::engine::UploadFile {
                path: "/sick".into(),
                bytes: Vec::new(),
                owner: plugin_coordinator::engine::Owner { uid: 0, gid: 0 },
                mode: 0o644,
            };
            self.engine.upload(container, &[file]).await.expect("the upload works");
        }
    }
}
