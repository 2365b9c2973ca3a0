//! What tests can do with the fake.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use plugin_coordinator::engine::fake::{Call, FakeEngine, FakeImage};
use plugin_coordinator::engine::{
    Engine, EngineError, EventAction, ImageRef, RegistryLogin, StartError, Verb, label,
};

use crate::subject::{Fake, Kind, Subject};

fn timeout() -> EngineError {
    EngineError::Timeout { doing: Verb::Create, on: "x".into(), after: Duration::from_secs(1) }
}

#[tokio::test]
async fn a_scripted_failure_has_no_effect_and_happens_once() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    let spec = fake.spec("one", &image);
    fake.engine.fail_next(Verb::Create, timeout());
    assert!(fake.engine.create(&spec).await.is_err());
    assert_eq!(fake.engine.all(), []);
    fake.engine.create(&spec).await.expect("it works again");
    fake.engine.fail_next(Verb::Start, StartError::MissingNetwork { message: "gone".into() });
    assert!(matches!(fake.engine.start(&spec.name).await, Err(StartError::MissingNetwork { .. })));
    fake.engine.start(&spec.name).await.expect("it works again");
}

#[tokio::test]
async fn a_lost_answer_has_its_effect() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    fake.engine.lose_next_answer(Verb::Create, timeout());
    assert!(fake.engine.create(&fake.spec("one", &image)).await.is_err());
    assert_eq!(fake.engine.all().len(), 1);
}

#[tokio::test]
async fn calls_are_recorded_in_their_order() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    fake.engine.clear_calls();
    fake.engine.create(&fake.spec("one", &image)).await.expect("a container");
    fake.engine.start(&fake.name("one")).await.expect("it starts");
    let call = |verb| Call { verb, on: fake.name("one") };
    assert_eq!(fake.engine.calls(), [call(Verb::Create), call(Verb::Start)]);
    assert_eq!(fake.engine.count(Verb::Start), 1);
}

#[tokio::test]
async fn a_held_verb_waits_and_others_do_not() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    let hold = fake.engine.hold(Verb::Create);
    let engine = fake.engine.clone();
    let spec = fake.spec("one", &image);
    let task = tokio::spawn(async move { engine.create(&spec).await });
    while fake.engine.count(Verb::Create) == 0 {
        tokio::task::yield_now().await;
    }
    fake.engine.info().await.expect("others go on");
    assert_eq!(fake.engine.all(), []);
    drop(hold);
    task.await.expect("no panic").expect("it goes on");
}

#[tokio::test]
async fn a_caller_can_be_dropped_before_and_after_the_effect() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    for (polls, made) in [(1, 0), (2, 1)] {
        let spec = fake.spec("one", &image);
        let mut call = fake.engine.create(&spec);
        for _ in 0..polls {
            poll_fn(|context| {
                assert!(call.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        drop(call);
        assert_eq!(fake.engine.all().len(), made, "after {polls} polls");
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_ends_subscriptions_and_fails_calls() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    fake.engine.create(&fake.spec("one", &image)).await.expect("a container");
    fake.engine.start(&fake.name("one")).await.expect("it starts");
    let mut events = fake.engine.events(fake.run()).await.expect("a subscription");
    fake.engine.go_down();
    assert!(matches!(events.next().await, Some(Err(EngineError::Unreachable { .. }))));
    assert!(events.next().await.is_none());
    assert!(fake.engine.list(fake.run()).await.expect_err("it is away").is_retryable());
    fake.engine.come_back(true);
    assert!(fake.engine.all()[0].state.is_running(), "with live restore it runs on");
    fake.engine.go_down();
    fake.engine.come_back(false);
    assert_eq!(fake.engine.all()[0].state.exit().map(|exit| exit.code), Some(137));
}

#[tokio::test]
async fn memory_and_ports_run_out() {
    let fake = Fake::new();
    let image = fake.image(Kind::Obedient).await;
    fake.engine.create(&fake.spec("one", &image)).await.expect("a container");
    fake.engine.start(&fake.name("one")).await.expect("it starts");
    let mut events = fake.engine.events(fake.run()).await.expect("a subscription");
    assert!(fake.engine.run_out_of_memory(&fake.name("one")));
    assert!(!fake.engine.run_out_of_memory(&fake.name("one")), "it does not run any more");
    for action in [EventAction::Oom, EventAction::Die { code: 137 }] {
        assert_eq!(events.next().await.expect("an event").expect("no error").action, action);
    }
    let mut spec = fake.spec("two", &image);
    spec.ports = vec![plugin_coordinator::engine::PortBinding {
        host_ip: [127, 0, 0, 1].into(),
        host_port: 8080,
        container_port: 80,
        protocol: plugin_coordinator::engine::Protocol::Tcp,
    }];
    fake.engine.create(&spec).await.expect("a container");
    fake.engine.occupy_port(8080, true);
    assert!(matches!(
        fake.engine.start(&spec.name).await,
        Err(StartError::PortTaken { port: Some(8080), .. })
    ));
    fake.engine.occupy_port(8080, false);
    fake.engine.start(&spec.name).await.expect("it is free");
}

#[tokio::test]
async fn a_private_image_needs_its_login() {
    let engine = FakeEngine::new();
    let reference: ImageRef = format!("private/a@sha256:{:064x}", 1).parse().expect("a reference");
    let login = RegistryLogin { host: "private".into(), username: "u".into(), password: "p".into() };
    let mut image = FakeImage::new(reference.to_string());
    image.login = Some(login.clone());
    engine.publish(image);
    assert!(engine.pull(&reference, None, &mut |_| {}).await.is_err());
    engine.pull(&reference, Some(&login), &mut |_| {}).await.expect("the login opens it");
}

#[tokio::test]
async fn an_image_cannot_label_itself_into_another_installation() {
    let fake = Fake::new();
    let image = FakeImage::new("evil")
        .with_label(label::INSTALLATION, "victim")
        .with_label(label::THROW_AWAY, "victim");
    fake.engine.load(image);
    let mut spec = fake.spec("one", "evil");
    spec.labels.clear();
    fake.engine.create(&spec).await.expect("a container");
    assert_eq!(fake.engine.list("victim").await.expect("a list"), []);
}
