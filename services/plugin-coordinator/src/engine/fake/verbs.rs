//! The verbs of the fake: the same contract as the real engine's, which one suite checks on both.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;

use super::FakeEngine;
use super::world::World;
use crate::engine::error::{EngineError, StartError, Verb};
use crate::engine::spec::Labels;
use crate::engine::{
    Change, Container, ContainerId, ContainerSpec, DiskUsage, Engine, EngineInfo, EventAction, Events, Exit,
    HostEntry, Image, ImageRef, LogTail, MountSource, Network, NetworkSpec, Owner, PublishedPort,
    PullProgress, RegistryLogin, Removal, Result, UploadFile, check, label, text,
};

#[async_trait]
impl Engine for FakeEngine {
    async fn info(&self) -> Result<EngineInfo> {
        self.call(Verb::Info, "", |world| {
            Ok(EngineInfo {
                id: "fake".into(),
                version: "0.0.0".into(),
                api_version: "1.41".into(),
                architecture: "amd64".into(),
                live_restore: false,
                storage_free_bytes: world.storage_free,
                data_root: "/var/lib/docker".into(),
            })
        })
        .await
    }

    async fn pull(
        &self,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
        progress: &mut (dyn FnMut(PullProgress) + Send),
    ) -> Result<()> {
        let reference = image.to_string();
        let layers =
            self.call(Verb::Pull, &reference, |world| find_published(world, &reference, login)).await?;
        for layers_done in 0..=layers {
            super::pause().await;
            progress(PullProgress {
                layers_done,
                layers_total: layers,
                bytes_done: u64::from(layers_done) << 20,
                bytes_total: u64::from(layers) << 20,
            });
        }
        let mut world = self.world();
        if world.down {
            return Err(super::world::unreachable(Verb::Pull, &reference));
        }
        if let Some(found) = world.published.get(&reference).cloned() {
            world.images.insert(reference, found);
        }
        Ok(())
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        check::reference(Verb::Image, reference)?;
        self.call(Verb::Image, reference, |world| Ok(world.image(reference).map(|found| found.image.clone())))
            .await
    }

    async fn remove_image(&self, reference: &str) -> Result<Removal> {
        check::reference(Verb::RemoveImage, reference)?;
        self.call(Verb::RemoveImage, reference, |world| {
            let Some(found) = world.image(reference) else {
                return Ok(Removal::Missing);
            };
            let (key, id) = (found.reference.clone(), found.image.id.clone());
            if world.containers.values().any(|container| container.image.image.id == id) {
                return Ok(Removal::InUse);
            }
            world.images.remove(&key);
            Ok(Removal::Removed)
        })
        .await
    }

    async fn read_file(&self, image: &str, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        check::reference(Verb::ReadFile, image)?;
        check::path(Verb::ReadFile, image, path)?;
        self.call(Verb::ReadFile, image, |world| {
            let found = world.image(image).ok_or_else(|| no_image(Verb::ReadFile, image))?;
            let not_plain = |what| EngineError::NotPlain {
                doing: Verb::ReadFile,
                on: image.to_owned(),
                path: path.to_owned(),
                found: what,
                limit: max_bytes,
            };
            if let Some(what) = found.oddities.get(path) {
                return Err(not_plain(what));
            }
            match found.files.get(path) {
                Some(bytes) if bytes.len() as u64 > max_bytes => Err(not_plain("a larger file")),
                other => Ok(other.cloned()),
            }
        })
        .await
    }

    async fn read_back(&self, container: &str, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        check::name(Verb::ReadBack, container)?;
        check::path(Verb::ReadBack, container, path)?;
        self.call(Verb::ReadBack, container, |world| {
            let Some(id) = world.id_of(container) else { return Ok(None) };
            let file = world.containers.get(&id).and_then(|found| found.files.get(path));
            match file.map(|file| &file.bytes) {
                Some(bytes) if bytes.len() as u64 > max_bytes => Err(EngineError::NotPlain {
                    doing: Verb::ReadBack,
                    on: container.to_owned(),
                    path: path.to_owned(),
                    found: "a larger file",
                    limit: max_bytes,
                }),
                bytes => Ok(bytes.cloned()),
            }
        })
        .await
    }

    async fn host_entry(&self, image: &str, path: &str) -> Result<HostEntry> {
        check::reference(Verb::HostEntry, image)?;
        check::path(Verb::HostEntry, path, path)?;
        self.call(Verb::HostEntry, path, |world| {
            world.image(image).ok_or_else(|| no_image(Verb::HostEntry, image))?;
            Ok(world.host.get(path).copied().unwrap_or(HostEntry::Missing))
        })
        .await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<()> {
        check::name(Verb::EnsureNetwork, &spec.name)?;
        self.call(Verb::EnsureNetwork, &spec.name, |world| match world.networks.get(&spec.name) {
            None => {
                world.networks.insert(spec.name.clone(), spec.clone());
                Ok(())
            }
            Some(there) if same_rights(there, spec) => Ok(()),
            Some(_) => {
                Err(conflict(Verb::EnsureNetwork, &spec.name, "a network of this name has other rights"))
            }
        })
        .await
    }

    async fn network(&self, name: &str) -> Result<Option<Network>> {
        check::name(Verb::Network, name)?;
        self.call(Verb::Network, name, |world| {
            Ok(world.networks.get(name).map(|there| Network {
                id: format!("network-{name}"),
                name: name.to_owned(),
                internal: there.internal,
                masquerade: there.masquerade,
                icc: there.icc,
                labels: there.labels.clone(),
                containers: on_network(world, name),
            }))
        })
        .await
    }

    async fn remove_network(&self, name: &str) -> Result<Removal> {
        check::name(Verb::RemoveNetwork, name)?;
        self.call(Verb::RemoveNetwork, name, |world| {
            if !on_network(world, name).is_empty() {
                return Ok(Removal::InUse);
            }
            Ok(removal(world.networks.remove(name).is_some()))
        })
        .await
    }

    async fn ensure_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        check::name(Verb::EnsureVolume, name)?;
        self.call(Verb::EnsureVolume, name, |world| {
            world.volumes.entry(name.to_owned()).or_insert_with(|| labels.clone());
            Ok(())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<Removal> {
        check::name(Verb::RemoveVolume, name)?;
        self.call(Verb::RemoveVolume, name, |world| {
            let source = MountSource::Volume(name.to_owned());
            if world
                .containers
                .values()
                .any(|found| found.spec.mounts.iter().any(|mount| mount.source == source))
            {
                return Ok(Removal::InUse);
            }
            Ok(removal(world.volumes.remove(name).is_some()))
        })
        .await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        check::spec(spec)?;
        self.call(Verb::Create, &spec.name, |world| {
            if let Some(id) = world.id_of(&spec.name) {
                let there = world.containers.get(&id).and_then(|found| found.labels.get(label::START));
                if there.is_some() && there == spec.labels.get(label::START) {
                    return Ok(ContainerId(id));
                }
                return Err(conflict(Verb::Create, &spec.name, "another container has this name"));
            }
            let image =
                world.image(&spec.image).cloned().ok_or_else(|| no_image(Verb::Create, &spec.image))?;
            for attachment in &spec.networks {
                if !world.networks.contains_key(&attachment.network) {
                    let message = format!("network {} not found", attachment.network);
                    return Err(EngineError::NotFound {
                        doing: Verb::Create,
                        on: spec.name.clone(),
                        message,
                    });
                }
            }
            for mount in &spec.mounts {
                if let MountSource::Volume(name) = &mount.source {
                    world.volumes.entry(name.clone()).or_default();
                }
            }
            Ok(ContainerId(world.add(spec, image)))
        })
        .await
    }

    async fn set_owner(&self, container: &str, target: &str, owner: Owner) -> Result<()> {
        check::name(Verb::SetOwner, container)?;
        check::path(Verb::SetOwner, container, target)?;
        self.call(Verb::SetOwner, container, |world| {
            let found = find(world, Verb::SetOwner, container)?;
            if !found.spec.mounts.iter().any(|mount| mount.target == target) {
                return Err(not_found(Verb::SetOwner, container, &format!("nothing is mounted at {target}")));
            }
            found.owners.insert(target.to_owned(), owner);
            Ok(())
        })
        .await
    }

    async fn upload(&self, container: &str, files: &[UploadFile]) -> Result<()> {
        check::name(Verb::Upload, container)?;
        check::uploads(container, files)?;
        self.call(Verb::Upload, container, |world| {
            let found = find(world, Verb::Upload, container)?;
            found.files.extend(files.iter().map(|file| (file.path.clone(), file.clone())));
            Ok(())
        })
        .await
    }

    async fn start(&self, container: &str) -> Result<(), StartError> {
        check::name(Verb::Start, container)?;
        self.run(Verb::Start, container, |world| {
            let found = find(world, Verb::Start, container)?;
            if found.state == crate::engine::State::Paused {
                return Err(conflict(Verb::Start, container, "it is held; let it go on instead").into());
            }
            if found.state.is_running() {
                return Ok(());
            }
            let (spec, bad_command) = (found.spec.clone(), found.image.bad_command);
            if let Some(gone) =
                spec.networks.iter().find(|wanted| !world.networks.contains_key(&wanted.network))
            {
                return Err(StartError::MissingNetwork {
                    message: format!("network {} not found", gone.network),
                });
            }
            let used = published(world);
            for port in &spec.ports {
                if world.host_ports.contains(&port.host_port)
                    || used.iter().any(|used| used.conflicts_with(port))
                {
                    return Err(StartError::PortTaken {
                        port: Some(port.host_port),
                        message: "port is already allocated".into(),
                    });
                }
            }
            if let Some(code) = bad_command {
                return Err(StartError::BadCommand { code, message: "no such file or directory".into() });
            }
            let id = world.id_of(container).ok_or_else(|| no_container(Verb::Start, container))?;
            world.begin(&id);
            Ok(())
        })
        .await
    }

    async fn adjust(&self, container: &str, change: &Change) -> Result<()> {
        check::name(Verb::Adjust, container)?;
        check::change(container, change)?;
        self.call(Verb::Adjust, container, |world| {
            let id = world.id_of(container).ok_or_else(|| no_container(Verb::Adjust, container))?;
            if let Change::Rename(name) = change
                && world.id_of(name).is_some_and(|other| other != id)
            {
                return Err(conflict(Verb::Adjust, container, "another container has this name"));
            }
            if let Change::Connect(attachment) = change
                && !world.networks.contains_key(&attachment.network)
            {
                let message = format!("network {} not found", attachment.network);
                return Err(not_found(Verb::Adjust, container, &message));
            }
            world.change(&id, change);
            Ok(())
        })
        .await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<Option<Exit>> {
        check::name(Verb::Stop, container)?;
        self.call(Verb::Stop, container, |world| {
            world.graces.push(grace);
            Ok(end(world, container, true))
        })
        .await
    }

    async fn kill(&self, container: &str) -> Result<Option<Exit>> {
        check::name(Verb::Kill, container)?;
        self.call(Verb::Kill, container, |world| Ok(end(world, container, false))).await
    }

    async fn remove(&self, container: &str) -> Result<Removal> {
        check::name(Verb::Remove, container)?;
        self.call(Verb::Remove, container, |world| {
            let Some(id) = world.id_of(container) else {
                return Ok(Removal::Missing);
            };
            world.exit(&id, 137, false, true);
            world.tell(&id, EventAction::Destroy);
            world.containers.remove(&id);
            Ok(Removal::Removed)
        })
        .await
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>> {
        check::name(Verb::Inspect, container)?;
        self.call(Verb::Inspect, container, |world| Ok(world.id_of(container).and_then(|id| world.show(&id))))
            .await
    }

    async fn list(&self, installation: &str) -> Result<Vec<Container>> {
        self.call(Verb::List, installation, |world| {
            let mut all = world.all();
            all.retain(|found| found.label(label::INSTALLATION) == Some(installation));
            Ok(all)
        })
        .await
    }

    async fn logs(&self, container: &str, tail_lines: u32, max_bytes: usize) -> Result<LogTail> {
        check::name(Verb::Logs, container)?;
        self.call(Verb::Logs, container, |world| {
            let log = &find(world, Verb::Logs, container)?.log;
            let lines: Vec<&str> = log.split_inclusive('\n').collect();
            let from = lines.len().saturating_sub(tail_lines as usize);
            let tail = lines[from..].concat();
            let cut = tail.ceil_char_boundary(tail.len().saturating_sub(max_bytes));
            Ok(LogTail { text: text::lines(&tail[cut..]), truncated: cut > 0 || from > 0 })
        })
        .await
    }

    async fn used_ports(&self) -> Result<Vec<PublishedPort>> {
        self.call(Verb::UsedPorts, "", |world| Ok(published(world))).await
    }

    async fn disk_usage(&self, installation: &str) -> Result<Vec<DiskUsage>> {
        self.call(Verb::DiskUsage, installation, |world| Ok(world.disk_usage(installation))).await
    }

    async fn events(&self, installation: &str) -> Result<Events> {
        let receiver =
            self.call(Verb::Events, installation, |world| Ok(world.subscribe(installation))).await?;
        let next = |mut receiver: tokio::sync::mpsc::UnboundedReceiver<_>| async move {
            receiver.recv().await.map(|event| (event, receiver))
        };
        Ok(stream::unfold(receiver, next).boxed())
    }

    async fn sweep(&self) -> Result<usize> {
        self.call(Verb::Sweep, "", |_| Ok(0)).await
    }
}

fn find<'a>(
    world: &'a mut World,
    doing: Verb,
    container: &str,
) -> Result<&'a mut super::world::FakeContainer> {
    let id = world.id_of(container).ok_or_else(|| no_container(doing, container))?;
    world.containers.get_mut(&id).ok_or_else(|| no_container(doing, container))
}

/// Ends a container by signal or by force, and says how it ended, now or before.
fn end(world: &mut World, container: &str, by_signal: bool) -> Option<Exit> {
    let id = world.id_of(container)?;
    let stops_with = world.containers.get(&id)?.image.stops_with.filter(|_| by_signal);
    world.exit(&id, stops_with.unwrap_or(137), false, true);
    let never_ran = Exit { code: 0, oom_killed: false, finished_at: None };
    Some(world.containers.get(&id)?.state.exit().unwrap_or(never_ran))
}

fn find_published(world: &World, reference: &str, login: Option<&RegistryLogin>) -> Result<u32> {
    let found =
        world.published.get(reference).ok_or_else(|| not_found(Verb::Pull, reference, "manifest unknown"))?;
    let opens = match (&found.login, login) {
        (None, _) => true,
        (Some(wanted), Some(given)) => wanted.username == given.username && wanted.password == given.password,
        (Some(_), None) => false,
    };
    if !opens {
        let message = "no basic auth credentials".to_owned();
        return Err(EngineError::Refused { doing: Verb::Pull, on: reference.to_owned(), status: 0, message });
    }
    Ok(found.layers)
}

fn on_network(world: &World, name: &str) -> Vec<String> {
    let attached = |found: &&super::world::FakeContainer| {
        found.state.is_running() && found.spec.networks.iter().any(|attachment| attachment.network == name)
    };
    let mut names: Vec<String> =
        world.containers.values().filter(attached).map(|found| found.spec.name.clone()).collect();
    names.sort();
    names
}

fn published(world: &World) -> Vec<PublishedPort> {
    let running = world.containers.values().filter(|found| found.state.is_running());
    running
        .flat_map(|found| {
            found.spec.ports.iter().map(|port| PublishedPort {
                container: found.spec.name.clone(),
                installation: found.labels.get(label::INSTALLATION).cloned(),
                host_ip: Some(port.host_ip).filter(|ip| !ip.is_unspecified()),
                host_port: port.host_port,
                protocol: port.protocol,
            })
        })
        .collect()
}

fn same_rights(a: &NetworkSpec, b: &NetworkSpec) -> bool {
    (a.internal, a.masquerade, a.icc) == (b.internal, b.masquerade, b.icc)
}

const fn removal(removed: bool) -> Removal {
    if removed { Removal::Removed } else { Removal::Missing }
}

fn conflict(doing: Verb, on: &str, message: &str) -> EngineError {
    EngineError::Conflict { doing, on: on.to_owned(), message: message.to_owned() }
}

fn not_found(doing: Verb, on: &str, message: &str) -> EngineError {
    EngineError::NotFound { doing, on: on.to_owned(), message: message.to_owned() }
}

fn no_container(doing: Verb, container: &str) -> EngineError {
    not_found(doing, container, "there is no such container")
}

fn no_image(doing: Verb, image: &str) -> EngineError {
    not_found(doing, image, "there is no such image; it must be pulled first")
}
