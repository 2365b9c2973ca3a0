//! Another image in the place of one that runs: swapped when everything is there, brought back when it does not get
//! ready, by itself or on request.

use std::time::Duration;

use envelope::{ErrorCode, Operation, PluginId};
use serde_json::{Value, json};
use testkit::eventually;
use tests::stack::command::Run;
use tests::stack::images::Script;
use tests::stack::operator::Operator;

use super::runner::Case;
use super::world::{Shared, World, id, login, minimal, sameness};

const PATIENCE: Duration = Duration::from_secs(60);
const HEALTHY: &str = include_str!("../../src/stack/images/healthy.sh");
/// One that runs and never says how it is.
const SILENT: &str = "trap 'exit 0' TERM\necho last words: no focuser found\nsleep 600 &\nwait $!\n";
/// The first version leaves a mark in its data, and each tells it and its configuration.
const MARKS: &str = "\
[ -e /data/mark ] || echo made by $MADE >/data/mark
echo \"mark: $(cat /data/mark)\"
echo \"config: $(cat /config/plugin.json)\"
";

pub fn cases() -> Vec<Case> {
    let mut cases = crate::beside![
        an_update_swaps_a_running_plugin_and_keeps_its_data_its_configuration_and_its_old_image,
        an_update_that_never_gets_ready_goes_back_to_what_ran_with_its_grants_and_configuration,
        an_update_that_asks_for_more_leaves_the_old_one_running_until_it_is_approved,
        an_update_to_the_same_image_changes_nothing_and_a_moved_tag_is_found_without_a_source,
        an_update_of_a_stopped_plugin_leaves_it_stopped_and_its_next_start_runs_the_new_one,
        a_rollback_brings_back_what_was_and_another_one_what_was_rolled_back,
        an_update_that_cannot_be_is_refused_and_touches_nothing,
    ];
    cases.extend(crate::alone![an_update_waits_for_a_coordinator_that_is_away_and_the_old_one_runs_on]);
    cases
}

/// A manifest of this version.
pub fn version(id: &PluginId, version: &str) -> Value {
    let mut manifest = minimal(id);
    manifest["version"] = json!(version);
    manifest
}

/// Pushes one version of a plugin, as an image of its own.
pub async fn push(world: &World, name: &str, script: &str, manifest: Value) -> String {
    Script::new(name, script).label(manifest).push(&world.stack).await.expect("builds")
}

fn marked(made: &str) -> String {
    format!("MADE={made}\n{MARKS}{HEALTHY}")
}

/// The digest by which the plugin's container runs.
async fn digest(world: &World, id: &PluginId) -> String {
    let container = world.running(id).await;
    let image = container["Config"]["Image"].as_str().unwrap_or_default();
    image.split_once('@').unwrap_or_else(|| panic!("{image} is no digest")).1.to_owned()
}

async fn inspected(operator: &mut Operator, id: &PluginId) -> Value {
    operator.ask_about(Operation::Inspect, id).await.data().clone()
}

async fn update(operator: &mut Operator, id: &PluginId, source: &str) -> Value {
    let request = json!({"plugin_id": id, "source": source});
    operator.ask(Operation::Update, request).await.data().clone()
}

/// Removes a plugin with its data; nothing is left of any of its images.
async fn remove(world: &World, operator: &mut Operator, id: &PluginId, sources: &[String]) {
    operator.ask(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await.data();
    for source in sources {
        world.assert_nothing_is_left(id, source).await;
    }
}

async fn an_update_swaps_a_running_plugin_and_keeps_its_data_its_configuration_and_its_old_image(
    world: Shared,
) {
    let id = id("is-updated");
    let with_data = |v: &str| {
        let mut manifest = version(&id, v);
        manifest["docker"] = json!({"volumes": ["data:/data"]});
        manifest
    };
    let old = push(&world, "is-updated-1", &marked("1.0.0"), with_data("1.0.0")).await;
    let new = push(&world, "is-updated-2", &marked("1.1.0"), with_data("1.1.0")).await;
    let mut operator = world.operator().await;
    let request = json!({"plugin_id": id, "source": old, "config": {"gain": 4711}});
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let before = world.running(&id).await;
    let was = inspected(&mut operator, &id).await;
    assert_eq!(was.get("previous"), None);

    let updated = update(&mut operator, &id, &new).await;
    let after = world.running(&id).await;
    let is = inspected(&mut operator, &id).await;
    assert_eq!((&updated["version"], &updated["previous_version"]), (&json!("1.1.0"), &json!("1.0.0")));
    assert_eq!(updated["changed"], true);
    assert_eq!(updated["previous_digest"], was["state"]["digest"]);
    assert_eq!(updated["digest"], is["state"]["digest"]);
    assert_ne!(updated["digest"], updated["previous_digest"]);
    let away = updated["downtime_ms"].as_u64().unwrap_or_default();
    assert!((1..60_000).contains(&away), "{updated:#}");
    assert_eq!(updated["digest"], digest(&world, &id).await, "the new image runs");
    assert_ne!(before["Id"], after["Id"]);
    assert_ne!(login(&before), login(&after), "a new container has a login of its own");
    assert_eq!((&is["state"]["phase"], &is["state"]["version"]), (&json!("running"), &json!("1.1.0")));
    assert!(is["generation"].as_u64() > was["generation"].as_u64(), "{is:#}");
    assert_eq!(is["uid"], was["uid"], "it is the same installation");
    let previous = json!({"version": "1.0.0", "source": old, "digest": was["state"]["digest"]});
    assert_eq!(is["previous"], previous);
    assert!(world.has_image(&old).await, "what a rollback needs is kept");
    let log = world.log(&mut operator, &id).await;
    assert!(log.contains("mark: made by 1.0.0"), "its data was not touched: {log}");
    assert!(log.contains("4711"), "its configuration is kept: {log}");
    remove(&world, &mut operator, &id, &[old, new]).await;
}

async fn an_update_that_never_gets_ready_goes_back_to_what_ran_with_its_grants_and_configuration(
    world: Shared,
) {
    let id = id("goes-back");
    let with_grant = |v: &str| {
        let mut manifest = version(&id, v);
        manifest["permissions"] = json!(["system:read", "plugin:control"]);
        manifest["start_timeout_seconds"] = json!(if v == "1.0.0" { 60 } else { 5 });
        manifest
    };
    let script = format!("echo \"config: $(cat /config/plugin.json)\"\n{HEALTHY}");
    let old = push(&world, "goes-back-1", &script, with_grant("1.0.0")).await;
    let new = push(&world, "goes-back-2", SILENT, with_grant("2.0.0")).await;
    let mut operator = world.operator().await;
    let mut request = json!({"plugin_id": id, "source": old, "config": {"gain": 4711}});
    let asked = operator.ask(Operation::Install, request.clone()).await;
    request["approve"] = asked.error(ErrorCode::ApprovalRequired)["details"]["approve"].clone();
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let before = digest(&world, &id).await;
    let was = inspected(&mut operator, &id).await;

    let request = json!({"plugin_id": id, "source": new});
    let answer = operator.ask(Operation::Update, request).await;
    let sentence = answer.sentence(ErrorCode::RolledBack);
    assert!(sentence.contains("2.0.0") && sentence.contains("1.0.0"), "{sentence}");
    let details = &answer.error(ErrorCode::RolledBack)["details"];
    assert_eq!(details["code"], ErrorCode::NotReady.as_str(), "{details:#}");
    let tail = details["failure"]["log_tail"].as_str().unwrap_or_default();
    assert!(tail.contains("last words: no focuser found"), "{details:#}");

    let is = inspected(&mut operator, &id).await;
    assert_eq!((&is["state"]["phase"], &is["state"]["version"]), (&json!("running"), &json!("1.0.0")));
    assert_eq!(digest(&world, &id).await, before, "the old image runs again");
    assert_eq!(is["grants"], was["grants"], "with its grants, as they were approved");
    assert_eq!(is["grants"][0]["state"], "approved", "{is:#}");
    assert_eq!(is.get("previous"), None, "there is still nothing to go back to: {is:#}");
    assert!(is["generation"].as_u64() > was["generation"].as_u64(), "going back is a generation of its own");
    let log = world.log(&mut operator, &id).await;
    assert!(log.contains("4711"), "with its configuration: {log}");
    remove(&world, &mut operator, &id, &[old]).await;
}

async fn an_update_that_asks_for_more_leaves_the_old_one_running_until_it_is_approved(world: Shared) {
    let id = id("wants-more");
    let old = push(&world, "wants-more-1", HEALTHY, version(&id, "1.0.0")).await;
    let mut manifest = version(&id, "1.1.0");
    manifest["permissions"] = json!(["system:read", "plugin:control"]);
    let new = push(&world, "wants-more-2", HEALTHY, manifest).await;
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &old).await;
    let before = sameness(&world.running(&id).await);

    let mut request = json!({"plugin_id": id, "source": new});
    let asked = operator.ask(Operation::Update, request.clone()).await;
    let details = &asked.error(ErrorCode::ApprovalRequired)["details"];
    assert_eq!(details["grants"][0]["key"], "permission:plugin:control", "{details:#}");
    assert_eq!(sameness(&world.running(&id).await), before, "the old one runs on, untouched");
    assert!(!world.has_image(&new).await, "nothing of the new one is there");
    request["approve"] = json!(format!("sha256:{}", "0".repeat(64)));
    let other = operator.ask(Operation::Update, request.clone()).await;
    assert_eq!(&other.error(ErrorCode::ApprovalChanged)["details"], details);
    assert_eq!(sameness(&world.running(&id).await), before);

    request["approve"] = details["approve"].clone();
    assert_eq!(operator.ask(Operation::Update, request).await.data()["version"], "1.1.0");
    assert_ne!(sameness(&world.running(&id).await), before);
    let token = operator.ask_about(Operation::Introspect, &id).await;
    assert_eq!(token.data()["claims"]["scope"], "system:read plugin:control");
    let grant = operator.ask_about(Operation::Grants, &id).await.data()["grants"][0].clone();
    assert_eq!((&grant["state"], &grant["by"]), (&json!("approved"), &json!("operator:operator")));

    // Going back gives up what the old one did not have.
    operator.ask_about(Operation::Rollback, &id).await.data();
    let token = operator.ask_about(Operation::Introspect, &id).await;
    assert_eq!(token.data()["claims"]["scope"], "system:read");
    remove(&world, &mut operator, &id, &[old, new]).await;
}

async fn an_update_to_the_same_image_changes_nothing_and_a_moved_tag_is_found_without_a_source(
    world: Shared,
) {
    let id = id("tag-moves");
    let source = push(&world, "tag-moves", HEALTHY, version(&id, "1.0.0")).await;
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let before = sameness(&world.running(&id).await);
    let was = inspected(&mut operator, &id).await;
    for request in [json!({"plugin_id": id, "source": source}), json!({"plugin_id": id})] {
        let answer = operator.ask(Operation::Update, request).await;
        assert_eq!(answer.data()["changed"], false);
        assert_eq!(answer.data()["digest"], was["state"]["digest"]);
        assert_eq!(sameness(&world.running(&id).await), before);
    }
    assert_eq!(inspected(&mut operator, &id).await["generation"], was["generation"]);

    let moved = push(&world, "tag-moves", HEALTHY, version(&id, "1.0.1")).await;
    assert_eq!(moved, source);
    let answer = operator.ask(Operation::Update, json!({"plugin_id": id})).await;
    assert_eq!((&answer.data()["changed"], &answer.data()["version"]), (&json!(true), &json!("1.0.1")));
    assert_ne!(answer.data()["digest"], was["state"]["digest"]);
    remove(&world, &mut operator, &id, &[source]).await;
}

async fn an_update_of_a_stopped_plugin_leaves_it_stopped_and_its_next_start_runs_the_new_one(world: Shared) {
    let id = id("updated-while-stopped");
    let old = push(&world, "updated-while-stopped-1", HEALTHY, version(&id, "1.0.0")).await;
    let new = push(&world, "updated-while-stopped-2", HEALTHY, version(&id, "1.1.0")).await;
    let mut operator = world.operator().await;
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": old})).await.data();
    let updated = update(&mut operator, &id, &new).await;
    assert_eq!((&updated["changed"], &updated["version"]), (&json!(true), &json!("1.1.0")));
    assert_eq!(updated.get("downtime_ms"), None, "it did not run: {updated:#}");
    assert!(!world.has_container(&id).await, "an update starts nothing");
    let state = inspected(&mut operator, &id).await["state"].clone();
    assert_eq!((&state["phase"], &state["version"]), (&json!("stopped"), &json!("1.1.0")));
    operator.ask_about(Operation::Start, &id).await.data();
    assert_eq!(updated["digest"], digest(&world, &id).await);
    remove(&world, &mut operator, &id, &[old, new]).await;
}

async fn a_rollback_brings_back_what_was_and_another_one_what_was_rolled_back(world: Shared) {
    let id = id("rolls-back");
    let old = push(&world, "rolls-back-1", HEALTHY, version(&id, "1.0.0")).await;
    let new = push(&world, "rolls-back-2", HEALTHY, version(&id, "1.1.0")).await;
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &old).await;
    let untouched = sameness(&world.running(&id).await);
    let nothing = operator.ask_about(Operation::Rollback, &id).await;
    let sentence = nothing.sentence(ErrorCode::InvalidPhase);
    assert!(sentence.contains(id.as_str()) && sentence.contains("update"), "{sentence}");
    assert_eq!(sameness(&world.running(&id).await), untouched);

    let first = digest(&world, &id).await;
    let updated = update(&mut operator, &id, &new).await;
    let mut generation = inspected(&mut operator, &id).await["generation"].as_u64();
    for (version, digest_now) in [("1.0.0", json!(first)), ("1.1.0", updated["digest"].clone())] {
        let back = operator.ask_about(Operation::Rollback, &id).await;
        assert_eq!(back.data()["version"], version);
        assert_eq!(back.data()["digest"], digest_now);
        assert!(back.data()["downtime_ms"].as_u64().is_some_and(|ms| ms > 0), "{:#}", back.answer);
        assert_eq!(digest_now, digest(&world, &id).await);
        let next = inspected(&mut operator, &id).await["generation"].as_u64();
        assert!(next > generation, "old content is a new generation: {next:?}");
        generation = next;
    }
    remove(&world, &mut operator, &id, &[old, new]).await;
}

async fn an_update_that_cannot_be_is_refused_and_touches_nothing(world: Shared) {
    let id = id("stays-as-it-is");
    let mut manifest = version(&id, "1.0.0");
    manifest["config_schema"] = json!({"type": "object", "additionalProperties": false});
    let old = push(&world, "stays-as-it-is-1", HEALTHY, manifest).await;
    let mut manifest = version(&id, "1.1.0");
    manifest["config_schema"] = json!({"type": "object", "required": ["port"]});
    let picky = push(&world, "stays-as-it-is-2", HEALTHY, manifest).await;
    let other = push(&world, "stays-as-it-is-3", HEALTHY, version(&self::id("somebody-else"), "1.1.0")).await;
    let bare = push(&world, "stays-as-it-is-4", HEALTHY, json!({"id": id})).await;
    let mut operator = world.operator().await;
    let request = json!({"plugin_id": id, "source": old, "config": {}});
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let before = sameness(&world.running(&id).await);
    let was = inspected(&mut operator, &id).await;
    let missing = format!("{}-never-pushed:1.0.0", old.trim_end_matches(":1.0.0"));
    for (source, code) in [
        (&picky, ErrorCode::ConfigInvalid),
        (&other, ErrorCode::ManifestMismatch),
        (&bare, ErrorCode::ManifestInvalid),
        (&missing, ErrorCode::ImageNotFound),
    ] {
        let answer = operator.ask(Operation::Update, json!({"plugin_id": id, "source": source})).await;
        answer.error(code);
        assert_eq!(sameness(&world.running(&id).await), before, "{source}");
        let is = inspected(&mut operator, &id).await;
        assert_eq!((&is["generation"], is.get("previous")), (&was["generation"], None), "{source}");
        assert!(!world.has_image(source).await, "{source} stays behind");
    }
    let nobody = operator.ask_about(Operation::Update, &self::id("nobody-knows-me")).await;
    nobody.sentence(ErrorCode::UnknownPlugin);
    remove(&world, &mut operator, &id, &[old]).await;
}

async fn an_update_waits_for_a_coordinator_that_is_away_and_the_old_one_runs_on(world: Shared) {
    let id = id("is-patient");
    let mut operator = world.operator().await;
    let mut sources = vec![push(&world, "is-patient-0", HEALTHY, version(&id, "1.0.0")).await];
    world.install_and_start(&mut operator, &id, &sources[0]).await;
    for (service, step) in [("message-coordinator", "await_acl"), ("security-coordinator", "swap")] {
        let minor = sources.len();
        let next = version(&id, &format!("1.{minor}.0"));
        sources.push(push(&world, &format!("is-patient-{minor}"), HEALTHY, next).await);
        let before = sameness(&world.running(&id).await);
        let container = world.stack.container(service);
        Run::docker(["stop", "--time", "30", &container]).ok().await.expect("it stops");
        let asked =
            operator.send(Operation::Update, json!({"plugin_id": id, "source": sources[minor]})).await;
        at_step(&world, &id, step).await;
        assert_eq!(sameness(&world.running(&id).await), before, "without {service} the old one runs on");
        Run::docker(["start", &container]).ok().await.expect("it starts");
        let answer = operator.answer(&asked).await;
        assert_eq!(answer.data()["version"], format!("1.{minor}.0"));
        assert_ne!(sameness(&world.running(&id).await), before);
        world.stack.healthy().await;
    }
    // One release back is kept: the first went before.
    remove(&world, &mut operator, &id, &sources[1..]).await;
}

/// The running operation on a plugin, once it is at this step.
pub async fn at_step(world: &World, id: &PluginId, step: &str) -> Value {
    eventually(PATIENCE, || async {
        let mut operator = world.operator().await;
        let request = json!({"plugin_id": id, "limit": 0});
        let told = operator.ask(Operation::Operations, request).await.data()["operations"].clone();
        match told.as_array().into_iter().flatten().find(|operation| operation["step"] == step) {
            Some(operation) => Ok(operation.clone()),
            None => Err(format!("not at {step}: {told:#}")),
        }
    })
    .await
}
