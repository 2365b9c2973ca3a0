//! Bringing the framework up beside others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use testkit::free_port;

use super::command::Run;
use super::{REGISTRY_LOGIN, Stack, image_of, sweep};
use crate::repository::root;

/// What `deploy/build-images.sh` makes.
const IMAGES: [&str; 8] = [
    "broker",
    "plugin-coordinator",
    "security-coordinator",
    "message-coordinator",
    "init",
    "tools",
    "cli",
    "forwarder",
];
/// Ports that are tried, in case that other programs take them first.
const ATTEMPTS: usize = 3;

/// The service that stands for a registry with a login, on the network that only coordinators are on.
const LOGIN_REGISTRY: &str = "login-registry";

/// What the name of every test's framework begins with.
pub(super) const PREFIX: &str = "bigskies-test-";

pub(super) fn compose<'a>(
    environment: &BTreeMap<String, String>,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Run {
    let profiles = ["--profile", "tools", "--profile", "registry"];
    Run::new(root().join("deploy/compose.sh"), profiles.into_iter().chain(arguments)).env(environment)
}

pub(super) async fn up() -> Result<Stack> {
    // Panics and says what to run where no engine answers.
    let _socket = testkit::engine();
    ensure_images().await?;
    sweep::leftovers().await?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let project = own_project();
        let ports = Ports {
            mqtt: free_port(),
            tls: free_port(),
            registry: free_port(),
            login_registry: free_port(),
            held_registry: free_port(),
        };
        let folder = TempDir::with_prefix(format!("{project}-"))?;
        let environment = environment(&project, folder.path(), &ports);
        match start(&project, &environment, folder, &ports).await {
            Ok(stack) => return Ok(stack),
            Err(error) => {
                clear().await?;
                let text = format!("{error:#}");
                let taken = text.contains("port is already allocated") || text.contains("already in use");
                last = Some(error);
                if !taken {
                    break;
                }
            }
        }
    }
    Err(last.context("no attempt was made")?)
}

fn own_project() -> String {
    format!("{PREFIX}{}", std::process::id())
}

pub(super) async fn clear() -> Result<()> {
    sweep::project(&own_project()).await
}

async fn ensure_images() -> Result<()> {
    let mut missing = Vec::new();
    for name in IMAGES {
        if !present(name).await? {
            missing.push(image_of(name));
        }
    }
    if !missing.is_empty() {
        bail!("the framework's images are missing ({}); run: deploy/build-images.sh", missing.join(", "));
    }
    if !present("registry").await? {
        // As `make demo` does: the framework itself runs without one.
        let build = Run::new(root().join("deploy/build-images.sh"), ["registry"]).ok().await;
        build.context("the image of the registry is missing; run: deploy/build-images.sh registry")?;
    }
    Ok(())
}

async fn present(name: &str) -> Result<bool> {
    let image = image_of(name);
    Ok(Run::docker(["image", "inspect", "--format", "{{.Id}}", &image]).output().await?.code == Some(0))
}

/// Where this framework is reached on this machine.
struct Ports {
    mqtt: u16,
    tls: u16,
    registry: u16,
    login_registry: u16,
    held_registry: u16,
}

fn environment(project: &str, folder: &Path, ports: &Ports) -> BTreeMap<String, String> {
    let Ports { mqtt, tls, registry, login_registry, held_registry } = ports;
    let aliases = [(registry, "registry"), (login_registry, LOGIN_REGISTRY), (held_registry, "registry")]
        .map(|(port, name)| format!("127.0.0.1:{port}={name}:5000"))
        .join(",");
    BTreeMap::from([
        ("COMPOSE_PROJECT_NAME".to_owned(), project.to_owned()),
        ("BIGSKIES_NETWORK".to_owned(), project.to_owned()),
        ("BIGSKIES_MQTT_PORT".to_owned(), mqtt.to_string()),
        ("BIGSKIES_TLS".to_owned(), "1".to_owned()),
        ("BIGSKIES_TLS_ADDRESS".to_owned(), "127.0.0.1".to_owned()),
        ("BIGSKIES_TLS_PORT".to_owned(), tls.to_string()),
        ("BIGSKIES_REGISTRY_PORT".to_owned(), registry.to_string()),
        ("BIGSKIES_REGISTRY_ALIASES".to_owned(), aliases),
        ("BIGSKIES_OPERATOR_DIR".to_owned(), folder.join("operator").display().to_string()),
        ("BIGSKIES_LOG".to_owned(), "info".to_owned()),
    ])
}

async fn start(
    project: &str,
    environment: &BTreeMap<String, String>,
    folder: TempDir,
    ports: &Ports,
) -> Result<Stack> {
    compose(environment, ["up", "--detach", "--no-build", "--quiet-pull"])
        .ok()
        .await
        .context("compose could not start the framework")?;
    operator_login(&folder.path().join("operator/operator.env"))?;
    let installation = compose(environment, ["run", "--rm", "--no-deps", "--no-TTY", "init", "installation"]);
    let stack = Stack {
        project: project.to_owned(),
        installation: installation.line().await?,
        mqtt_port: ports.mqtt,
        tls_port: ports.tls,
        environment: environment.clone(),
        registry_port: ports.registry,
        login_registry_port: ports.login_registry,
        held_registry_port: ports.held_registry,
        folder,
    };
    start_login_registry(&stack).await?;
    stack.healthy().await;
    Ok(stack)
}

pub(super) fn operator_login(file: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mode = fs::metadata(file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{} has the mode {mode:o}, not 600", file.display());
    let value = |name: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let found = pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        found.with_context(|| format!("{} does not set {name}", file.display()))
    };
    Ok((value("MQTT_USERNAME")?, value("MQTT_PASSWORD")?))
}

/// A second registry beside the one of the compose file, which has no login.
async fn start_login_registry(stack: &Stack) -> Result<()> {
    let folder = stack.folder().join(LOGIN_REGISTRY);
    fs::create_dir(&folder)?;
    // The registry runs as a user of its own, to whom the temporary folder is closed.
    fs::set_permissions(stack.folder(), fs::Permissions::from_mode(0o755))?;
    let (user, password) = REGISTRY_LOGIN;
    fs::write(folder.join("htpasswd"), testkit::htpasswd(user, password))?;
    let configuration = fs::read_to_string(root().join("deploy/registry/config.yml"))?
        + "auth:\n  htpasswd:\n    realm: tests\n    path: /etc/registry/htpasswd\n";
    fs::write(folder.join("config.yml"), configuration)?;
    let mount = format!("{}:/etc/registry:ro", folder.display());
    let publish = format!("127.0.0.1:{}:5000", stack.login_registry_port);
    let network = format!("{}_control", stack.project);
    let label = format!("com.docker.compose.project={}", stack.project);
    let image = image_of("registry");
    let container = stack.container(LOGIN_REGISTRY);
    let run = ["run", "--detach", "--name", &container, "--label", &label]
        .into_iter()
        .chain(["--network", &network, "--network-alias", LOGIN_REGISTRY, "--publish", &publish])
        .chain(["--volume", &mount, "--entrypoint", "/registry", &image])
        .chain(["serve", "/etc/registry/config.yml"]);
    Run::docker(run).ok().await.context("the registry with a login could not be started")?;
    Ok(())
}
