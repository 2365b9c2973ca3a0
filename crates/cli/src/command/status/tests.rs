use bus::Password;
use envelope::OperatorName;

use super::*;
use crate::render::finish;

fn login() -> Login {
    Login {
        host: "127.0.0.1".to_owned(),
        port: 1883,
        username: "operator.ada".to_owned(),
        operator: OperatorName::parse("ada").expect("a name"),
        password: Password::new("secret"),
        origin: String::new(),
        exposed: None,
        tls: None,
    }
}

fn health(picture: &mut Picture, coordinator: Coordinator, status: &str, message: &str, details: &Value) {
    let payload = json!({"component": "c", "status": status, "message": message, "details": details});
    let topic = topic::coordinator::health(coordinator);
    picture.take(&topic, json!({"type": "status", "payload": payload}).to_string().as_bytes());
}

fn state(picture: &mut Picture, id: &str, changes: &Value) {
    let mut state = json!({"plugin_id": id, "name": id, "version": "1.0.0", "phase": "running", "health": "healthy",
        "digest": "sha256:ab", "node": "local", "generation": 1, "since": "2026-01-16T00:00:00Z",
        "cause": "c", "correlation_id": "i"});
    if let (Some(state), Some(changes)) = (state.as_object_mut(), changes.as_object()) {
        state.extend(changes.clone());
    }
    let topic = topic::coordinator::state(&PluginId::parse(id).expect("an id"));
    picture.take(&topic, json!({"type": "status", "payload": state}).to_string().as_bytes());
}

fn shown(picture: &Picture) -> String {
    let now: Timestamp = "2026-01-16T00:05:00Z".parse().expect("a time");
    finish(&picture.render(&login(), now, None), false)
}

#[test]
fn coordinators_and_plugins_are_seen_at_a_glance() {
    let mut picture = Picture::default();
    health(
        &mut picture,
        Coordinator::Plugin,
        "degraded",
        "no tokens can be had",
        &json!({"waiting_for": ["security"]}),
    );
    health(&mut picture, Coordinator::Message, "healthy", "", &json!({}));
    state(&mut picture, "focuser", &json!({}));
    let failed = json!({"phase": "failed", "health": "unknown", "reason": "exited with 1\u{1b}[2J"});
    state(&mut picture, "mount", &failed);
    let expected = "\
broker 127.0.0.1:1883 as operator.ada

COORDINATOR   HEALTH     MESSAGE
plugin        degraded   no tokens can be had; waiting for security
message       healthy
security      not seen   it has not been here since the broker was set up: docker compose ps

PLUGIN    VERSION   PHASE     HEALTH    SINCE       REASON
focuser   1.0.0     running   healthy   5 min ago
mount     1.0.0     failed    unknown   5 min ago   exited with 1\\x1b[2J

2 plugins: 1 running, 1 failed";
    assert_eq!(shown(&picture), expected);
}

#[test]
fn without_plugins_it_says_how_to_install_one() {
    assert!(shown(&Picture::default()).ends_with("No plugin is installed: bigskies plugin install --help"));
}

#[test]
fn a_state_that_is_cleared_is_gone_and_one_of_a_later_version_is_counted() {
    let mut picture = Picture::default();
    state(&mut picture, "focuser", &json!({}));
    picture.take(&topic::coordinator::state(&PluginId::parse("focuser").expect("an id")), b"");
    assert!(picture.plugins.is_empty());
    state(&mut picture, "mount", &json!({"phase": "dreaming"}));
    assert!(shown(&picture).contains("1 more of another version"), "{}", shown(&picture));
    assert_eq!(picture.to_json(&login())["plugins"][0]["phase"], "dreaming");
}

#[test]
fn programs_get_what_was_retained_and_never_the_password() {
    let mut picture = Picture::default();
    health(&mut picture, Coordinator::Plugin, "degraded", "m", &json!({"waiting_for": ["security"]}));
    let data = picture.to_json(&login());
    assert_eq!(data["coordinators"][0]["status"], "degraded");
    assert_eq!(data["coordinators"][0]["waiting_for"], json!(["security"]));
    assert_eq!(data["coordinators"][1]["status"], "not_seen");
    assert!(!data.to_string().contains("secret"));
}
