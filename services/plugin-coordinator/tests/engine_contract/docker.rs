//! What only a real engine can show.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::{StreamExt, TryStreamExt};
use plugin_coordinator::engine::{DockerEngine, Engine, EngineError, ImageRef, RegistryLogin, label};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::hostile::{self, Answer, Hostile};
use crate::push::{self, PushedImage, push};
use crate::subject::{Kind, Real, Subject};

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable_at_each_call_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = DockerEngine::new(folder.path().join("none.sock").display().to_string(), "x");
    for _ in 0..2 {
        let error = engine.info().await.expect_err("nothing is there");
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        assert!(error.is_retryable());
    }
    let error = engine.events("x").await.err().expect("nothing is there");
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_says_nothing_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("silent.sock");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let engine = DockerEngine::new(socket.display().to_string(), "x");
    let error = engine.inspect("container").await.expect_err("nobody answers");
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    assert!(error.is_retryable());
}

/// A way to the engine that can be cut.
struct Way {
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Way {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("way.sock");
        let task = tokio::spawn(Self::serve(UnixListener::bind(&socket).expect("a socket")));
        Self { socket, task, _folder: folder }
    }

    async fn serve(listener: UnixListener) {
        let engine = testkit::engine();
        let mut open = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let engine = engine.clone();
            open.spawn(async move {
                let mut far = UnixStream::connect(engine).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    }

    async fn cut(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        std::fs::remove_file(&self.socket).expect("it is there");
    }

    fn mend(&mut self) {
        self.task = tokio::spawn(Self::serve(UnixListener::bind(&self.socket).expect("a socket")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_ends_the_events_and_the_next_call_connects_again() {
    let mut way = Way::open();
    let engine = DockerEngine::new(way.socket.display().to_string(), "nobody");
    let mut events = engine.events("nobody").await.expect("a subscription");
    let waiting = tokio::spawn(async move {
        let first = events.next().await;
        (first, events.next().await.is_none())
    });
    // The subscription is a connection of its own, made when it is looked at.
    tokio::task::yield_now().await;
    engine.info().await.expect("it answers");
    way.cut().await;
    let (first, ended) = waiting.await.expect("no panic");
    assert!(matches!(first, Some(Err(EngineError::Unreachable { .. }))), "{first:?}");
    assert!(ended);
    assert!(engine.info().await.expect_err("it is cut").is_unreachable());
    way.mend();
    engine.info().await.expect("it answers again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_with_a_login_works_for_passwords_of_every_kind() {
    Real::test(|real| async move {
        // In standard base64 these give + and /, which the engine does not read.
        for password in ["secret", "~~~???>>>", "ÿþ~?>ÿþ~?>", "a\"b\\c"] {
            let registry = testkit::Registry::with_login("user", password).await;
            let repository = format!("{}/{}/private", registry.address(), real.run());
            let image =
                PushedImage { config: json!({"Labels": {"password": password}}), ..Default::default() };
            let digest = push(&format!("{repository}:1"), &image, Some(("user", password))).await;
            let reference: ImageRef = format!("{repository}@{digest}").parse().expect("a reference");
            let login = |password: &str| RegistryLogin {
                host: registry.address(),
                username: "user".into(),
                password: password.into(),
            };
            let refused = real.engine.pull(&reference, None, &mut |_| {}).await;
            assert!(refused.is_err(), "it wants a login");
            let refused = real.engine.pull(&reference, Some(&login("wrong")), &mut |_| {}).await;
            assert!(refused.is_err(), "it wants the right login");
            real.engine.pull(&reference, Some(&login(password)), &mut |_| {}).await.expect(password);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_a_file_leaves_nothing_behind_when_nobody_waits_for_it() {
    Real::test(|real| async move {
        let image = real.image(Kind::Files).await;
        let now = real.docker.info().await.expect("it answers").system_time;
        let now: jiff::Timestamp = now.expect("a time").parse().expect("a time");
        let options = EventsOptions {
            since: Some(now.as_second().to_string()),
            filters: Some(HashMap::from([
                ("event".to_owned(), vec!["destroy".to_owned()]),
                ("label".to_owned(), vec![format!("run={}", real.run())]),
            ])),
            ..Default::default()
        };
        let destroyed = real.docker.events(Some(options));
        let waits = [0, 1, 5, 20, 40];
        for wait in waits {
            let read = real.engine.read_file(&image, "/plugin.json", 100);
            let _ = tokio::time::timeout(Duration::from_millis(wait), read).await;
        }
        // Each of them makes a container late, and removes it.
        let all = destroyed.take(waits.len()).try_collect::<Vec<_>>();
        tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .expect("all are removed in time")
            .expect("the engine tells it");
        assert_eq!(real.leftovers().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throw_away_containers_of_a_killed_coordinator_are_swept() {
    Real::test(|real| async move {
        let image = real.image(Kind::Files).await;
        for owner in [real.run().to_owned(), format!("{}-other", real.run())] {
            let labels = [(label::THROW_AWAY.to_owned(), owner), ("run".to_owned(), real.run().to_owned())];
            let body = bollard::models::ContainerCreateBody {
                image: Some(image.clone()),
                cmd: Some(vec!["x".into()]),
                labels: Some(labels.into()),
                ..Default::default()
            };
            real.docker
                .create_container(None::<bollard::query_parameters::CreateContainerOptions>, body)
                .await
                .expect("a container");
        }
        assert_eq!(real.engine.sweep().await.expect("an answer"), 1);
        assert_eq!(real.engine.sweep().await.expect("an answer"), 0);
        assert_eq!(real.leftovers().await.len(), 1, "the other installation's stays");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_pull_is_cancelled() {
    Real::test(|real| async move {
        let image =
            PushedImage { config: json!({"Labels": {"run": real.run()}}), with_shell: true, entries: vec![] };
        let reference = real.push("dropped", &image).await;
        let pull =
            tokio::time::timeout(Duration::ZERO, real.engine.pull(&reference, None, &mut |_| {})).await;
        assert!(pull.is_err(), "it was not waited for");
        real.engine.pull(&reference, None, &mut |_| {}).await.expect("it can be had afterwards");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_without_an_end_shows_in_the_progress_and_nothing_of_it_stays() {
    Real::test(|real| async move {
        let digest = |bytes: &str| hostile::sha256(bytes.as_bytes());
        let layer = digest("what is never sent");
        let config = json!({
            "architecture": push::architecture(), "os": "linux", "config": {"Labels": {"run": real.run()}},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        })
        .to_string();
        let descriptor = |kind: &str, digest: &str, size: usize| json!({"mediaType": kind, "digest": digest, "size": size});
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": descriptor("application/vnd.docker.container.image.v1+json", &digest(&config), config.len()),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer, 1000)],
        })
        .to_string();
        let wanted = digest(&manifest);
        let registry = Hostile::start(move |path| match path {
            path if path.contains("/manifests/") => {
                Answer::Text("200 OK", vec![("Content-Type", kind.to_owned())], manifest.clone())
            }
            path if path.ends_with(&layer) => Answer::Endless,
            path if path.contains("/blobs/") => Answer::Text("200 OK", vec![], config.clone()),
            _ => Answer::Text("200 OK", vec![], "{}".to_owned()),
        })
        .await;
        let reference: ImageRef =
            format!("{}/{}/endless@{wanted}", registry.address, real.run()).parse().expect("a reference");
        let more = tokio::sync::Notify::new();
        let mut progress = |now: plugin_coordinator::engine::PullProgress| {
            if now.bytes_done > 1000 {
                more.notify_one();
            }
        };
        let pull = real.engine.pull(&reference, None, &mut progress);
        let cut = async {
            tokio::select! {
                ended = pull => panic!("the layer has no end: {ended:?}"),
                () = more.notified() => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(60), cut).await.expect("it is seen in time");
        // Once nobody waits for it the engine stops reading.
        testkit::eventually(Duration::from_secs(30), || async {
            let before = registry.written();
            real.engine.info().await.map_err(|e| e.to_string())?;
            if registry.written() == before { Ok(()) } else { Err("it is still read".to_owned()) }
        })
        .await;
        assert_eq!(real.engine.image(&reference.to_string()).await.expect("an answer"), None);
    })
    .await;
}
