//! What a plugin asks for beyond its own namespace: shown, asked about, approved, taken back.

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use serde_json::{Value, json};

use crate::stage::{Stage, end, failure, success};

fn details(digest: &str) -> Value {
    json!({
        "grants": [
            {"key": "device:/dev/ttyUSB0", "risk": "medium", "sentence": "use the device /dev/ttyUSB0", "grant": {}},
            {"key": "publish:bigskies/plugin/mount/control/slew", "risk": "high", "sentence": "tell mount to slew\u{1b}[2J", "grant": {}},
        ],
        "approve": digest,
        "rating": {"score": 2, "reasons": ["It moves the hardware of another plugin."]},
    })
}

fn grants(pending: Value) -> Value {
    json!({
        "plugin_id": "focuser",
        "grants": [{"key": "root", "risk": "high", "sentence": "run as root", "grant": {},
            "state": "approved", "by": "operator:ann", "at": "2026-01-16T00:00:00Z"}],
        "rating": {"score": 3, "reasons": ["It runs as root."]},
        "pending": pending,
    })
}

fn installed() -> Value {
    success(json!({"plugin_id": "focuser", "name": "Focuser Control", "version": "1.0.0",
        "digest": "sha256:ab", "manifest_source": "label", "changed": true, "warnings": []}))
}

const INSTALL: [&str; 5] = ["plugin", "install", "r/i:1", "--id", "focuser"];

#[tokio::test]
async fn an_install_at_a_terminal_shows_what_is_asked_for_and_asks() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let (child, mut terminal) = stage.spawn_at_terminal(&INSTALL);
    let asked = plugin.asked(Operation::Install).await;
    assert_eq!(asked.envelope.payload.get("approve"), None);
    plugin
        .answer(
            &asked,
            failure(
                "approval_required",
                "focuser asks for more than its own namespace.",
                details("sha256:one"),
            ),
        )
        .await;
    let shown = terminal.shows("[y/N] ").await;
    let expected = "\
focuser asks for more than its own namespace.
  RISK     WHAT IT ASKS FOR
  high     tell mount to slew\\x1b[2J
  medium   use the device /dev/ttyUSB0
  Rating   2 of 6
           It moves the hardware of another plugin.
  Digest   sha256:one
Approve and install? [y/N] ";
    assert!(shown.ends_with(expected), "{shown}");
    terminal.types("y");

    let asked = plugin.asked(Operation::Install).await;
    assert_eq!(asked.envelope.payload["approve"], "sha256:one");
    // Meanwhile it asks for something else: that is shown and asked about too.
    plugin
        .answer(&asked, failure("approval_changed", "It asks for something else.", details("sha256:two")))
        .await;
    let shown = terminal.shows("[y/N] ").await;
    assert!(shown.contains("sha256:two"), "{shown}");
    terminal.types("yes");
    let asked = plugin.asked(Operation::Install).await;
    assert_eq!(asked.envelope.payload["approve"], "sha256:two");
    plugin.answer(&asked, installed()).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("focuser installed"), "{ended:?}");
}

#[tokio::test]
async fn who_does_not_say_yes_installs_nothing() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let (child, mut terminal) = stage.spawn_at_terminal(&INSTALL);
    let asked = plugin.asked(Operation::Install).await;
    plugin.answer(&asked, failure("approval_required", "It asks for more.", details("sha256:one"))).await;
    terminal.shows("[y/N] ").await;
    terminal.types("");
    assert_eq!(end(child).await.code, 5);
    terminal.shows("error: nothing was approved, so nothing was changed\n").await;
}

#[tokio::test]
async fn an_interrupted_question_is_no_answer() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let (child, terminal) = stage.spawn_at_terminal(&INSTALL);
    let asked = plugin.asked(Operation::Install).await;
    plugin.answer(&asked, failure("approval_required", "It asks for more.", details("sha256:one"))).await;
    terminal.shows("[y/N] ").await;
    let id = child.id().expect("it runs").to_string();
    let kill = std::process::Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(end(child).await.code, 130);
}

#[tokio::test]
async fn where_nobody_can_be_asked_an_install_says_the_exact_command_and_programs_get_the_list() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let error = failure("approval_required", "It asks for more.", details("sha256:one"));
    let child = stage.spawn(&INSTALL);
    let asked = plugin.asked(Operation::Install).await;
    plugin.answer(&asked, error.clone()).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.err.contains("plugin install r/i:1 --id focuser --approve sha256:one`\n"), "{ended:?}");
    // Programs are not asked, even where somebody could be.
    let (child, terminal) = stage.spawn_at_terminal(&[&INSTALL[..], &["--json"]].concat());
    let asked = plugin.asked(Operation::Install).await;
    plugin.answer(&asked, error.clone()).await;
    assert_eq!(end(child).await.code, 5);
    let told: Value = serde_json::from_str(&terminal.shows("}\n").await).expect("JSON");
    assert_eq!(told["error"], error["error"]);
}

#[tokio::test]
async fn grants_are_shown_with_what_waits_for_approval() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "grants", "focuser"]);
    let asked = plugin.asked(Operation::Grants).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser"}));
    plugin.answer(&asked, success(grants(details("sha256:one")))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for expected in
        ["focuser  rating 3 of 6\n", "operator:ann", "run as root", "Waiting for approval:\n", "sha256:one"]
    {
        assert!(ended.out.contains(expected), "{expected}: {}", ended.out);
    }
}

#[tokio::test]
async fn with_a_digest_exactly_that_is_approved_and_nobody_is_asked() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "approve", "focuser", "sha256:one"]);
    let asked = plugin.asked(Operation::Approve).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "approve": "sha256:one"}));
    plugin.answer(&asked, success(grants(Value::Null))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("run as root"), "{ended:?}");
}

#[tokio::test]
async fn without_a_digest_what_waits_is_shown_and_asked_about() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let (child, mut terminal) = stage.spawn_at_terminal(&["plugin", "approve", "focuser"]);
    let asked = plugin.asked(Operation::Grants).await;
    plugin.answer(&asked, success(grants(details("sha256:one")))).await;
    let shown = terminal.shows("Approve all of it? [y/N] ").await;
    assert!(shown.contains("tell mount to slew"), "{shown}");
    terminal.types("y");
    let asked = plugin.asked(Operation::Approve).await;
    assert_eq!(asked.envelope.payload["approve"], "sha256:one");
    plugin.answer(&asked, success(grants(Value::Null))).await;
    assert_eq!(end(child).await.code, 0);

    let child = stage.spawn(&["plugin", "approve", "focuser"]);
    let asked = plugin.asked(Operation::Grants).await;
    plugin.answer(&asked, success(grants(details("sha256:one")))).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (5, ""), "{ended:?}");
    assert!(ended.err.contains("`bigskies plugin approve focuser sha256:one`"), "{ended:?}");

    let child = stage.spawn(&["plugin", "approve", "focuser"]);
    let asked = plugin.asked(Operation::Grants).await;
    plugin.answer(&asked, success(grants(Value::Null))).await;
    let ended = end(child).await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "Nothing of focuser waits for approval.\n"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_grant_is_taken_back_by_its_key() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let args = ["plugin", "revoke-grant", "focuser", "root"];
    let child = stage.spawn(&args);
    let asked = plugin.asked(Operation::RevokeGrant).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "grant": "root"}));
    plugin.answer(&asked, success(grants(Value::Null))).await;
    assert_eq!(end(child).await.code, 0);

    let child = stage.spawn(&args);
    let asked = plugin.asked(Operation::RevokeGrant).await;
    plugin.answer(&asked, failure("unknown_grant", "focuser has no grant root.", Value::Null)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("`bigskies plugin grants` shows them"), "{ended:?}");
}
