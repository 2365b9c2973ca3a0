//! What is wrong with a request is told in its answer, and nothing half-installed stays behind.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envelope::{ErrorCode, Operation, PluginId};
use serde_json::{Value, json};
use tests::stack::REGISTRY_LOGIN;
use tests::stack::command::Run;
use tests::stack::images::{self, Script};
use tests::stack::operator::Operator;

use super::runner::Case;
use super::world::{Shared, World, id, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![
        an_unknown_plugin_is_told_as_such_by_every_operation,
        every_fault_of_a_manifest_is_told_at_once_with_pointer_reason_and_fix,
        an_unreachable_registry_is_told,
        an_image_that_does_not_exist_is_told,
        a_registry_with_a_login_opens_to_the_right_one_only,
        a_port_that_another_container_has_is_found_before_the_pull,
        a_port_that_another_program_has_fails_the_start_and_leaves_no_container,
        a_plugin_that_never_gets_healthy_fails_its_start_with_its_last_lines,
        a_plugin_that_ends_at_once_fails_its_start_with_its_exit_code_and_last_lines,
        a_missing_manifest_is_told_with_the_three_ways_to_give_one,
        a_label_and_a_file_that_disagree_are_refused,
        a_manifest_of_another_plugin_is_refused,
        a_name_that_another_plugin_has_is_refused,
    ]
}

/// Asks for an installation that must fail, and sees that nothing is left of it.
async fn refused(
    world: &World,
    operator: &mut Operator,
    id: &PluginId,
    request: Value,
    code: ErrorCode,
) -> Value {
    let source = request["source"].as_str().unwrap_or("none").to_owned();
    let error = operator.ask(Operation::Install, request).await.error(code).clone();
    assert!(error["message"].as_str().is_some_and(|m| m.ends_with('.')), "no sentence: {error:#}");
    world.assert_nothing_is_left(id, &source).await;
    error
}

async fn an_unknown_plugin_is_told_as_such_by_every_operation(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("nobody-knows-me");
    use Operation::{Inspect, Logs, Remove, Restart, Start, Stop};
    for operation in [Start, Stop, Restart, Remove, Inspect, Logs] {
        let answer = operator.ask_about(operation, &id).await;
        let sentence = answer.sentence(ErrorCode::UnknownPlugin);
        assert!(sentence.contains(id.as_str()), "{operation}: {sentence}");
    }
}

async fn every_fault_of_a_manifest_is_told_at_once_with_pointer_reason_and_fix(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("many-faults");
    let manifest = json!({
        "id": id,
        "version": "one",
        "mqtt": {"topics_subscribe": ["#"], "topics_publish": ["bigskies/coordinator/plugin/install"]},
        "docker": {"ports": ["99999:1"], "networks": ["host"]},
        "health_check": {"topic": "bigskies/plugin/many-faults/health", "interval_seconds": 0},
    });
    let request = json!({"plugin_id": id, "source": "127.0.0.1:1/none:1", "manifest": manifest});
    let error = refused(&world, &mut operator, &id, request, ErrorCode::ManifestInvalid).await;
    let faults = error["details"]["faults"].as_array().cloned().unwrap_or_default();
    for fault in &faults {
        for part in ["pointer", "reason", "fix"] {
            assert!(fault[part].as_str().is_some_and(|text| !text.is_empty()), "{part} of {fault:#}");
        }
    }
    let pointers: Vec<&str> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    for place in [
        "/name",
        "/version",
        "/mqtt/topics_subscribe/0",
        "/mqtt/topics_publish/0",
        "/docker/ports/0",
        "/docker/networks/0",
        "/health_check/interval_seconds",
    ] {
        assert!(pointers.contains(&place), "{place} is not among {pointers:?}");
    }
}

async fn an_unreachable_registry_is_told(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("far-away");
    for source in ["127.0.0.1:1/none:1.0.0", "no-such-host.invalid/none:1.0.0"] {
        let request = json!({"plugin_id": id, "source": source});
        let error = refused(&world, &mut operator, &id, request, ErrorCode::RegistryUnreachable).await;
        let host = source.split('/').next().unwrap_or_default();
        assert!(error["message"].as_str().is_some_and(|m| m.contains(host)), "{error:#}");
    }
}

async fn an_image_that_does_not_exist_is_told(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("no-image");
    let source = images::tag(&world.stack.registry(), &world.stack, "never-pushed");
    let request = json!({"plugin_id": id, "source": source});
    let error = refused(&world, &mut operator, &id, request, ErrorCode::ImageNotFound).await;
    assert!(error["message"].as_str().is_some_and(|m| m.contains("never-pushed:1.0.0")), "{error:#}");
    let request = json!({"plugin_id": id, "source": "not an image"});
    refused(&world, &mut operator, &id, request, ErrorCode::BadRequest).await;
    refused(&world, &mut operator, &id, json!({"plugin_id": id}), ErrorCode::BadRequest).await;
}

/// A docker `config.json` with one login.
fn logins(registry: &str, (user, password): (&str, &str)) -> String {
    json!({"auths": {registry: {"auth": STANDARD.encode(format!("{user}:{password}"))}}}).to_string()
}

async fn a_registry_with_a_login_opens_to_the_right_one_only(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("behind-a-login");
    let registry = world.stack.login_registry();
    let open =
        Script::healthy("behind-a-login").label(minimal(&id)).push(&world.stack).await.expect("builds");
    let source = images::tag(&registry, &world.stack, "behind-a-login");
    Run::docker(["pull", "--quiet", &open]).ok().await.expect("it was pushed");
    Run::docker(["tag", &open, &source]).ok().await.expect("the engine tags");
    Run::docker(["rmi", &open]).ok().await.expect("the engine forgets");
    let client = world.stack.folder().join("docker-client");
    std::fs::create_dir_all(&client).expect("writable");
    std::fs::write(client.join("config.json"), logins(&registry, REGISTRY_LOGIN)).expect("writable");
    images::push(&source, Some(&client)).await.expect("the registry takes it with its login");

    let file = world.stack.registry_logins().join("config.json");
    let request = json!({"plugin_id": id, "source": source});
    let error = refused(&world, &mut operator, &id, request.clone(), ErrorCode::RegistryLogin).await;
    assert!(error["message"].as_str().is_some_and(|m| m.contains("config.json")), "{error:#}");

    let write = |login| {
        std::fs::write(&file, logins(&registry, login)).expect("writable");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("ours");
    };
    write((REGISTRY_LOGIN.0, "wrong"));
    let error = refused(&world, &mut operator, &id, request.clone(), ErrorCode::RegistryLogin).await;
    assert!(!error.to_string().contains("wrong"), "a password is told: {error:#}");

    write(REGISTRY_LOGIN);
    operator.ask(Operation::Install, request).await.data();
    world.remove(&mut operator, &id, &source).await;
    std::fs::remove_file(&file).expect("ours");
}

/// A manifest that wants this port of the host.
fn with_port(id: &PluginId, port: u16) -> Value {
    let mut manifest = minimal(id);
    manifest["docker"] = json!({"ports": [format!("{port}:8080")]});
    manifest
}

async fn a_port_that_another_container_has_is_found_before_the_pull(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("port-of-a-container");
    let name = format!("{}-occupier", world.stack.project);
    let label = format!("com.docker.compose.project={}", world.stack.project);
    let image = tests::stack::image_of("tools");
    let occupier = ["run", "--detach", "--rm", "--name", &name, "--label", &label].into_iter().chain([
        "--publish",
        "127.0.0.1::80",
        &image,
        "sleep",
        "600",
    ]);
    Run::docker(occupier).ok().await.expect("the engine runs it");
    let address = Run::docker(["port", &name, "80/tcp"]).line().await.expect("it has a port");
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a number");

    let image = Script::healthy("port-of-a-container").label(with_port(&id, port));
    let source = image.push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": id, "source": source});
    let error = refused(&world, &mut operator, &id, request, ErrorCode::PortTaken).await;
    assert_eq!(error["details"]["port"], port);
    assert!(error["message"].as_str().is_some_and(|m| m.contains(&name)), "it says by whom: {error:#}");
    Run::docker(["rm", "--force", &name]).ok().await.expect("ours");
}

async fn a_port_that_another_program_has_fails_the_start_and_leaves_no_container(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("port-of-a-program");
    let occupier = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = occupier.local_addr().expect("bound").port();
    let image = Script::healthy("port-of-a-program").label(with_port(&id, port));
    let source = image.push(&world.stack).await.expect("builds");
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let answer = operator.ask_about(Operation::Start, &id).await;
    let sentence = answer.sentence(ErrorCode::PortTaken);
    assert!(sentence.contains(&port.to_string()), "{sentence}");
    assert!(!world.has_container(&id).await, "the container stays behind");

    // Free again, it starts.
    drop(occupier);
    let started = operator.ask_about(Operation::Start, &id).await;
    assert_eq!(started.data()["phase"], "running");
    world.remove(&mut operator, &id, &source).await;
}

/// Installs a script whose start must fail, and returns the error.
async fn failed_start(
    world: &World,
    operator: &mut Operator,
    id: &PluginId,
    script: &str,
    code: ErrorCode,
) -> Value {
    let mut manifest = minimal(id);
    manifest["start_timeout_seconds"] = json!(4);
    let image = Script::new(id.as_str(), script).label(manifest);
    let source = image.push(&world.stack).await.expect("builds");
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let error = operator.ask_about(Operation::Start, id).await.error(code).clone();
    assert!(!world.has_container(id).await, "the container stays behind");
    let state = operator.ask_about(Operation::Inspect, id).await.data()["state"].clone();
    assert_eq!(state["phase"], "failed");
    assert_eq!(state["reason"], error["message"]);
    assert!(world.log(operator, id).await.contains("last words"), "the log is kept after the end");
    world.remove(operator, id, &source).await;
    error
}

async fn a_plugin_that_never_gets_healthy_fails_its_start_with_its_last_lines(world: Shared) {
    let mut operator = world.operator().await;
    let script = "trap 'exit 0' TERM\necho last words: no dome found >&2\nsleep 600 &\nwait $!\n";
    let error = failed_start(&world, &mut operator, &id("never-healthy"), script, ErrorCode::NotReady).await;
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("bigskies/plugin/never-healthy/health") && message.contains("4 s"), "{message}");
    let tail = error["details"]["log_tail"].as_str().unwrap_or_default();
    assert!(tail.contains("last words: no dome found"), "{error:#}");
}

async fn a_plugin_that_ends_at_once_fails_its_start_with_its_exit_code_and_last_lines(world: Shared) {
    let mut operator = world.operator().await;
    let script = "echo last words: no camera\nexit 3\n";
    let error =
        failed_start(&world, &mut operator, &id("ends-at-once"), script, ErrorCode::StartFailed).await;
    assert_eq!(error["details"]["exit_code"], 3);
    assert!(error["message"].as_str().is_some_and(|m| m.contains("code 3")), "{error:#}");
    let tail = error["details"]["log_tail"].as_str().unwrap_or_default();
    assert!(tail.contains("last words: no camera"), "{error:#}");
}

async fn a_missing_manifest_is_told_with_the_three_ways_to_give_one(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("no-manifest");
    let source = Script::healthy("no-manifest").push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": id, "source": source});
    let error = refused(&world, &mut operator, &id, request, ErrorCode::ManifestMissing).await;
    let message = error["message"].as_str().unwrap_or_default();
    for way in ["\"manifest\" in the install request", images::LABEL, "/plugin.json"] {
        assert!(message.contains(way), "{way} is not in {message}");
    }
}

async fn a_label_and_a_file_that_disagree_are_refused(world: Shared) {
    let mut operator = world.operator().await;
    let id = id("of-two-minds");
    let mut other = minimal(&id);
    other["name"] = json!("Another name");
    let image = Script::healthy("of-two-minds").label(minimal(&id)).file(other);
    let source = image.push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": id, "source": source});
    refused(&world, &mut operator, &id, request, ErrorCode::ManifestMismatch).await;
}

async fn a_manifest_of_another_plugin_is_refused(world: Shared) {
    let mut operator = world.operator().await;
    let (id, other) = (id("one-plugin"), id("another-plugin"));
    let source =
        Script::healthy("one-plugin").label(minimal(&other)).push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": id, "source": source});
    let error = refused(&world, &mut operator, &id, request, ErrorCode::ManifestMismatch).await;
    assert!(error["message"].as_str().is_some_and(|m| m.contains(other.as_str())), "{error:#}");
}

async fn a_name_that_another_plugin_has_is_refused(world: Shared) {
    let mut operator = world.operator().await;
    let (first, second) = (id("first-come"), id("second-come"));
    let with_alias = |id: &PluginId| {
        let mut manifest = minimal(id);
        manifest["health_check"] = json!({"topic": "bigskies/plugin/wanted-by-two/health"});
        manifest
    };
    let source =
        Script::healthy("first-come").label(with_alias(&first)).push(&world.stack).await.expect("builds");
    operator.ask(Operation::Install, json!({"plugin_id": first, "source": source})).await.data();
    let other =
        Script::healthy("second-come").label(with_alias(&second)).push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": second, "source": other});
    let error = refused(&world, &mut operator, &second, request, ErrorCode::NameTaken).await;
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("wanted-by-two") && message.contains(first.as_str()), "{message}");
    world.remove(&mut operator, &first, &source).await;
}
