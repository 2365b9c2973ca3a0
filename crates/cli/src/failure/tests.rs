use super::*;
use crate::render::finish;

fn refusal(code: &str, message: &str, details: Value) -> Failure {
    Failure::Refused(Box::new(Refusal {
        operation: Operation::Install,
        coordinator: Coordinator::Plugin,
        code: code.to_owned(),
        message: message.to_owned(),
        details,
        correlation_id: "c-1".to_owned(),
        again: None,
    }))
}

fn shown(failure: &Failure) -> String {
    finish(&failure.to_text(), false)
}

#[test]
fn every_fault_of_a_manifest_is_listed_with_its_fix() {
    let details = json!({"faults": [
        {"pointer": "/docker/image", "reason": "is missing", "fix": "name the image"},
        {"pointer": "", "reason": "is larger than 256 KiB"},
        "something else",
    ]});
    let failure = refusal("manifest_invalid", "The manifest has 3 faults.", details);
    let expected = "\
error: The manifest has 3 faults. (manifest_invalid)
  1. /docker/image  is missing
     fix: name the image
  2. the manifest  is larger than 256 KiB
  3. something else";
    assert_eq!(shown(&failure), expected);
    assert_eq!(failure.exit(), Exit::Failed);
}

#[test]
fn the_log_tail_of_a_failed_start_is_indented_and_harmless() {
    let failure = refusal(
        "not_ready",
        "mount exited with 1 before it reported health.",
        json!({"log_tail": "boot\n\u{1b}[31mno device\n"}),
    );
    let expected = "\
error: mount exited with 1 before it reported health. (not_ready)
  the last lines that the plugin wrote:
    | boot
    | \\x1b[31mno device";
    assert_eq!(shown(&failure), expected);
}

#[test]
fn an_approval_lists_the_grants_and_says_how_to_approve_them() {
    let failure = refusal(
        "approval_required",
        "focuser asks for more than its own namespace.",
        json!({"digest": "sha256:ab", "grants": [
            {"risk": "high", "sentence": "publish to mount/control/slew"},
            {"kind": "port", "port": 80},
        ]}),
    );
    let expected = "\
error: focuser asks for more than its own namespace. (approval_required)
  RISK   WHAT IT ASKS FOR
         {\"kind\":\"port\",\"port\":80}
  high   publish to mount/control/slew
  Digest   sha256:ab
  next: to approve exactly this, repeat the command with --approve sha256:ab";
    assert_eq!(shown(&failure), expected);
    assert_eq!(failure.exit(), Exit::Approval);
}

#[test]
fn hostile_text_of_an_answer_never_reaches_the_terminal() {
    let failure = refusal(
        "x\u{1b}c",
        "a\u{1b}]0;t\u{7}",
        json!({"faults": [{"pointer": "/\u{1b}", "reason": "\u{9b}"}]}),
    );
    assert!(!shown(&failure).chars().any(|c| c.is_control() && c != '\n'), "{}", shown(&failure));
}

#[test]
fn programs_get_the_coordinators_own_code_message_and_details() {
    let failure = refusal("from_the_future", "m", json!({"a": 1}));
    assert_eq!(
        failure.to_json(),
        json!({"error": {"code": "from_the_future", "message": "m", "details": {"a": 1}}})
    );
    assert_eq!(failure.exit(), Exit::Failed);
}

#[test]
fn every_kind_of_failure_has_its_documented_exit_code() {
    let (coordinator, operation) = (Coordinator::Plugin, Operation::Start);
    let cases = [
        (Failure::Usage(String::new()), 2),
        (Failure::Login(LoginError::Missing { what: "password" }), 3),
        (
            Failure::NoConnection {
                reason: String::new(),
                origin: String::new(),
                reachable: false,
                hint: None,
            },
            3,
        ),
        (Failure::CutOff { reason: String::new() }, 3),
        (Failure::NotAllowed { account: String::new(), what: String::new(), roles: Vec::new() }, 1),
        (Failure::Unproven(String::new()), 1),
        (Failure::NotApproved, 5),
        (refusal("approval_required", "", Value::Null), 5),
        (refusal("approval_changed", "", Value::Null), 5),
        (Failure::Broker(String::new()), 3),
        (Failure::BadAnswer { coordinator, operation, why: String::new() }, 1),
        (Failure::NobodyListens { coordinator, operation }, 4),
        (Failure::PluginDeaf { topics: Vec::new() }, 4),
        (
            Failure::NoAnswer {
                coordinator,
                operation,
                after: Duration::ZERO,
                health: None,
                correlation_id: String::new(),
            },
            4,
        ),
        (Failure::Interrupted { operation: None }, 130),
        (Failure::Output(io::ErrorKind::BrokenPipe.into()), 0),
        (Failure::Output(io::ErrorKind::StorageFull.into()), 1),
    ];
    for (failure, code) in cases {
        assert_eq!(failure.exit() as u8, code, "{failure:?}");
    }
}

#[test]
fn a_silent_coordinator_is_named_with_what_to_look_at() {
    let failure = Failure::NobodyListens { coordinator: Coordinator::Plugin, operation: Operation::Install };
    let text = shown(&failure);
    assert!(text.contains("is the plugin coordinator running?"), "{text}");
    assert!(text.contains("`docker compose ps`"), "{text}");
}

#[test]
fn what_a_role_does_not_allow_names_the_roles_that_do() {
    let failure = Failure::NotAllowed {
        account: "operator.vic".to_owned(),
        what: "ask for install".to_owned(),
        roles: vec![OperatorRole::Admin],
    };
    let expected = "\
error: operator.vic may not ask for install: its role does not allow it, or the account was disabled
  next: an account with the role admin may: `bigskies operator list` shows them";
    assert_eq!(shown(&failure), expected);
    assert_eq!(failure.to_json()["error"]["code"], "forbidden");
    assert_eq!(failure.to_json()["error"]["details"], json!({"roles": ["admin"]}));
}

#[test]
fn the_new_refusals_say_where_to_look() {
    for (code, advice) in [
        ("unknown_operator", "bigskies operator list"),
        ("unknown_grant", "bigskies plugin grants"),
        ("no_such_operation", "bigskies operations"),
        ("already_installed", "bigskies plugin update"),
        ("too_many_requests", "wait a moment"),
        ("forbidden", "with the role admin may"),
        ("internal", "docker compose logs plugin-coordinator"),
    ] {
        let text = shown(&refusal(code, "m", Value::Null));
        assert!(text.contains(advice), "{code}: {text}");
    }
}

#[test]
fn an_update_that_was_rolled_back_shows_what_the_new_version_wrote_and_that_the_old_one_runs() {
    let message = "focuser 2.0.0 was not ready within 60 s, so 1.0.0 runs again.";
    let failure =
        refusal("rolled_back", message, json!({"code": "not_ready", "failure": {"log_tail": "no device\n"}}));
    let expected = "\
error: focuser 2.0.0 was not ready within 60 s, so 1.0.0 runs again. (rolled_back)
  the last lines that the new version wrote:
    | no device
  next: nothing has to be put right: what ran before the update runs again, with its configuration and grants";
    assert_eq!(shown(&failure), expected);
    assert_eq!(failure.exit(), Exit::Failed);
}

#[test]
fn who_finds_a_plugin_busy_is_told_how_to_end_what_runs() {
    let text = shown(&refusal("busy", "m", json!({"operation_id": "o-1"})));
    assert!(text.contains("`bigskies cancel o-1`"), "{text}");
    assert_eq!(shown(&refusal("busy", "m", Value::Null)), "error: m (busy)");
}

#[test]
fn a_fault_of_a_whole_configuration_is_not_told_as_one_of_the_manifest() {
    let details = json!({"faults": [{"pointer": "", "reason": "is no object"}]});
    let text = shown(&refusal("config_invalid", "m", details));
    assert!(text.contains("1. the configuration  is no object"), "{text}");
}
