//! Plugins with published ports and without a way out: their forwarder comes, goes and is put right with them.

use super::*;
use crate::engine::{Container, HostEntry, Removal, StartError, label};
use crate::policy::{PLUGIN_LABEL, ROLE_LABEL};

const LONG: Duration = Duration::from_secs(600);

fn with_ports() -> Value {
    json!({
        "id": "focuser", "name": "Focuser", "version": "1.0.0", "start_timeout_seconds": 30,
        "docker": {"ports": ["8080:80", "127.0.0.2:8080:80", "5353:53/udp"]}
    })
}

impl Stage {
    /// Installed on an engine that has the forwarder's image.
    async fn forwarding(manifest: Value) -> Self {
        let stage = Self::with(manifest, "1000:1000").await;
        stage.engine.load(FakeImage::new(stage.ctx.policy.forwarder_image()));
        stage.install().await;
        stage
    }

    fn forwarder_name(&self) -> String {
        self.ctx.policy.forwarder_name(&self.id)
    }

    async fn forwarder(&self) -> Option<Container> {
        self.engine.inspect(&self.forwarder_name()).await.expect("answers")
    }

    async fn stops(&self) {
        self.ask("stop", Work::Stop, Some(Desired::Stopped), LONG).await;
        self.settle().await;
        assert_eq!(self.succeeds("stop").await["phase"], "stopped");
    }
}

#[tokio::test]
async fn the_forwarder_publishes_the_ports_and_the_plugin_has_no_way_out() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.start().await;
    assert_eq!(stage.succeeds("start").await["phase"], "running");
    let start = stage.record().await.expect("installed").start.expect("a start").id;
    let plugin = stage.engine.spec(&stage.ctx.policy.container_name(&stage.id)).expect("its container");
    assert_eq!(plugin.ports, []);
    let networks: Vec<&str> = plugin.networks.iter().map(|a| a.network.as_str()).collect();
    assert_eq!(networks, ["bigskies-network"]);
    let target = format!("bigskies-start-{start}");
    assert!(plugin.networks[0].aliases.contains(&target), "{plugin:?}");
    assert!(target.len() <= 63, "no resolver asks for a longer name");

    let forwarder = stage.engine.spec(&stage.forwarder_name()).expect("its container");
    let command = format!("--to {target} --tcp 10000:80 --udp 10001:53");
    assert_eq!(forwarder.command.expect("a command").join(" "), command);
    let ports: Vec<(String, u16, u16)> =
        forwarder.ports.iter().map(|p| (p.host_ip.to_string(), p.host_port, p.container_port)).collect();
    let expected = [("127.0.0.1", 8080, 10000), ("127.0.0.2", 8080, 10000), ("127.0.0.1", 5353, 10001)];
    assert_eq!(ports, expected.map(|(ip, host, inside)| (ip.to_owned(), host, inside)));
    assert!(forwarder.read_only && forwarder.mounts.is_empty() && forwarder.devices.is_empty());
    let nobody = Some(std::net::Ipv4Addr::LOCALHOST.into());
    assert_eq!((plugin.resolver, forwarder.resolver), (nobody, nobody), "no name leads out");
    assert!(forwarder.env.is_empty(), "it has no secret");
    assert_eq!(forwarder.user.as_deref(), Some("65534:65534"));
    assert!(forwarder.limits.pids.is_some() && forwarder.limits.memory_bytes.is_some());
    let labels = &forwarder.labels;
    for (name, value) in [
        (label::START, start.to_string()),
        (PLUGIN_LABEL, "focuser".into()),
        (ROLE_LABEL, "forwarder".into()),
    ] {
        assert_eq!(labels.get(name), Some(&value));
    }
    let outside =
        stage.engine.network("bigskies-network-ports").await.expect("answers").expect("it was made");
    assert!(!outside.internal && !outside.masquerade && !outside.icc);

    stage.stops().await;
    assert_eq!(stage.containers().await, 0);
    let gone = Desired::Absent { remove_volumes: true };
    stage.ask("remove", Work::Remove, Some(gone), LONG).await;
    stage.settle().await;
    stage.succeeds("remove").await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn a_plugin_with_internet_publishes_its_ports_itself() {
    let mut manifest = with_ports();
    manifest["capabilities"] = json!({"requires_internet": true});
    let stage = Stage::forwarding(manifest).await;
    stage.start().await;
    stage.succeeds("start").await;
    let plugin = stage.engine.spec(&stage.ctx.policy.container_name(&stage.id)).expect("its container");
    assert_eq!((plugin.ports.len(), plugin.networks.len()), (3, 2));
    assert!(stage.forwarder().await.is_none());
}

#[tokio::test]
async fn a_life_with_a_forwarder_ends_the_same_when_any_call_fails_once_or_its_answer_is_lost() {
    let verbs = [
        Verb::Image,
        Verb::Network,
        Verb::EnsureNetwork,
        Verb::Create,
        Verb::Start,
        Verb::Stop,
        Verb::Remove,
        Verb::Inspect,
    ];
    for verb in verbs {
        for lost in [false, true] {
            let stage = Stage::forwarding(with_ports()).await;
            for _ in 0..3 {
                let away =
                    EngineError::Unreachable { doing: verb, on: "focuser".into(), source: "test".into() };
                match lost {
                    true => stage.engine.lose_next_answer(verb, away),
                    false => stage.engine.fail_next(verb, away),
                }
            }
            stage.start().await;
            assert_eq!(stage.succeeds("start").await["phase"], "running", "{verb:?}");
            assert_eq!(stage.containers().await, 2, "{verb:?}");
            stage.stops().await;
            assert_eq!(stage.containers().await, 0, "{verb:?}");
        }
    }
}

#[tokio::test]
async fn a_forwarder_that_ended_or_was_removed_is_put_right_and_the_plugin_runs_on() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.start().await;
    stage.succeeds("start").await;
    let plugin = stage.ctx.policy.container_name(&stage.id);
    let before = stage.engine.inspect(&plugin).await.expect("answers");
    let first = stage.forwarder().await.expect("it runs").id;
    assert!(stage.engine.crash(&stage.forwarder_name(), 137));
    stage.settle().await;
    let mended = stage.forwarder().await.expect("it is there");
    assert!(mended.state.is_running());
    assert_eq!(mended.id, first, "it was only started again");
    stage.engine.remove(&first).await.expect("somebody removes it");
    stage.settle().await;
    let anew = stage.forwarder().await.expect("it is there");
    assert!(anew.state.is_running() && anew.id != first);
    assert_eq!(stage.engine.inspect(&plugin).await.expect("answers"), before);
}

#[tokio::test]
async fn a_plugin_runs_on_while_its_forwarder_cannot_be_put_right() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.start().await;
    stage.succeeds("start").await;
    stage.engine.crash(&stage.forwarder_name(), 1);
    stage.engine.occupy_port(8080, true);
    for _ in 0..5 {
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    let record = stage.record().await.expect("installed");
    assert_eq!(record.standing.phase, Phase::Running);
    let plugin = stage.engine.inspect(&stage.ctx.policy.container_name(&stage.id)).await.expect("answers");
    assert!(plugin.expect("it is there").state.is_running());
    stage.engine.occupy_port(8080, false);
    stage.settle().await;
    assert!(stage.forwarder().await.expect("it is there").state.is_running());
}

#[tokio::test]
async fn a_forwarder_is_put_right_while_the_other_coordinators_are_away() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.start().await;
    stage.succeeds("start").await;
    *stage.peers.away.lock().expect("not poisoned") = true;
    stage.engine.crash(&stage.forwarder_name(), 1);
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    for _ in 0..3 {
        worker.pass().await;
    }
    assert!(worker.confirmed.is_none(), "nobody can be asked for its token");
    assert!(stage.forwarder().await.expect("it is there").state.is_running());
}

#[tokio::test]
async fn a_forwarder_that_cannot_be_put_right_holds_no_token_up() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.start().await;
    stage.succeeds("start").await;
    stage.engine.crash(&stage.forwarder_name(), 1);
    stage.engine.occupy_port(8080, true);
    stage.peers.tokens.lock().expect("not poisoned").clear();
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    for _ in 0..4 {
        worker.pass().await;
    }
    assert_eq!(stage.peers.tokens.lock().expect("not poisoned").len(), 1);
    stage.engine.occupy_port(8080, false);
    for _ in 0..2 {
        worker.pass().await;
    }
    assert!(stage.forwarder().await.expect("it is there").state.is_running());
}

#[tokio::test]
async fn a_port_that_is_taken_fails_the_start_and_leaves_nothing() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.engine.occupy_port(8080, true);
    stage.start().await;
    stage.fails("start", ErrorCode::PortTaken).await;
    assert_eq!(stage.containers().await, 0);
}

#[tokio::test]
async fn without_the_forwarders_image_a_start_fails_and_says_how_to_build_it() {
    let stage = Stage::forwarding(with_ports()).await;
    let image = stage.ctx.policy.forwarder_image();
    assert_eq!(stage.engine.remove_image(image).await.expect("answers"), Removal::Removed);
    stage.start().await;
    let error = stage.fails("start", ErrorCode::StartFailed).await;
    assert!(error.message.contains("deploy/build-images.sh forwarder"), "{}", error.message);
    assert_eq!(stage.containers().await, 0);
}

#[tokio::test]
async fn a_lost_plugin_takes_its_forwarder_along_and_both_are_made_anew() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.start().await;
    stage.succeeds("start").await;
    let before = stage.forwarder().await.expect("it runs").id;
    stage.engine.remove(&stage.ctx.policy.container_name(&stage.id)).await.expect("somebody removes it");
    stage.settle().await;
    let after = stage.forwarder().await.expect("it is there");
    assert!(after.state.is_running() && after.id != before);
    let start = stage.record().await.expect("installed").start.expect("a start").id.to_string();
    assert_eq!(after.label(label::START), Some(start.as_str()));
    assert_eq!(stage.containers().await, 2);
}

#[tokio::test]
async fn a_start_that_is_taken_again_does_not_forget_the_health_that_was_heard() {
    let stage = Stage::new().await;
    stage.install().await;
    let away = EngineError::Unreachable { doing: Verb::Start, on: "focuser".into(), source: "test".into() };
    stage.engine.lose_next_answer(Verb::Start, away);
    stage.ask("start", Work::Start, Some(Desired::Running), LONG).await;
    // Until the process runs, although nobody was told.
    for _ in 0..20 {
        if stage.engine.count(Verb::Start) > 0 {
            break;
        }
        stage.surroundings().await;
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    stage.surroundings().await;
    assert!(stage.ctx.health.has_reported(&stage.id));
    Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    assert!(stage.ctx.health.has_reported(&stage.id), "it reports only once in a while");
    stage.settle().await;
    stage.succeeds("start").await;
}

#[tokio::test]
async fn a_folder_of_the_host_that_is_a_link_is_not_mounted() {
    let own = "/var/lib/bigskies/plugins/focuser";
    let manifest = json!({"id": "focuser", "name": "Focuser", "version": "1.0.0", "docker": {"volumes": [format!("{own}:/data")]}});
    let stage = Stage::with(manifest, "1000:1000").await;
    stage.install().await;
    stage.engine.set_host_entry(own, HostEntry::Link);
    stage.start().await;
    let error = stage.fails("start", ErrorCode::StartFailed).await;
    assert!(error.message.contains(own) && error.message.contains("a link"), "{}", error.message);
    assert_eq!((stage.containers().await, stage.engine.count(Verb::Create)), (0, 0));
    stage.engine.set_host_entry(own, HostEntry::Folder);
    stage.ask("again", Work::Start, Some(Desired::Running), LONG).await;
    stage.settle().await;
    stage.succeeds("again").await;

    // A process that plants one and ends is not started again on it: the same container has its binds made anew.
    let started = stage.engine.count(Verb::Start);
    stage.engine.set_host_entry(own, HostEntry::Link);
    stage.ask("restart", Work::Restart { stopped: false }, None, LONG).await;
    stage.settle().await;
    let error = stage.fails("restart", ErrorCode::StartFailed).await;
    assert!(error.message.contains("a link"), "{}", error.message);
    assert_eq!(stage.engine.count(Verb::Start), started);
    assert!(stage.engine.all().iter().all(|container| !container.state.is_running()));
}

#[tokio::test]
async fn what_cannot_be_started_is_told_in_the_words_of_the_port() {
    let stage = Stage::forwarding(with_ports()).await;
    stage.engine.fail_next(Verb::Start, StartError::MissingNetwork { message: "network x not found".into() });
    stage.start().await;
    stage.fails("start", ErrorCode::StartFailed).await;
    assert_eq!(stage.containers().await, 0);
}
