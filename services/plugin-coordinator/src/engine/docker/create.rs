//! Making a container: the specification, and the hardening that none can switch off.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountType,
    NetworkConnectRequest, NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptions;

use super::connection::Connection;
use super::{CHANGE, LOOK, lifecycle, network, observe};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{Attachment, ContainerId, ContainerSpec, Device, MountSource, check, label};

pub(super) async fn create(
    connection: &Connection,
    spec: &ContainerSpec,
) -> Result<ContainerId, EngineError> {
    for attachment in &spec.networks {
        // The engine itself would find it missing at the start only, in some releases.
        if network::look_up(connection, Verb::Create, &attachment.network).await?.is_none() {
            let message = format!("network {} not found", attachment.network);
            return Err(EngineError::NotFound { doing: Verb::Create, on: spec.name.clone(), message });
        }
    }
    let options = CreateContainerOptions { name: Some(spec.name.clone()), ..Default::default() };
    let body = body(spec);
    let made = connection
        .call(Verb::Create, &spec.name, CHANGE, |docker| async move {
            docker.create_container(Some(options), body).await
        })
        .await;
    let (id, connected) = match made {
        Ok(made) => (
            ContainerId(made.id),
            spec.networks.first().map(|first| first.network.clone()).into_iter().collect(),
        ),
        Err(EngineError::Conflict { message, .. }) => existing(connection, spec, message).await?,
        Err(error) => return Err(error),
    };
    for attachment in spec.networks.iter().filter(|wanted| !connected.contains(&wanted.network)) {
        if let Err(error) = connect(connection, spec, &id, attachment).await {
            // Nothing half made stays; what cannot be removed now is found by its labels.
            let _ = lifecycle::remove(connection, Verb::Create, &id).await;
            return Err(error);
        }
    }
    Ok(id)
}

/// The container that has the name already: ours if it was made for the same start.
async fn existing(
    connection: &Connection,
    spec: &ContainerSpec,
    message: String,
) -> Result<(ContainerId, Vec<String>), EngineError> {
    if let Some(there) = observe::inspect(connection, Verb::Create, &spec.name).await? {
        let start = there.label(label::START).filter(|start| !start.is_empty());
        if start.is_some() && start == spec.labels.get(label::START).map(String::as_str) {
            return Ok((there.id, there.networks.into_keys().collect()));
        }
    }
    Err(EngineError::Conflict { doing: Verb::Create, on: spec.name.clone(), message })
}

/// Engines before 25 refuse a creation with two networks, so the others are connected one by one.
async fn connect(
    connection: &Connection,
    spec: &ContainerSpec,
    id: &ContainerId,
    attachment: &Attachment,
) -> Result<(), EngineError> {
    let request =
        NetworkConnectRequest { container: id.to_string(), endpoint_config: Some(endpoint(attachment)) };
    let network = attachment.network.as_str();
    connection
        .call(Verb::Create, &spec.name, LOOK, |docker| async move {
            docker.connect_network(network, request).await
        })
        .await
}

pub(super) fn endpoint(attachment: &Attachment) -> EndpointSettings {
    EndpointSettings { aliases: Some(attachment.aliases.clone()), ..Default::default() }
}

fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let first = spec.networks.first();
    ContainerCreateBody {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.command.clone(),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        image: Some(spec.image.clone()),
        labels: Some(check::labels(spec).into_iter().collect()),
        exposed_ports: Some(
            spec.ports.iter().map(|port| format!("{}/{}", port.container_port, port.protocol)).collect(),
        ),
        stop_timeout: spec.stop_timeout.map(|time| i64::from(lifecycle::whole_seconds(time))),
        tty: Some(false),
        open_stdin: Some(false),
        network_disabled: Some(first.is_none()),
        networking_config: first.map(|first| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(first.network.clone(), endpoint(first))])),
        }),
        host_config: Some(host_config(spec)),
        ..Default::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let limit = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
    let memory = limit(spec.limits.memory_bytes);
    HostConfig {
        binds: Some(spec.mounts.iter().filter_map(bind).collect()),
        mounts: Some(spec.mounts.iter().filter_map(volume).collect()),
        tmpfs: Some(
            spec.tmpfs
                .iter()
                .map(|tmpfs| {
                    (tmpfs.target.clone(), format!("rw,noexec,nosuid,nodev,size={}", tmpfs.size_bytes))
                })
                .collect(),
        ),
        port_bindings: Some(port_bindings(spec)),
        network_mode: Some(
            spec.networks.first().map_or_else(|| "none".to_owned(), |first| first.network.clone()),
        ),
        dns: spec.resolver.map(|resolver| vec![resolver.to_string()]),
        devices: Some(spec.devices.iter().map(device).collect()),
        memory,
        // Equal to memory: no swap.
        memory_swap: memory,
        nano_cpus: limit(spec.limits.nano_cpus),
        pids_limit: spec.limits.pids.map(i64::from),
        ulimits: Some(spec.limits.nofile.map(i64::from).map(open_files).into_iter().collect()),
        log_config: Some(log_config(spec)),
        readonly_rootfs: Some(spec.read_only),
        // From here on, what a plugin cannot switch off.
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(Vec::new()),
        group_add: Some(spec.groups.iter().map(u32::to_string).collect()),
        security_opt: Some(vec!["no-new-privileges".into()]),
        privileged: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        publish_all_ports: Some(false),
        ipc_mode: Some("private".into()),
        pid_mode: Some(String::new()),
        uts_mode: Some(String::new()),
        oom_kill_disable: Some(false),
        ..Default::default()
    }
}

/// A host folder is given in the old form, which makes a missing one.
fn bind(mount: &crate::engine::Mount) -> Option<String> {
    let MountSource::HostFolder(folder) = &mount.source else {
        return None;
    };
    let access = if mount.read_only { "ro" } else { "rw" };
    Some(format!("{folder}:{}:{access}", mount.target))
}

fn volume(mount: &crate::engine::Mount) -> Option<Mount> {
    let MountSource::Volume(name) = &mount.source else {
        return None;
    };
    Some(Mount {
        target: Some(mount.target.clone()),
        source: Some(name.clone()),
        typ: Some(MountType::VOLUME),
        read_only: Some(mount.read_only),
        ..Default::default()
    })
}

fn port_bindings(spec: &ContainerSpec) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut all: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let host_port = if port.host_port == 0 { String::new() } else { port.host_port.to_string() };
        let binding = PortBinding { host_ip: Some(port.host_ip.to_string()), host_port: Some(host_port) };
        all.entry(key).or_default().get_or_insert_default().push(binding);
    }
    all
}

fn device(device: &Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.path.clone()),
        path_in_container: Some(device.container_path.clone()),
        cgroup_permissions: Some(if device.read_only { "r" } else { "rw" }.to_owned()),
    }
}

fn open_files(most: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some("nofile".into()), soft: Some(most), hard: Some(most) }
}

fn log_config(spec: &ContainerSpec) -> HostConfigLogConfig {
    let (max_bytes, max_files) = (check::log_bytes(spec), check::log_files(spec));
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), max_bytes.to_string()),
            ("max-file".to_owned(), max_files.to_string()),
        ])),
    }
}
