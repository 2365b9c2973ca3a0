//! What somebody changes of a container by hand: it is seen, told, and put right.

use super::watching::next;
use super::{inspect, network};
use crate::subject::{Kind, Subject};
use plugin_coordinator::engine::{Attachment, Change, EngineError, EventAction, Limits, StartError, State};

const MIB: u64 = 1 << 20;

contract! {
    a_container_that_somebody_holds_goes_on
    a_container_that_was_renamed_gets_its_name_back
    a_container_is_put_on_a_network_and_taken_off_it
    bounds_are_seen_and_put_right
    what_is_not_there_cannot_be_put_right
}

async fn a_container_that_somebody_holds_goes_on(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let id = engine.create(&subject.spec("one", &image)).await.expect("a container");
    engine.start(&id).await.expect("it starts");
    engine.adjust(&id, &Change::Resume).await.expect("it is not held");
    let mut events = engine.events(subject.run()).await.expect("a subscription");
    subject.hold(&id).await;
    assert_eq!(next(&mut events).await.action, EventAction::Pause);
    assert_eq!(inspect(subject, &id).await.state, State::Paused);
    let error = engine.start(&id).await.expect_err("it is held");
    assert!(matches!(error, StartError::Engine(EngineError::Conflict { .. })), "{error:?}");
    engine.adjust(&id, &Change::Resume).await.expect("it goes on");
    assert_eq!(next(&mut events).await.action, EventAction::Unpause);
    assert!(matches!(inspect(subject, &id).await.state, State::Running { .. }));
}

async fn a_container_that_was_renamed_gets_its_name_back(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let spec = subject.spec("one", &image);
    let id = engine.create(&spec).await.expect("a container");
    engine.start(&id).await.expect("it starts");
    let mut events = engine.events(subject.run()).await.expect("a subscription");
    engine.adjust(&id, &Change::Rename(subject.name("other"))).await.expect("renamed");
    let told = next(&mut events).await;
    assert_eq!((told.action, told.name), (EventAction::Rename, subject.name("other")));
    assert_eq!(engine.inspect(&spec.name).await.expect("an answer"), None);
    for _ in 0..2 {
        engine.adjust(&id, &Change::Rename(spec.name.clone())).await.expect("renamed, or so already");
        assert_eq!(inspect(subject, &spec.name).await.id, id);
    }
    engine.create(&subject.spec("two", &image)).await.expect("a container");
    let error = engine.adjust(&id, &Change::Rename(subject.name("two"))).await.expect_err("it is taken");
    assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
}

async fn a_container_is_put_on_a_network_and_taken_off_it(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let names = [subject.name("net-a"), subject.name("net-b")];
    for name in &names {
        engine.ensure_network(&network(name.clone())).await.expect("a network");
    }
    let attach = |name: &String| Attachment { network: name.clone(), aliases: vec!["one".into()] };
    let mut spec = subject.spec("one", &image);
    spec.networks = vec![attach(&names[0])];
    let id = engine.create(&spec).await.expect("a container");
    engine.start(&id).await.expect("it starts");
    for _ in 0..2 {
        engine.adjust(&id, &Change::Connect(attach(&names[1]))).await.expect("it is on it");
        let on: Vec<String> = inspect(subject, &id).await.networks.into_keys().collect();
        assert_eq!(on, names);
    }
    for _ in 0..2 {
        engine.adjust(&id, &Change::Disconnect(names[0].clone())).await.expect("it is off it");
        let on: Vec<String> = inspect(subject, &id).await.networks.into_keys().collect();
        assert_eq!(on, [names[1].clone()]);
    }
    let nowhere = Change::Connect(attach(&subject.name("nowhere")));
    let error = engine.adjust(&id, &nowhere).await.expect_err("there is no such network");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

async fn bounds_are_seen_and_put_right(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let wanted = Limits {
        memory_bytes: Some(64 * MIB),
        nano_cpus: Some(500_000_000),
        pids: Some(50),
        nofile: Some(1024),
    };
    let mut spec = subject.spec("one", &image);
    spec.limits = wanted;
    let id = engine.create(&spec).await.expect("a container");
    engine.start(&id).await.expect("it starts");
    let before = inspect(subject, &id).await;
    assert!(before.limits.are_as(&wanted), "{:?}", before.limits);
    assert!(!before.engine_restarts);
    let loose =
        Limits { memory_bytes: Some(128 * MIB), nano_cpus: Some(900_000_000), pids: Some(99), nofile: None };
    let mut events = engine.events(subject.run()).await.expect("a subscription");
    subject.loosen(&id, loose).await;
    assert_eq!(next(&mut events).await.action, EventAction::Update);
    let changed = inspect(subject, &id).await;
    assert!(changed.limits.are_as(&loose), "{:?}", changed.limits);
    assert!(changed.engine_restarts);
    for _ in 0..2 {
        engine.adjust(&id, &Change::Bound(wanted)).await.expect("put right, or right already");
        let after = inspect(subject, &id).await;
        assert!(after.limits.are_as(&wanted), "{:?}", after.limits);
        assert!(!after.engine_restarts);
        assert_eq!(after.state, before.state, "its process is the same");
    }
}

async fn what_is_not_there_cannot_be_put_right(subject: &dyn Subject) {
    let engine = subject.engine();
    let gone = subject.name("gone");
    for change in [Change::Resume, Change::Disconnect("a-network".into()), Change::Bound(Limits::default())] {
        let error = engine.adjust(&gone, &change).await.expect_err("it is not there");
        assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    }
    let odd = engine.adjust(&gone, &Change::Rename("../x".into())).await.expect_err("no name");
    assert!(matches!(odd, EngineError::Invalid { .. }), "{odd:?}");
}
