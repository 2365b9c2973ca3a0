//! A folder of the host that an operator approved, and that is not what it was any more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use envelope::{ErrorCode, Operation};
use serde_json::json;
use testkit::eventually;
use tests::stack::command::Run;
use tests::stack::image_of;
use tests::stack::images::Script;

use super::arena::PATIENCE;
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, id, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![a_link_is_planted_in_a_folder_that_was_approved]
}

/// A plugin has a folder for reading and writing, and one inside it. From inside its container it puts a link to
/// the host's `/etc` in the place of the second, for its next start.
async fn a_link_is_planted_in_a_folder_that_was_approved(world: Shared) {
    let name = "attacks-planted-link";
    let plugin = id(name);
    let outer = world.stack.folder().join(name);
    let inner = outer.join("inner");
    fs::create_dir_all(&inner).expect("a folder");
    for folder in [&outer, &inner] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("the test's own folder");
    }
    let (shared, mounted) = (outer.display().to_string(), inner.display().to_string());
    let mut manifest = minimal(&plugin);
    manifest["docker"] = json!({"volumes": [format!("{shared}:/shared"), format!("{mounted}:/mounted:ro")]});
    let plant = "busybox mv /shared/inner /shared/was && busybox ln -s /etc /shared/inner && echo planted\n";
    let script = format!("{plant}{}", include_str!("../../src/stack/images/healthy.sh"));
    let source = Script::new(name, &script).label(manifest).push(&world.stack).await.expect("it builds");
    let mut operator = world.operator().await;
    let mut request = json!({"plugin_id": plugin, "source": source});
    let asked = operator.ask(Operation::Install, request.clone()).await;
    request["approve"] = asked.error(ErrorCode::ApprovalRequired)["details"]["approve"].clone();
    operator.ask(Operation::Install, request).await.data();
    // While both are folders it starts.
    operator.ask_about(Operation::Start, &plugin).await.data();
    eventually(PATIENCE, || async {
        let log = world.log(&mut world.operator().await, &plugin).await;
        if log.contains("planted") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(fs::symlink_metadata(&inner).expect("it is there").is_symlink());

    operator.ask_about(Operation::Stop, &plugin).await.data();
    let refused = operator.ask_about(Operation::Start, &plugin).await;
    let sentence = refused.sentence(ErrorCode::StartFailed);
    assert!(sentence.contains(&mounted) && sentence.contains("a link"), "{sentence}");
    let container = world.stack.plugin_container(&plugin).await.expect("the engine answers");
    assert!(container.is_none_or(|container| container["State"]["Running"] == false), "it runs");

    // The engine, asked directly, mounts what the link leads to.
    let (image, volume) = (image_of("tools"), format!("{mounted}:/mounted:ro"));
    let run = ["run", "--rm", "--volume", &volume, &image, "cat", "/mounted/passwd"];
    let shown = Run::docker(run).output().await.expect("the engine answers").text;
    assert!(shown.contains("root:"), "{shown}");
    world.remove(&mut operator, &plugin, &source).await;
}
