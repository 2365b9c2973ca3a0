//! What the engine shows, in the port's words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HealthStatusEnum, HostConfig,
    PortSummaryTypeEnum, RestartPolicyNameEnum,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::connection::Connection;
use super::{LOOK, fault};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{
    Container, ContainerId, EngineInfo, Exit, Health, Limits, PortBinding, Protocol, PublishedPort, State,
    label,
};

/// Containers that are inspected at a time.
const AT_A_TIME: usize = 8;

pub(super) async fn info(connection: &Connection, storage: Option<&Path>) -> Result<EngineInfo, EngineError> {
    let api_version = connection.negotiated(Verb::Info, "").await?.api_version;
    let version =
        connection.call(Verb::Info, "", LOOK, |docker| async move { docker.version().await }).await?;
    let info = connection.call(Verb::Info, "", LOOK, |docker| async move { docker.info().await }).await?;
    let root = info.docker_root_dir.unwrap_or_default();
    // In a container the engine's folder is not seen; one of that path there would be another.
    let free = storage.and_then(free_bytes).or_else(|| free_bytes(Path::new(&root)));
    Ok(EngineInfo {
        id: info.id.unwrap_or_default(),
        version: version.version.unwrap_or_default(),
        api_version,
        architecture: version.arch.unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        storage_free_bytes: free,
        data_root: root,
    })
}

fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A container as the engine tells it; `None` for one whose id only begins so.
pub(super) async fn raw(
    connection: &Connection,
    doing: Verb,
    container: &str,
) -> Result<Option<ContainerInspectResponse>, EngineError> {
    let answer = connection
        .call(doing, container, LOOK, |docker| async move {
            docker.inspect_container(container, None::<InspectContainerOptions>).await
        })
        .await;
    fault::found(answer)
}

pub(super) async fn inspect(
    connection: &Connection,
    doing: Verb,
    container: &str,
) -> Result<Option<Container>, EngineError> {
    Ok(raw(connection, doing, container).await?.map(view))
}

pub(super) async fn list(connection: &Connection, installation: &str) -> Result<Vec<Container>, EngineError> {
    let names = with_label(connection, Verb::List, label::INSTALLATION, installation).await?;
    let mut all: Vec<Container> = stream::iter(names)
        // One that is gone meanwhile is not there.
        .map(|id| async move { inspect(connection, Verb::List, &id).await })
        .buffer_unordered(AT_A_TIME)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Ids of all containers, running or not, with a label of that value.
pub(super) async fn with_label(
    connection: &Connection,
    doing: Verb,
    name: &str,
    value: &str,
) -> Result<Vec<String>, EngineError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![format!("{name}={value}")])].into()),
        ..Default::default()
    };
    let found = connection
        .call(doing, value, LOOK, |docker| async move { docker.list_containers(Some(options)).await })
        .await?;
    Ok(found.into_iter().filter_map(|container| container.id).collect())
}

pub(super) async fn used_ports(connection: &Connection) -> Result<Vec<PublishedPort>, EngineError> {
    let found = connection
        .call(Verb::UsedPorts, "", LOOK, |docker| async move {
            docker.list_containers(None::<ListContainersOptions>).await
        })
        .await?;
    let mut used = Vec::new();
    for container in found {
        let name = container.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        let owner = container
            .labels
            .unwrap_or_default()
            .remove(label::INSTALLATION)
            .filter(|owner| !owner.is_empty());
        for port in container.ports.unwrap_or_default() {
            let Some(host_port) = port.public_port else {
                continue;
            };
            let protocol = match port.typ {
                Some(PortSummaryTypeEnum::UDP) => Protocol::Udp,
                Some(PortSummaryTypeEnum::SCTP) => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            let host_ip: Option<IpAddr> = port.ip.and_then(|ip| ip.parse().ok());
            let published = PublishedPort {
                container: name.trim_start_matches('/').to_owned(),
                installation: owner.clone(),
                host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
                host_port,
                protocol,
            };
            // On every address is told twice, for each version of IP.
            if !used.contains(&published) {
                used.push(published);
            }
        }
    }
    Ok(used)
}

fn view(found: ContainerInspectResponse) -> Container {
    let ports = wanted_ports(&found);
    let state = found.state.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let host = found.host_config.unwrap_or_default();
    let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let attached: BTreeMap<String, Option<IpAddr>> = networks
        .into_iter()
        .filter(|(name, _)| name != "none")
        .map(|(name, endpoint)| (name, endpoint.ip_address.and_then(|ip| ip.parse().ok())))
        .collect();
    Container {
        id: ContainerId(found.id.unwrap_or_default()),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        image_id: found.image.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        health: health(&state),
        state: state_of(state),
        networks: attached,
        ports,
        engine_restarts: host
            .restart_policy
            .as_ref()
            .and_then(|policy| policy.name)
            .is_some_and(|name| !matches!(name, RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY)),
        limits: limits(&host),
    }
}

/// No bound is told as 0, or as less.
fn limits(host: &HostConfig) -> Limits {
    let bound = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    Limits {
        memory_bytes: bound(host.memory),
        nano_cpus: bound(host.nano_cpus),
        pids: bound(host.pids_limit).map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        nofile: None,
    }
}

/// The ports that a container publishes: those it has, while it runs, or those it asks for.
pub(super) fn wanted_ports(found: &ContainerInspectResponse) -> Vec<PortBinding> {
    let has = found.network_settings.as_ref().and_then(|settings| settings.ports.as_ref());
    let asks = found.host_config.as_ref().and_then(|config| config.port_bindings.as_ref());
    let bound = has.filter(|ports| ports.values().any(Option::is_some)).or(asks);
    let mut ports = Vec::new();
    for (inside, bindings) in bound.into_iter().flatten() {
        let (port, protocol) = inside.split_once('/').unwrap_or((inside, "tcp"));
        let protocol = match protocol {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let Ok(container_port) = port.parse() else {
            continue;
        };
        for binding in bindings.iter().flatten() {
            let host_ip = binding.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            let host_port = binding.host_port.as_deref().and_then(|port| port.parse().ok());
            ports.push(PortBinding {
                host_ip: host_ip.unwrap_or(IpAddr::from([0, 0, 0, 0])),
                host_port: host_port.unwrap_or_default(),
                container_port,
                protocol,
            });
        }
    }
    ports.sort();
    ports
}

fn health(state: &ContainerState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
    }
}

fn state_of(state: ContainerState) -> State {
    use ContainerStateStatusEnum as Status;
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED => State::Created,
        Status::RUNNING | Status::STOPPING => State::Running {
            pid: state.pid.unwrap_or_default(),
            started_at: state.started_at.as_deref().and_then(time),
        },
        Status::PAUSED => State::Paused,
        Status::RESTARTING => State::Restarting,
        Status::EXITED => State::Exited {
            exit: Exit {
                code: state.exit_code.unwrap_or_default(),
                oom_killed: state.oom_killed.unwrap_or_default(),
                finished_at: state.finished_at.as_deref().and_then(time),
            },
            error: fault::words(&state.error.unwrap_or_default()),
        },
        Status::REMOVING | Status::DEAD | Status::EMPTY => State::Dead,
    }
}

/// A time of the engine; the year 1 means never.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| *time > Timestamp::UNIX_EPOCH)
}
