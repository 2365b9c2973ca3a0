//! Operators' accounts, and what their roles allow.

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use serde_json::{Value, json};

use crate::stage::{Stage, end, failure, success};

const GOOD: &str = "correct horse battery";

fn account(name: &str, role: &str) -> Value {
    json!({"name": name, "role": role, "disabled": false})
}

#[tokio::test]
async fn accounts_are_listed() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let child = stage.spawn(&["operator", "list"]);
    let asked = message.asked(Operation::Operators).await;
    assert_eq!(asked.envelope.payload, json!({}));
    message
        .answer(&asked, success(json!({"operators": [account("ada", "admin"), account("vic", "viewer")]})))
        .await;
    let ended = end(child).await;
    let expected = "\
OPERATOR   ROLE     STATE     MADE
ada        admin    enabled   at the beginning
vic        viewer   enabled   at the beginning
";
    assert_eq!((ended.code, ended.out.as_str()), (0, expected), "{ended:?}");
}

#[tokio::test]
async fn a_password_is_read_from_standard_input() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let args = ["operator", "add", "ann", "--role", "viewer", "--password-stdin"];
    let child = stage.spawn_with(&args, &format!("{GOOD}\n"));
    let asked = message.asked(Operation::AddOperator).await;
    assert_eq!(asked.envelope.payload, json!({"name": "ann", "role": "viewer", "password": GOOD}));
    message.answer(&asked, success(account("ann", "viewer"))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("ann is made\n  Login   operator.ann\n"), "{ended:?}");
    assert!(!format!("{ended:?}").contains(GOOD), "{ended:?}");

    // One that is too short goes nowhere.
    let ended = end(stage.spawn_with(&args, "short\n")).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("has 5 characters; it must have at least 16"), "{ended:?}");
}

#[tokio::test]
async fn a_generated_password_is_shown_once_to_people_and_to_programs() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let args = ["operator", "add", "ann", "--role", "admin", "--generate"];
    let child = stage.spawn(&args);
    let asked = message.asked(Operation::AddOperator).await;
    let password = asked.envelope.payload["password"].as_str().expect("a password").to_owned();
    assert_eq!(password.len(), 43, "256 bits in base64url");
    message.answer(&asked, success(account("ann", "admin"))).await;
    let ended = end(child).await;
    assert_eq!(ended.out.matches(&password).count(), 1, "{ended:?}");
    assert!(ended.err.contains("shown this once"), "{ended:?}");

    let child = stage.spawn(&[&args[..], &["--json"]].concat());
    let asked = message.asked(Operation::AddOperator).await;
    message.answer(&asked, success(account("ann", "admin"))).await;
    let ended = end(child).await;
    assert_eq!(ended.json()["password"], asked.envelope.payload["password"]);
    assert_eq!(ended.json()["role"], "admin");

    // One that was not taken is not shown.
    let child = stage.spawn(&args);
    let asked = message.asked(Operation::AddOperator).await;
    message.answer(&asked, failure("name_taken", "There is an account ann.", Value::Null)).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    assert!(ended.err.contains("`bigskies operator set`"), "{ended:?}");
}

#[tokio::test]
async fn a_password_is_asked_for_twice_and_never_seen() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let (child, mut terminal) = stage.spawn_at_terminal(&["operator", "set", "ann", "--new-password"]);
    terminal.shows("New password for ann: ").await;
    terminal.echoes(false).await;
    terminal.types(GOOD);
    terminal.shows("The same again: ").await;
    terminal.echoes(false).await;
    terminal.types(GOOD);
    let asked = message.asked(Operation::ChangeOperator).await;
    assert_eq!(asked.envelope.payload, json!({"name": "ann", "password": GOOD}));
    message.answer(&asked, success(account("ann", "viewer"))).await;
    let ended = end(child).await;
    assert!(ended.out.starts_with("ann is changed\n"), "{ended:?}");
    assert!(!terminal.text().contains("horse"), "{}", terminal.text());
    terminal.echoes(true).await;
}

#[tokio::test]
async fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    let stage = Stage::new().await;
    let (child, terminal) = stage.spawn_at_terminal(&["operator", "set", "ann", "--new-password"]);
    terminal.shows("New password for ann: ").await;
    terminal.echoes(false).await;
    let id = child.id().expect("it runs").to_string();
    let kill = std::process::Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(end(child).await.code, 130);
    terminal.echoes(true).await;
}

#[tokio::test]
async fn without_a_terminal_it_says_where_a_password_can_come_from() {
    let stage = Stage::new().await;
    let ended = stage.run(&["operator", "add", "ann", "--role", "viewer"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("--password-stdin or --generate"), "{ended:?}");
}

#[tokio::test]
async fn role_and_state_are_changed_without_a_password() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    for (args, payload) in [
        (
            &["--role", "operator", "--disable"][..],
            json!({"name": "ann", "role": "operator", "disabled": true}),
        ),
        (&["--enable"], json!({"name": "ann", "disabled": false})),
    ] {
        let child = stage.spawn(&[&["operator", "set", "ann"], args].concat());
        let asked = message.asked(Operation::ChangeOperator).await;
        assert_eq!(asked.envelope.payload, payload);
        message.answer(&asked, success(account("ann", "operator"))).await;
        assert_eq!(end(child).await.code, 0);
    }
    let child = stage.spawn(&["operator", "remove", "ann"]);
    let asked = message.asked(Operation::RemoveOperator).await;
    assert_eq!(asked.envelope.payload, json!({"name": "ann"}));
    message.answer(&asked, failure("unknown_operator", "There is no ann.", Value::Null)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("`bigskies operator list`"), "{ended:?}");
}

#[tokio::test]
async fn nobody_removes_or_disables_the_account_that_is_used() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    for args in [&["operator", "remove", "ada"][..], &["operator", "set", "ada", "--disable"]] {
        let ended = stage.run(args).await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains("let another admin"), "{ended:?}");
    }
    // Nothing was asked for: the next request is another one.
    let child = stage.spawn(&["operator", "list"]);
    let asked = message.asked(Operation::Operators).await;
    message.answer(&asked, success(json!({"operators": []}))).await;
    assert_eq!(end(child).await.code, 0);
}

#[tokio::test]
async fn a_new_password_for_the_account_that_is_used_reaches_it_although_the_broker_ends_the_connection() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let child = stage.spawn_with(&["operator", "set", "ada", "--password-stdin"], GOOD);
    let first = message.asked(Operation::ChangeOperator).await;
    stage.change_password("operator.ada", GOOD).await;
    // The same request with the new password; a coordinator knows it by its id.
    let again = message.asked(Operation::ChangeOperator).await;
    assert_eq!(first.envelope, again.envelope);
    message.answer(&again, success(account("ada", "admin"))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("ada is changed\n"), "{ended:?}");
    assert!(ended.err.contains("put its new password where your login is from"), "{ended:?}");
}

#[tokio::test]
async fn what_a_role_does_not_allow_is_said_with_the_roles_that_do() {
    let stage = Stage::new().await;
    let _plugin = stage.coordinator(Coordinator::Plugin).await;
    let ended = stage.run(&["plugin", "start", "focuser", "--username", "operator.vic"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let expected = "\
error: operator.vic may not ask for start: its role does not allow it, or the account was disabled
  next: accounts with the role operator or admin may: `bigskies operator list` shows them
";
    assert_eq!(ended.err, expected);
    let ended = stage.run(&["plugin", "control", "focuser", "park", "--username", "operator.vic"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("operator or admin may"), "{ended:?}");
    let ended = stage.run(&["key", "rotate", "--username", "operator.vic", "--json"]).await;
    let told: Value = serde_json::from_str(&ended.err).expect("JSON");
    assert_eq!(
        (&told["error"]["code"], &told["error"]["details"]),
        (&json!("forbidden"), &json!({"roles": ["admin"]}))
    );
}
