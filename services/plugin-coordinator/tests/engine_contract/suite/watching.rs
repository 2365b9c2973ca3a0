//! Lists, events, health and output.

use super::{SOON, exited, inspect};
use crate::subject::{Kind, Subject};
use futures_util::StreamExt;
use plugin_coordinator::engine::{EngineEvent, EventAction, Events, Health, label};

contract! {
    only_containers_of_the_installation_are_listed
    events_tell_what_happens_to_containers_of_the_installation
    an_event_between_subscription_and_first_look_is_not_lost
    a_health_check_is_shown_and_told
    the_log_is_bounded
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
    let names: Vec<String> =
        engine.list(subject.run()).await.expect("a list").into_iter().map(|found| found.name).collect();
    assert_eq!(names, [subject.name("aa"), subject.name("bb")]);
    engine.remove(&theirs.name).await.expect("removed");
}

pub(super) async fn next(events: &mut Events) -> EngineEvent {
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
    assert_eq!(
        (started.action, &started.container, started.name),
        (EventAction::Start, &id, subject.name("ours"))
    );
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
