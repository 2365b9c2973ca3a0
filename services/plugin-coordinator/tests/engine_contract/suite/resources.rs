//! Networks, volumes and ports.

use super::{file, inspect, network};
use crate::subject::{Kind, Subject};
use plugin_coordinator::engine::{
    Attachment, EngineError, Health, Limits, Mount, MountSource, NetworkSpec, PortBinding, Protocol, Removal,
    StartError, label,
};
use std::net::IpAddr;
use std::net::Ipv4Addr;
use testkit::free_port;

contract! {
    a_network_is_made_once_and_never_with_other_rights
    a_network_in_use_is_kept
    a_volume_is_made_once_and_kept_while_it_is_used
    what_a_running_container_wrote_is_measured_apart_from_its_volumes
    a_missing_network_is_told_and_leaves_nothing_behind
    a_port_that_is_taken_is_named
    a_container_shows_its_networks_ports_and_labels
}

async fn a_network_is_made_once_and_never_with_other_rights(subject: &dyn Subject) {
    let mut spec = network(subject.name("net"));
    spec.internal = true;
    spec.icc = false;
    spec.masquerade = false;
    spec.labels = subject.labels("net");
    assert_eq!(subject.engine().network(&spec.name).await.expect("an answer"), None);
    subject.engine().ensure_network(&spec).await.expect("it is made");
    subject.engine().ensure_network(&spec).await.expect("it is there");
    let there = subject.engine().network(&spec.name).await.expect("an answer").expect("it is there");
    assert_eq!((there.internal, there.masquerade, there.icc), (true, false, false));
    assert_eq!(
        (there.name.as_str(), there.labels, there.containers),
        (spec.name.as_str(), spec.labels.clone(), vec![])
    );
    for change in [
        |s: &mut NetworkSpec| s.internal = false,
        |s: &mut NetworkSpec| s.icc = true,
        |s: &mut NetworkSpec| s.masquerade = true,
    ] {
        let mut other = spec.clone();
        change(&mut other);
        let error = subject.engine().ensure_network(&other).await.expect_err("it has other rights");
        assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
    }
    assert_eq!(subject.engine().remove_network(&spec.name).await.expect("an answer"), Removal::Removed);
    assert_eq!(subject.engine().remove_network(&spec.name).await.expect("an answer"), Removal::Missing);
}

async fn a_network_in_use_is_kept(subject: &dyn Subject) {
    let image = subject.image(Kind::Obedient).await;
    let net = network(subject.name("net"));
    subject.engine().ensure_network(&net).await.expect("a network");
    let mut spec = subject.spec("one", &image);
    spec.networks = vec![Attachment { network: net.name.clone(), aliases: vec![] }];
    let id = subject.engine().create(&spec).await.expect("a container");
    subject.engine().start(&id).await.expect("it starts");
    assert_eq!(subject.engine().remove_network(&net.name).await.expect("an answer"), Removal::InUse);
    let there = subject.engine().network(&net.name).await.expect("an answer").expect("it is there");
    assert_eq!(there.containers, [spec.name.clone()]);
    subject.engine().remove(&id).await.expect("removed");
    assert_eq!(subject.engine().remove_network(&net.name).await.expect("an answer"), Removal::Removed);
}

async fn a_volume_is_made_once_and_kept_while_it_is_used(subject: &dyn Subject) {
    let image = subject.image(Kind::Obedient).await;
    let volume = subject.name("data");
    assert_eq!(subject.engine().remove_volume(&volume).await.expect("an answer"), Removal::Missing);
    for _ in 0..2 {
        subject.engine().ensure_volume(&volume, &subject.labels("data")).await.expect("a volume");
    }
    let mut spec = subject.spec("one", &image);
    spec.mounts =
        vec![Mount { source: MountSource::Volume(volume.clone()), target: "/data".into(), read_only: false }];
    let id = subject.engine().create(&spec).await.expect("a container");
    assert_eq!(subject.engine().remove_volume(&volume).await.expect("an answer"), Removal::InUse);
    subject.engine().remove(&id).await.expect("removed");
    assert_eq!(subject.engine().remove_volume(&volume).await.expect("an answer"), Removal::Removed);
}

async fn what_a_running_container_wrote_is_measured_apart_from_its_volumes(subject: &dyn Subject) {
    const MIB: usize = 1 << 20;
    let image = subject.image(Kind::Obedient).await;
    let volume = subject.name("data");
    let mut spec = subject.spec("one", &image);
    spec.mounts =
        vec![Mount { source: MountSource::Volume(volume.clone()), target: "/data".into(), read_only: false }];
    let id = subject.engine().create(&spec).await.expect("a container");
    let files = [file("/written", &vec![1; 3 * MIB], 0), file("/data/kept", &vec![1; 5 * MIB], 0)];
    subject.engine().upload(&id, &files).await.expect("the upload works");
    assert_eq!(subject.engine().disk_usage(subject.run()).await.expect("an answer"), vec![]);
    subject.engine().start(&id).await.expect("it starts");
    let found = subject.engine().disk_usage(subject.run()).await.expect("an answer");
    let [usage] = found.as_slice() else { panic!("one container runs: {found:?}") };
    assert_eq!(usage.container, spec.name);
    let near = |bytes: u64, mib: usize| bytes >= (mib * MIB) as u64 && bytes < ((mib + 1) * MIB) as u64;
    assert!(near(usage.written, 3), "{usage:?}");
    assert_eq!(usage.volumes.keys().collect::<Vec<_>>(), [&volume]);
    assert!(near(usage.volumes[&volume], 5), "{usage:?}");
    assert_eq!(usage.total(), usage.written + usage.volumes[&volume]);
    assert_eq!(subject.engine().disk_usage("another").await.expect("an answer"), vec![]);
}

async fn a_missing_network_is_told_and_leaves_nothing_behind(subject: &dyn Subject) {
    let image = subject.image(Kind::Obedient).await;
    let attach = |what: &str| Attachment { network: subject.name(what), aliases: vec![] };
    subject.engine().ensure_network(&network(subject.name("there"))).await.expect("a network");
    for networks in [vec![attach("gone")], vec![attach("there"), attach("gone")]] {
        let mut spec = subject.spec("one", &image);
        spec.networks = networks;
        let error = subject.engine().create(&spec).await.expect_err("one is missing");
        assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains(&subject.name("gone")), "{error}");
        assert_eq!(subject.engine().inspect(&spec.name).await.expect("an answer"), None);
    }

    let mut spec = subject.spec("two", &image);
    spec.networks = vec![attach("there")];
    let id = subject.engine().create(&spec).await.expect("a container");
    subject.engine().remove_network(&subject.name("there")).await.expect("nobody is on it yet");
    let error = subject.engine().start(&id).await.expect_err("there is no network any more");
    assert!(matches!(error, StartError::MissingNetwork { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(subject.engine().remove(&id).await.expect("an answer"), Removal::Removed);
}

fn published(host_port: u16, container_port: u16) -> PortBinding {
    PortBinding {
        host_ip: IpAddr::from(Ipv4Addr::LOCALHOST),
        host_port,
        container_port,
        protocol: Protocol::Tcp,
    }
}

async fn a_port_that_is_taken_is_named(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let net = network(subject.name("net"));
    engine.ensure_network(&net).await.expect("a network");
    let attach = vec![Attachment { network: net.name.clone(), aliases: vec![] }];
    let taken = published(free_port(), 80);
    let mut first = subject.spec("first", &image);
    first.ports = vec![taken];
    first.networks.clone_from(&attach);
    let first_id = engine.create(&first).await.expect("a container");
    assert!(!engine.used_ports().await.expect("an answer").iter().any(|used| used.conflicts_with(&taken)));
    engine.start(&first_id).await.expect("it starts");
    let used = engine.used_ports().await.expect("an answer");
    let found = used.iter().find(|used| used.conflicts_with(&taken)).expect("it is listed");
    assert_eq!(
        (found.container.as_str(), found.installation.as_deref()),
        (first.name.as_str(), Some(subject.run()))
    );
    assert_eq!(found.host_ip, Some(taken.host_ip));

    let mut second = subject.spec("second", &image);
    second.ports = vec![published(free_port(), 81), published(taken.host_port, 82)];
    second.networks = attach;
    let second_id = engine.create(&second).await.expect("a container");
    let error = engine.start(&second_id).await.expect_err("the port is taken");
    assert!(
        matches!(error, StartError::PortTaken { port: Some(port), .. } if port == taken.host_port),
        "{error:?}"
    );
    engine.remove(&first_id).await.expect("removed");
    engine.start(&second_id).await.expect("the port is free now");
}

async fn a_container_shows_its_networks_ports_and_labels(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let mut spec = subject.spec("one", &image);
    for name in ["first", "second"] {
        engine.ensure_network(&network(subject.name(name))).await.expect("a network");
        spec.networks.push(Attachment { network: subject.name(name), aliases: vec!["alias".into()] });
    }
    spec.ports = vec![published(free_port(), 80)];
    spec.limits = Limits {
        memory_bytes: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids: Some(20),
        nofile: Some(256),
    };
    let id = engine.create(&spec).await.expect("a container");
    let again = engine.create(&spec).await.expect("the same");
    assert_eq!(again, id);
    engine.start(&id).await.expect("it starts");
    let found = inspect(subject, &spec.name).await;
    assert_eq!(
        (&found.id, found.name.as_str(), found.image.as_str()),
        (&id, spec.name.as_str(), image.as_str())
    );
    let networks: Vec<String> = found.networks.keys().cloned().collect();
    assert_eq!(networks, [subject.name("first"), subject.name("second")]);
    assert_eq!(found.ports, spec.ports);
    assert_eq!(found.label(label::START), Some("one"));
    assert_eq!(found.label("kind"), Some("Obedient"), "labels of the image are there");
    assert_eq!(found.health, Health::None);
}
