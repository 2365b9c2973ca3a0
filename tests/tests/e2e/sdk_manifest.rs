//! The manifest of the SDK document, as it stands there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use envelope::Operation;
use envelope::topic::plugin;
use serde_json::{Value, json};
use testkit::Version;
use tests::repository::text;
use tests::stack::images::Script;
use tests::stack::listener::Listener;

use super::runner::Case;
use super::world::{Shared, id};

const PATIENCE: Duration = Duration::from_secs(20);
/// Where the manifest wants the plugin's data on the host.
const FOLDER: &str = "/var/lib/bigskies/plugins/myplugin";

pub fn cases() -> Vec<Case> {
    crate::beside![a_plugin_with_the_documents_manifest_verbatim_works_under_its_rights]
}

/// The first block of JSON in the document.
fn manifest() -> Value {
    let document = text("docs/PLUGIN_SDK.md").expect("readable");
    let (_, rest) = document.split_once("### Plugin Manifest (plugin.json)").expect("it has the chapter");
    let (_, rest) = rest.split_once("```json\n").expect("with a block of JSON");
    let (block, _) = rest.split_once("\n```").expect("that ends");
    serde_json::from_str(block).expect("that is JSON")
}

async fn a_plugin_with_the_documents_manifest_verbatim_works_under_its_rights(world: Shared) {
    let (id, alias) = (id("unique-plugin-guid"), id("myplugin"));
    let was_there = Path::new(FOLDER).exists();
    let image = Script::new("sdk-manifest", include_str!("sdk_manifest.sh")).file(manifest());
    let source = image.push(&world.stack).await.expect("the image builds");
    let mut operator = world.operator().await;
    let client = world.stack.operator_client(Version::V3).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::namespace(&alias), plugin::namespace(&id)]).await;

    let request = json!({"plugin_id": id, "source": source, "config": {"site": "Paranal"}});
    let installed = operator.ask(Operation::Install, request).await;
    assert_eq!(installed.data()["manifest_source"], "file");
    let started = operator.ask_about(Operation::Start, &id).await;
    assert_eq!(started.data()["phase"], "running");

    // Everything that the manifest declares, and what every plugin has beside it under its id.
    for topic in [plugin::health(&alias), plugin::status(&alias), "bigskies/plugin/myplugin/data".to_owned()]
    {
        watch.wait(&topic, PATIENCE, |m| m.topic == topic).await;
    }
    watch.wait("the health under its id", PATIENCE, |m| m.topic == plugin::health(&id)).await;
    for name in [&alias, &id] {
        operator.publish(&plugin::control_command(name, "park"), format!("for {name}")).await;
        let wanted = format!("heard for {name}");
        let heard = |m: &testkit::Message| m.topic == plugin::status(&alias) && m.text() == wanted;
        watch.wait(&wanted, PATIENCE, heard).await;
    }
    watch.wait("its configuration", PATIENCE, |m| m.text().contains("Paranal")).await;
    watch.wait("that it can write its data", PATIENCE, |m| m.text() == "data is written").await;

    world.running(&id).await;
    assert_eq!(world.published(&id).await, ["127.0.0.1:8080"], "a port is for this machine only");
    let inspected = operator.ask_about(Operation::Inspect, &id).await;
    assert_eq!(inspected.data()["dns_names"], json!(["unique-plugin-guid", "myplugin"]));

    world.remove(&mut operator, &id, &source).await;
    if !was_there {
        fs::remove_dir_all(FOLDER).expect("the folder that the engine made for this test goes");
    }
}
