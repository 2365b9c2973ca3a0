//! A plugin's configuration: held against the schema of its manifest, and readable by nobody else.

use envelope::{ErrorCode, Operation};
use serde_json::json;
use tests::stack::images::Script;

use super::runner::Case;
use super::world::{Shared, id, minimal, sameness};

pub fn cases() -> Vec<Case> {
    crate::beside![
        a_configuration_that_does_not_fit_the_schema_is_refused_with_every_fault,
        a_configuration_is_replaced_and_taken_away_and_one_that_does_not_fit_changes_nothing,
    ]
}

async fn a_configuration_that_does_not_fit_the_schema_is_refused_with_every_fault(world: Shared) {
    let id = id("is-configured");
    let mut manifest = minimal(&id);
    manifest["config_schema"] = json!({
        "type": "object",
        "properties": {"port": {"type": "integer"}, "pin": {"type": "string", "minLength": 12}},
        "required": ["port"],
        "additionalProperties": false,
    });
    let healthy = include_str!("../../src/stack/images/healthy.sh");
    let script = format!("busybox ls -ln /config/plugin.json\ncat /config/plugin.json\necho\n{healthy}");
    let image = Script::new(id.as_str(), &script).label(manifest);
    let source = image.push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;

    let request =
        json!({"plugin_id": id, "source": source, "config": {"port": "one", "pin": "0815", "x": 1}});
    let answer = operator.ask(Operation::Install, request).await;
    let error = answer.error(ErrorCode::ConfigInvalid);
    let faults = error["details"]["faults"].as_array().cloned().unwrap_or_default();
    assert!(faults.len() >= 3, "{error:#}");
    for place in ["/port", "/pin"] {
        assert!(
            faults.iter().any(|f| f["pointer"] == place && f["reason"].is_string()),
            "{place}: {error:#}"
        );
    }
    assert!(!answer.answer.to_string().contains("0815"), "what was given is told again: {error:#}");
    let missing = operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await;
    assert!(missing.sentence(ErrorCode::ConfigInvalid).contains("missing"), "{:#}", missing.answer);
    world.assert_nothing_is_left(&id, &source).await;

    let request = json!({"plugin_id": id, "source": source, "config": {"port": 4030}});
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let log = world.log(&mut operator, &id).await;
    assert!(log.contains("4030") && log.contains("-r--------    1 64000"), "{log}");
    world.remove(&mut operator, &id, &source).await;
}

async fn a_configuration_is_replaced_and_taken_away_and_one_that_does_not_fit_changes_nothing(world: Shared) {
    let id = id("is-reconfigured");
    let mut manifest = minimal(&id);
    manifest["config_schema"] = json!({"type": "object", "properties": {"port": {"type": "integer"}}});
    let healthy = include_str!("../../src/stack/images/healthy.sh");
    let script = format!("cat /config/plugin.json || echo none there\necho\n{healthy}");
    let image = Script::new(id.as_str(), &script).label(manifest);
    let source = image.push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    let request = json!({"plugin_id": id, "source": source, "config": {"port": 4030}});
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let mut before = sameness(&world.running(&id).await);

    let wrong = json!({"plugin_id": id, "config": {"port": "0815"}});
    let answer = operator.ask(Operation::Config, wrong).await;
    assert_eq!(answer.error(ErrorCode::ConfigInvalid)["details"]["faults"][0]["pointer"], "/port");
    assert!(!answer.answer.to_string().contains("0815"), "what was given is told again: {answer:?}");
    let same = json!({"plugin_id": id, "config": {"port": 4030}});
    operator.ask(Operation::Config, same).await.data();
    assert_eq!(sameness(&world.running(&id).await), before, "nothing changed, so nothing is started anew");

    for (config, seen) in [(json!({"port": 4711}), "4711"), (json!(null), "none there")] {
        let answer = operator.ask(Operation::Config, json!({"plugin_id": id, "config": config})).await;
        assert_eq!(
            (&answer.data()["phase"], &answer.data()["health"]),
            (&json!("running"), &json!("healthy"))
        );
        assert!(!answer.answer.to_string().contains("4711"), "it can hold secrets: {answer:?}");
        let after = sameness(&world.running(&id).await);
        assert_ne!(after.0, before.0, "the new configuration comes with a new container");
        let log = world.log(&mut operator, &id).await;
        assert!(log.contains(seen) && !log.contains("4030"), "{log}");
        before = after;
    }

    operator.ask_about(Operation::Stop, &id).await.data();
    let answer = operator.ask(Operation::Config, json!({"plugin_id": id, "config": {"port": 9119}})).await;
    assert_eq!(answer.data()["phase"], "stopped");
    assert!(!world.has_container(&id).await, "another configuration starts nothing");
    operator.ask_about(Operation::Start, &id).await.data();
    let log = world.log(&mut operator, &id).await;
    assert!(log.contains("9119"), "{log}");
    world.remove(&mut operator, &id, &source).await;
}
