//! The contract. Each case runs on the fake and on the real engine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::StreamExt;
use plugin_coordinator::engine::{
    Attachment, Container, EngineError, EngineEvent, EventAction, Events, Health, ImageRef, Limits, Mount, MountSource,
    NetworkSpec, Owner, PortBinding, Protocol, PullProgress, Removal, StartError, State, UploadFile, label,
};
use testkit::eventually;

use crate::subject::{Kind, Subject};

const GRACE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(30);

macro_rules! contract {
    ($($case:ident)*) => {
        mod fake { $(
            #[tokio::test]
            async fn $case() {
                super::$case(&crate::subject::Fake::new()).await;
            }
        )* }
        mod docker { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::subject::Real::test(|real| async move { super::$case(&*real).await }).await;
            }
        )* }
    };
}

contract! {
    the_engine_tells_who_it_is
    a_pulled_image_is_shown_and_removed_once
    an_image_that_is_not_in_the_registry_cannot_be_pulled
    a_file_is_read_from_an_image_without_running_it
    only_a_regular_file_of_a_bounded_size_is_read
    a_network_is_made_once_and_never_with_other_rights
    a_network_in_use_is_kept
    a_volume_is_made_once_and_kept_while_it_is_used
    a_container_is_made_once_for_each_start
    a_name_that_somebody_else_has_is_a_conflict
    a_container_needs_its_image
    a_missing_network_is_told_and_leaves_nothing_behind
    a_container_goes_through_its_life_and_every_step_can_be_repeated
    what_is_not_there_is_an_answer
    a_process_that_ignores_the_stop_signal_is_killed_after_the_grace
    a_process_that_ends_by_itself_leaves_its_code_and_its_output
    a_command_that_does_not_exist_is_told
    a_port_that_is_taken_is_named
    a_container_shows_its_networks_ports_and_labels
    only_containers_of_the_installation_are_listed
    events_tell_what_happens_to_containers_of_the_installation
    an_event_between_subscription_and_first_look_is_not_lost
    a_health_check_is_shown_and_told
    the_log_is_bounded
    files_and_owners_are_set_in_a_created_container
    what_could_mean_something_else_is_refused_before_it_is_sent
}

async fn inspect(subject: &dyn Subject, container: &str) -> Container {
    subject.engine().inspect(container).await.expect("an answer").expect("the container is there")
}

async fn exited(subject: &dyn Subject, container: &str) -> Container {
    eventually(SOON, || async {
        let found = inspect(subject, container).await;
        if found.state.exit().is_some() { Ok(found) } else { Err(format!("{:?}", found.state)) }
    })
    .await
}

fn network(name: String) -> NetworkSpec {
    NetworkSpec { name, internal: false, masquerade: true, icc: true, labels: BTreeMap::new() }
}

async fn the_engine_tells_who_it_is(subject: &dyn Subject) {
    let info = subject.engine().info().await.expect("it answers");
    assert!(!info.id.is_empty() && !info.version.is_empty() && !info.architecture.is_empty(), "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(info.storage_free_bytes.is_some(), "{info:?}");
}

async fn a_pulled_image_is_shown_and_removed_once(subject: &dyn Subject) {
    let reference = subject.publish(Kind::Checked).await;
    let name = reference.to_string();
    assert_eq!(subject.engine().image(&name).await.expect("an answer"), None);
    for _ in 0..2 {
        let mut last = PullProgress::default();
        subject.engine().pull(&reference, None, &mut |now| last = now).await.expect("the pull works");
        assert_eq!(last.layers_done, last.layers_total, "{last:?}");
        assert_eq!(last.bytes_done, last.bytes_total, "{last:?}");
    }
    let image = subject.engine().image(&name).await.expect("an answer").expect("it is there");
    assert!(image.id.starts_with("sha256:"));
    assert_eq!(image.repo_digests, [name.clone()]);
    assert_eq!(image.labels.get("kind").map(String::as_str), Some("Checked"));
    assert!(image.has_healthcheck);
    assert!(image.size > 0);
    assert_eq!(image.user, "");

    subject.engine().create(&subject.spec("user", &name)).await.expect("a container");
    assert_eq!(subject.engine().remove_image(&name).await.expect("an answer"), Removal::InUse);
    subject.engine().remove(&subject.name("user")).await.expect("removed");
    assert_eq!(subject.engine().remove_image(&name).await.expect("an answer"), Removal::Removed);
    assert_eq!(subject.engine().remove_image(&name).await.expect("an answer"), Removal::Missing);
    assert_eq!(subject.engine().image(&name).await.expect("an answer"), None);
}

async fn an_image_that_is_not_in_the_registry_cannot_be_pulled(subject: &dyn Subject) {
    let there = subject.publish(Kind::Failing).await;
    let missing: ImageRef = format!("{}@sha256:{:064x}", there.repository(), 99).parse().expect("a reference");
    let error = subject.engine().pull(&missing, None, &mut |_| {}).await.expect_err("nothing is there");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains(&missing.to_string()), "{error}");
}

async fn a_file_is_read_from_an_image_without_running_it(subject: &dyn Subject) {
    let image = subject.image(Kind::Files).await;
    let read = |path: &'static str| subject.engine().read_file(&image, path, 4096);
    assert_eq!(read("/plugin.json").await.expect("an answer"), Some(b"{}".to_vec()));
    assert_eq!(read("/nothing").await.expect("an answer"), None);
    assert_eq!(read("/nothing/at/all").await.expect("an answer"), None);
    assert_eq!(subject.engine().sweep().await.expect("an answer"), 0, "throw-away containers are left");
    let error = subject.engine().read_file("nothing-here:1", "/plugin.json", 1).await.expect_err("no image");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

async fn only_a_regular_file_of_a_bounded_size_is_read(subject: &dyn Subject) {
    let image = subject.image(Kind::Files).await;
    for (path, what) in [
        ("/link", "a symbolic link"),
        ("/pipe", "a pipe"),
        ("/device", "a device"),
        ("/folder", "a folder"),
        ("/large", "a larger file"),
    ] {
        let error = subject.engine().read_file(&image, path, 4096).await.expect_err(path);
        assert!(matches!(error, EngineError::NotPlain { found, .. } if found == what), "{path}: {error:?}");
    }
    assert_eq!(subject.engine().read_file(&image, "/large", 5000).await.expect("an answer").map(|b| b.len()), Some(5000));
    assert_eq!(subject.engine().sweep().await.expect("an answer"), 0, "throw-away containers are left");
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
    assert_eq!((there.name.as_str(), there.labels, there.containers), (spec.name.as_str(), spec.labels.clone(), vec![]));
    for change in [|s: &mut NetworkSpec| s.internal = false, |s: &mut NetworkSpec| s.icc = true, |s: &mut NetworkSpec| s.masquerade = true] {
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
    spec.mounts = vec![Mount { source: MountSource::Volume(volume.clone()), target: "/data".into(), read_only: false }];
    let id = subject.engine().create(&spec).await.expect("a container");
    assert_eq!(subject.engine().remove_volume(&volume).await.expect("an answer"), Removal::InUse);
    subject.engine().remove(&id).await.expect("removed");
    assert_eq!(subject.engine().remove_volume(&volume).await.expect("an answer"), Removal::Removed);
}

async fn a_container_is_made_once_for_each_start(subject: &dyn Subject) {
    let image = subject.image(Kind::Obedient).await;
    let spec = subject.spec("one", &image);
    let id = subject.engine().create(&spec).await.expect("a container");
    assert_eq!(subject.engine().create(&spec).await.expect("the same"), id);
    subject.engine().start(&id).await.expect("it starts");
    assert_eq!(subject.engine().create(&spec).await.expect("the same"), id);
    let mut later = spec.clone();
    later.labels = subject.labels("another start");
    let error = subject.engine().create(&later).await.expect_err("the name is taken");
    assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
    assert!(!error.is_retryable());
}

async fn a_name_that_somebody_else_has_is_a_conflict(subject: &dyn Subject) {
    let image = subject.image(Kind::Obedient).await;
    let mut theirs = subject.spec("one", &image);
    // Without a start, as a container that somebody made by hand.
    theirs.labels.remove(label::START);
    subject.engine().create(&theirs).await.expect("a container");
    for spec in [theirs, subject.spec("one", &image)] {
        let error = subject.engine().create(&spec).await.expect_err("the name is taken");
        assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
    }
}

async fn a_container_needs_its_image(subject: &dyn Subject) {
    let image = subject.publish(Kind::Obedient).await;
    let spec = subject.spec("one", &image.to_string());
    let error = subject.engine().create(&spec).await.expect_err("it was not pulled");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    assert_eq!(subject.engine().inspect(&spec.name).await.expect("an answer"), None);
}

async fn a_missing_network_is_told_and_leaves_nothing_behind(subject: &dyn Subject) {
    let image = subject.image(Kind::Obedient).await;
    let attach = |what: &str| Attachment { network: subject.name(what), aliases: vec![] };
    let mut spec = subject.spec("one", &image);
    spec.networks = vec![attach("gone")];
    let id = subject.engine().create(&spec).await.expect("it is found missing at the start");
    let error = subject.engine().start(&id).await.expect_err("there is no network");
    assert!(matches!(error, StartError::MissingNetwork { .. }), "{error:?}");
    assert!(error.to_string().contains(&subject.name("gone")), "{error}");
    assert_eq!(subject.engine().remove(&id).await.expect("an answer"), Removal::Removed);

    subject.engine().ensure_network(&network(subject.name("there"))).await.expect("a network");
    let mut spec = subject.spec("two", &image);
    spec.networks = vec![attach("there"), attach("gone")];
    let error = subject.engine().create(&spec).await.expect_err("the second is missing");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    assert_eq!(subject.engine().inspect(&spec.name).await.expect("an answer"), None);
}

async fn a_container_goes_through_its_life_and_every_step_can_be_repeated(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let spec = subject.spec("one", &image);
    let id = engine.create(&spec).await.expect("a container");
    assert_eq!(inspect(subject, &id).await.state, State::Created);
    let never = engine.stop(&id, GRACE).await.expect("an answer").expect("it is there");
    assert_eq!((never.code, never.finished_at), (0, None));

    engine.start(&id).await.expect("it starts");
    let State::Running { started_at, pid } = inspect(subject, &id).await.state else { panic!("it does not run") };
    assert!(started_at.is_some() && pid > 0);
    engine.start(&spec.name).await.expect("it runs already");
    assert_eq!(inspect(subject, &id).await.state, State::Running { started_at, pid }, "it was started again");
    eventually(SOON, || async {
        let tail = engine.logs(&id, 10, 1000).await.map_err(|e| e.to_string())?;
        if tail.text == "hello\n" { Ok(()) } else { Err(tail.text) }
    })
    .await;

    let exit = engine.stop(&id, GRACE).await.expect("an answer").expect("it is there");
    assert_eq!((exit.code, exit.oom_killed), (0, false));
    assert!(exit.finished_at >= started_at);
    assert_eq!(engine.stop(&spec.name, GRACE).await.expect("an answer"), Some(exit));
    assert_eq!(engine.kill(&id).await.expect("an answer"), Some(exit));

    engine.start(&id).await.expect("it starts again");
    assert_eq!(engine.kill(&id).await.expect("an answer").map(|exit| exit.code), Some(137));
    engine.start(&id).await.expect("it starts again");
    assert_eq!(engine.remove(&id).await.expect("an answer"), Removal::Removed);
    assert_eq!(engine.remove(&id).await.expect("an answer"), Removal::Missing);
}

async fn what_is_not_there_is_an_answer(subject: &dyn Subject) {
    let engine = subject.engine();
    let gone = subject.name("gone");
    assert_eq!(engine.inspect(&gone).await.expect("an answer"), None);
    assert_eq!(engine.stop(&gone, GRACE).await.expect("an answer"), None);
    assert_eq!(engine.kill(&gone).await.expect("an answer"), None);
    assert_eq!(engine.remove(&gone).await.expect("an answer"), Removal::Missing);
    assert_eq!(engine.list(subject.run()).await.expect("an answer"), []);
    let started = engine.start(&gone).await.expect_err("nothing is there");
    assert!(matches!(started, StartError::Engine(EngineError::NotFound { .. })), "{started:?}");
    let logs = engine.logs(&gone, 1, 1).await.expect_err("nothing is there");
    assert!(matches!(logs, EngineError::NotFound { .. }), "{logs:?}");
    let upload = engine.upload(&gone, &[file("/a", b"", 0)]).await.expect_err("nothing is there");
    assert!(matches!(upload, EngineError::NotFound { .. }), "{upload:?}");
}

async fn a_process_that_ignores_the_stop_signal_is_killed_after_the_grace(subject: &dyn Subject) {
    let image = subject.image(Kind::Stubborn).await;
    let id = subject.engine().create(&subject.spec("one", &image)).await.expect("a container");
    subject.engine().start(&id).await.expect("it starts");
    let exit = subject.engine().stop(&id, Duration::from_secs(1)).await.expect("an answer").expect("it is there");
    assert_eq!((exit.code, exit.oom_killed), (137, false));
}

async fn a_process_that_ends_by_itself_leaves_its_code_and_its_output(subject: &dyn Subject) {
    let image = subject.image(Kind::Failing).await;
    let id = subject.engine().create(&subject.spec("one", &image)).await.expect("a container");
    subject.engine().start(&id).await.expect("it starts");
    let found = exited(subject, &id).await;
    assert_eq!(found.state.exit().map(|exit| exit.code), Some(3));
    let tail = subject.engine().logs(&id, 10, 1000).await.expect("an answer");
    assert_eq!((tail.text.as_str(), tail.truncated), ("failing\n", false));
}

async fn a_command_that_does_not_exist_is_told(subject: &dyn Subject) {
    let image = subject.image(Kind::Broken).await;
    let id = subject.engine().create(&subject.spec("one", &image)).await.expect("a container");
    let error = subject.engine().start(&id).await.expect_err("it cannot start");
    assert!(matches!(error, StartError::BadCommand { code: 127, .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert!(!inspect(subject, &id).await.state.is_running());
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn published(host_port: u16, container_port: u16) -> PortBinding {
    PortBinding { host_ip: IpAddr::from(Ipv4Addr::LOCALHOST), host_port, container_port, protocol: Protocol::Tcp }
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
    assert_eq!((found.container.as_str(), found.installation.as_deref()), (first.name.as_str(), Some(subject.run())));
    assert_eq!(found.host_ip, Some(taken.host_ip));

    let mut second = subject.spec("second", &image);
    second.ports = vec![published(free_port(), 81), published(taken.host_port, 82)];
    second.networks = attach;
    let second_id = engine.create(&second).await.expect("a container");
    let error = engine.start(&second_id).await.expect_err("the port is taken");
    assert!(matches!(error, StartError::PortTaken { port: Some(port), .. } if port == taken.host_port), "{error:?}");
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
    spec.limits = Limits { memory_bytes: Some(64 << 20), nano_cpus: Some(500_000_000), pids: Some(20), nofile: Some(256) };
    let id = engine.create(&spec).await.expect("a container");
    let again = engine.create(&spec).await.expect("the same");
    assert_eq!(again, id);
    engine.start(&id).await.expect("it starts");
    let found = inspect(subject, &spec.name).await;
    assert_eq!((&found.id, found.name.as_str(), found.image.as_str()), (&id, spec.name.as_str(), image.as_str()));
    let networks: Vec<String> = found.networks.keys().cloned().collect();
    assert_eq!(networks, [subject.name("first"), subject.name("second")]);
    assert_eq!(found.ports, spec.ports);
    assert_eq!(found.label(label::START), Some("one"));
    assert_eq!(found.label("kind"), Some("Obedient"), "labels of the image are there");
    assert_eq!(found.health, Health::None);
}

async fn only_containers_of_the_installation_are_listed(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    for what in ["bb", "aa"] {
        engine.create(&subject.spec(what, &image)).await.expect("a container");
    }
    engine.start(&subject.name("aa")).await.expect("it starts");
    let mut theirs = subject.spec("cc", &image);
    theirs.labels.insert(label::INSTALLATION.into(), format!("{}-other", subject.run()));
    engine.create(&theirs).await.expect("a container");
    let names: Vec<String> = engine.list(subject.run()).await.expect("a list").into_iter().map(|found| found.name).collect();
    assert_eq!(names, [subject.name("aa"), subject.name("bb")]);
    engine.remove(&theirs.name).await.expect("removed");
}

async fn next(events: &mut Events) -> EngineEvent {
    let next = tokio::time::timeout(SOON, events.next()).await.expect("an event in time");
    next.expect("the stream goes on").expect("no error")
}

async fn events_tell_what_happens_to_containers_of_the_installation(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let mut theirs = subject.spec("theirs", &image);
    theirs.labels.insert(label::INSTALLATION.into(), format!("{}-other", subject.run()));
    engine.create(&theirs).await.expect("a container");
    let id = engine.create(&subject.spec("ours", &image)).await.expect("a container");
    let mut events = engine.events(subject.run()).await.expect("a subscription");
    engine.start(&theirs.name).await.expect("it starts");
    engine.start(&id).await.expect("it starts");
    let started = next(&mut events).await;
    assert_eq!((started.action, &started.container, started.name), (EventAction::Start, &id, subject.name("ours")));
    assert_eq!(started.labels.get(label::START).map(String::as_str), Some("ours"));
    assert!(started.at.is_some());
    subject.crash(&id).await;
    assert_eq!(next(&mut events).await.action, EventAction::Die { code: 137 });
    engine.start(&id).await.expect("it starts again");
    assert_eq!(next(&mut events).await.action, EventAction::Start);
    engine.remove(&theirs.name).await.expect("removed");
    engine.remove(&id).await.expect("removed");
    assert_eq!(next(&mut events).await.action, EventAction::Die { code: 137 });
    assert_eq!(next(&mut events).await.action, EventAction::Destroy);
}

async fn an_event_between_subscription_and_first_look_is_not_lost(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Failing).await;
    let id = engine.create(&subject.spec("one", &image)).await.expect("a container");
    let mut events = engine.events(subject.run()).await.expect("a subscription");
    engine.start(&id).await.expect("it starts");
    exited(subject, &id).await;
    assert_eq!(next(&mut events).await.action, EventAction::Start);
    assert_eq!(next(&mut events).await.action, EventAction::Die { code: 3 });
}

async fn a_health_check_is_shown_and_told(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Checked).await;
    let id = engine.create(&subject.spec("one", &image)).await.expect("a container");
    let mut events = engine.events(subject.run()).await.expect("a subscription");
    engine.start(&id).await.expect("it starts");
    assert_eq!(next(&mut events).await.action, EventAction::Start);
    subject.decide_health(&id, Health::Healthy).await;
    assert_eq!(next(&mut events).await.action, EventAction::Healthy);
    assert_eq!(inspect(subject, &id).await.health, Health::Healthy);
    subject.decide_health(&id, Health::Unhealthy).await;
    assert_eq!(next(&mut events).await.action, EventAction::Unhealthy);
    assert_eq!(inspect(subject, &id).await.health, Health::Unhealthy);
}

async fn the_log_is_bounded(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Failing).await;
    let id = engine.create(&subject.spec("one", &image)).await.expect("a container");
    for _ in 0..3 {
        engine.start(&id).await.expect("it starts");
        exited(subject, &id).await;
    }
    let tail = engine.logs(&id, 2, 1000).await.expect("an answer");
    assert_eq!((tail.text.as_str(), tail.truncated), ("failing\nfailing\n", true));
    let tail = engine.logs(&id, 3, 1000).await.expect("an answer");
    assert_eq!((tail.text.as_str(), tail.truncated), ("failing\nfailing\nfailing\n", false));
    let tail = engine.logs(&id, 3, 4).await.expect("an answer");
    assert_eq!((tail.text.as_str(), tail.truncated), ("ing\n", true));
}

fn file(path: &str, bytes: &[u8], uid: u32) -> UploadFile {
    UploadFile { path: path.into(), bytes: bytes.into(), owner: Owner { uid, gid: uid }, mode: 0o400 }
}

async fn files_and_owners_are_set_in_a_created_container(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let mut spec = subject.spec("one", &image);
    let source = MountSource::Volume(subject.name("data"));
    spec.mounts = vec![Mount { source, target: "/var/lib/data".into(), read_only: false }];
    let id = engine.create(&spec).await.expect("a container");
    for _ in 0..2 {
        engine.set_owner(&id, "/var/lib/data", Owner { uid: 1234, gid: 5678 }).await.expect("the owner is set");
        let files = [file("/config/plugin.json", b"{}", 1234), file("/config/deep/er/x", b"y", 0), file("/tmp/z", b"", 0)];
        engine.upload(&id, &files).await.expect("the files are there");
    }
    let error = engine.set_owner(&id, "/not/mounted", Owner { uid: 1, gid: 1 }).await.expect_err("nothing is there");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    engine.upload(&id, &[]).await.expect("nothing to do");
    engine.start(&id).await.expect("it starts");
}

async fn what_could_mean_something_else_is_refused_before_it_is_sent(subject: &dyn Subject) {
    let engine = subject.engine();
    fn invalid<T: std::fmt::Debug>(answer: Result<T, EngineError>) {
        let error = answer.expect_err("it is refused");
        assert!(matches!(error, EngineError::Invalid { .. }), "{error:?}");
    }
    for name in ["", "../info", "a/json?x=", "cafe", "a b"] {
        invalid(engine.inspect(name).await);
        invalid(engine.stop(name, GRACE).await);
        invalid(engine.kill(name).await);
        invalid(engine.remove(name).await);
        invalid(engine.logs(name, 1, 1).await);
        invalid(engine.upload(name, &[]).await);
        invalid(engine.network(name).await);
        invalid(engine.remove_network(name).await);
        invalid(engine.ensure_volume(name, &BTreeMap::new()).await);
        invalid(engine.remove_volume(name).await);
        assert!(matches!(engine.start(name).await, Err(StartError::Engine(EngineError::Invalid { .. }))));
    }
    for reference in ["", "../info", "a?b", "a b"] {
        invalid(engine.image(reference).await);
        invalid(engine.remove_image(reference).await);
        invalid(engine.read_file(reference, "/plugin.json", 1).await);
        invalid(engine.create(&subject.spec("one", reference)).await);
    }
    invalid(engine.read_file("image", "/../plugin.json", 1).await);
    invalid(engine.upload("container", &[file("plugin.json", b"", 0)]).await);
}
