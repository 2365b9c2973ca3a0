//! Containers from their making to their removal.

use super::{GRACE, SOON, exited, file, inspect};
use crate::subject::{Kind, Subject};
use plugin_coordinator::engine::{EngineError, Mount, MountSource, Owner, Removal, StartError, State, label};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::eventually;

contract! {
    a_container_is_made_once_for_each_start
    a_name_that_somebody_else_has_is_a_conflict
    a_container_needs_its_image
    a_container_goes_through_its_life_and_every_step_can_be_repeated
    what_is_not_there_is_an_answer
    a_process_that_ignores_the_stop_signal_is_killed_after_the_grace
    a_process_that_ends_by_itself_leaves_its_code_and_its_output
    a_command_that_does_not_exist_is_told
    files_and_owners_are_set_in_a_created_container_and_read_back
    what_could_mean_something_else_is_refused_before_it_is_sent
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

async fn a_container_goes_through_its_life_and_every_step_can_be_repeated(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let spec = subject.spec("one", &image);
    let id = engine.create(&spec).await.expect("a container");
    assert_eq!(inspect(subject, &id).await.state, State::Created);
    let never = engine.stop(&id, GRACE).await.expect("an answer").expect("it is there");
    assert_eq!((never.code, never.finished_at), (0, None));

    engine.start(&id).await.expect("it starts");
    let State::Running { started_at, pid } = inspect(subject, &id).await.state else {
        panic!("it does not run")
    };
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
    let exit =
        subject.engine().stop(&id, Duration::from_secs(1)).await.expect("an answer").expect("it is there");
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

async fn files_and_owners_are_set_in_a_created_container_and_read_back(subject: &dyn Subject) {
    let engine = subject.engine();
    let image = subject.image(Kind::Obedient).await;
    let mut spec = subject.spec("one", &image);
    let source = MountSource::Volume(subject.name("data"));
    spec.mounts = vec![Mount { source, target: "/var/lib/data".into(), read_only: false }];
    let id = engine.create(&spec).await.expect("a container");
    for _ in 0..2 {
        engine
            .set_owner(&id, "/var/lib/data", Owner { uid: 1234, gid: 5678 })
            .await
            .expect("the owner is set");
        let files = [
            file("/config/plugin.json", b"{}", 1234),
            file("/config/deep/er/x", b"y", 0),
            file("/tmp/z", b"", 0),
        ];
        engine.upload(&id, &files).await.expect("the files are there");
    }
    let error =
        engine.set_owner(&id, "/not/mounted", Owner { uid: 1, gid: 1 }).await.expect_err("nothing is there");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    engine.upload(&id, &[]).await.expect("nothing to do");
    let back = |path: &'static str, most| engine.read_back(&id, path, most);
    for starts in [true, false] {
        assert_eq!(back("/config/plugin.json", 2).await.expect("an answer"), Some(b"{}".to_vec()));
        assert_eq!(back("/config/deep/er/x", 99).await.expect("an answer"), Some(b"y".to_vec()));
        assert_eq!(back("/config/missing", 99).await.expect("an answer"), None);
        let error = back("/config/plugin.json", 1).await.expect_err("it is too large");
        assert!(matches!(error, EngineError::NotPlain { limit: 1, .. }), "{error:?}");
        if starts {
            engine.start(&id).await.expect("it starts");
        }
    }
    let nobody = subject.name("nobody");
    assert_eq!(engine.read_back(&nobody, "/config/plugin.json", 2).await.expect("an answer"), None);
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
