//! The Go program of the SDK document, as it stands there.

use std::time::{Duration, Instant};

use envelope::Operation;
use envelope::topic::plugin;
use serde_json::json;
use testkit::{Version, eventually};
use tests::stack::images;
use tests::stack::listener::{Listener, json as payload};

use super::runner::Case;
use super::world::{Shared, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![the_documents_go_program_verbatim_goes_from_install_to_remove]
}

async fn the_documents_go_program_verbatim_goes_from_install_to_remove(world: Shared) {
    let (id, _held) = world.sdk_id().await;
    let source = images::push_go_sample(&world.stack).await.expect("the sample builds");
    let mut operator = world.operator().await;

    // Its Dockerfile carries no manifest, so that comes with the request.
    let request = json!({"plugin_id": id, "source": source, "manifest": minimal(&id)});
    let installed = operator.ask(Operation::Install, request).await;
    assert_eq!(installed.data()["manifest_source"], "request");
    assert_eq!(installed.data()["changed"], true);
    assert!(!world.has_container(&id).await, "an installation starts nothing");

    let client = world.stack.operator_client(Version::V3).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::health(&id)]).await;
    let begin = Instant::now();
    let started = operator.ask_about(Operation::Start, &id).await;
    assert_eq!(started.data()["phase"], "running");
    assert_eq!(started.data()["health"], "healthy");
    assert_eq!(started.data()["health_message"], "Plugin is operational");
    println!("figure: the Go sample was ready {:.1} s after the request", begin.elapsed().as_secs_f64());
    let health = watch.wait("its health", Duration::from_secs(5), |_| true).await;
    assert_eq!(payload(&health)["payload"]["component"], "my-plugin");
    world.running(&id).await;

    operator.publish(&plugin::control_command(&id, "refresh"), "do it now").await;
    eventually(Duration::from_secs(10), || async {
        let log = world.log(&mut world.operator().await, &id).await;
        let line = format!("Received message on {}: do it now", plugin::control_command(&id, "refresh"));
        if log.contains(&line) { Ok(()) } else { Err(log) }
    })
    .await;

    let stopped = operator.ask_about(Operation::Stop, &id).await;
    assert_eq!(stopped.data()["phase"], "stopped");
    assert!(!world.has_container(&id).await, "a stop removes the container");
    assert!(world.has_image(&source).await, "a stop keeps the image");
    let inspected = operator.ask_about(Operation::Inspect, &id).await;
    let exit = &inspected.data()["last_exit"];
    assert_eq!(exit["code"], 0, "{exit:#}");
    assert!(exit["log_tail"].as_str().unwrap_or_default().contains("Shutting down..."), "{exit:#}");

    let removed = world.remove(&mut operator, &id, &source).await;
    assert_eq!(removed.data()["image_removed"], true);
}
