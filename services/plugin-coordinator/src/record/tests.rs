//! What a record says of a plugin's grants, and what of them reaches the message coordinator.

use envelope::payload::grant::GrantState;
use serde_json::json;

use super::*;

const ADA: &str = "operator:ada";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// A plugin that asks for one of each kind, and has it all.
pub(crate) fn record() -> Record {
    let document = json!({
        "id": "focuser", "name": "Focuser", "version": "1.0.0",
        "mqtt": {
            "topics_publish": ["bigskies/plugin/focuser/position", "bigskies/plugin/dome/control/open"],
            "topics_subscribe": ["bigskies/plugin/weather/data"],
        },
        "permissions": ["plugin:read", "plugin:control"],
        "devices": ["/dev/ttyUSB0"],
        "docker": {"ports": ["0.0.0.0:80:8080"]},
    });
    let parsed = manifest::parse_value(document.clone(), &manifest::framework_version());
    let grants = parsed.expect("a manifest").manifest.grants();
    Record {
        id: PluginId::parse("focuser").expect("an id"),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        release: Release {
            source: "r/i:1".into(),
            reference: "r/i@sha256:0".into(),
            digest: "sha256:0".into(),
            manifest: document.into(),
            manifest_source: ManifestSource::Label,
            warnings: Vec::new(),
            grants: grants.into_iter().map(|grant| Granted::approved(grant, ADA, at(1))).collect(),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            config: None,
        },
        next: None,
        previous: None,
        installed_at: at(1),
        desired: Desired::Running,
        standing: Standing {
            phase: Phase::Running,
            reason: None,
            since: at(1),
            cause: "test".into(),
            correlation_id: "c".into(),
        },
        start: Some(Start {
            id: StartId::new(),
            progress: StartProgress::Ready,
            generation: Some(Generation::FIRST),
            started_at: Some(at(1)),
            listened: None,
        }),
        owed: Vec::new(),
        last_exit: None,
        failures: 0,
        retry_at: None,
        halted: None,
        watchdog: Default::default(),
        restart: None,
        revision: 1,
    }
}

fn spec(record: &Record) -> Spec {
    record.spec(&record.manifest(), "local")
}

#[test]
fn what_was_taken_back_is_in_no_spec_and_in_no_container() {
    let mut record = record();
    let before = spec(&record);
    assert_eq!(before.permissions, ["plugin:read", "plugin:control"]);
    for (key, left) in [
        ("publish:bigskies/plugin/dome/control/open", 1),
        ("subscribe:bigskies/plugin/weather/data", 0),
        ("permission:plugin:control", 1),
        ("port:0.0.0.0:80/tcp", 1),
    ] {
        let taken = record.revoke(key, ADA, at(2)).expect("is granted");
        assert_eq!(taken.len(), 1, "{key}");
        let after = spec(&record);
        let count = match key.split(':').next() {
            Some("publish") => after.publish.len(),
            Some("subscribe") => after.subscribe.len(),
            Some("permission") => after.permissions.len(),
            _ => record.manifest().docker.ports.iter().filter(|p| p.is_loopback()).count(),
        };
        assert_eq!(count, left, "{key}: {after:?}");
    }
    assert_eq!(record.generation, Generation(5));
    assert_eq!(record.desired, Desired::Running);
    assert_eq!(spec(&record).manifest_digest, before.manifest_digest);
}

#[test]
fn taking_back_twice_changes_nothing_and_an_unknown_key_is_none() {
    let mut record = record();
    let key = "permission:plugin:control";
    assert_eq!(record.revoke(key, ADA, at(2)).map(|taken| taken.len()), Some(1));
    let once = record.clone();
    assert_eq!(record.revoke(key, "operator:bob", at(3)), Some(Vec::new()));
    assert_eq!(record.revoke("permission:plugin:write", ADA, at(3)), None);
    assert_eq!(record, once);
}

#[test]
fn a_plugin_that_cannot_run_without_what_was_taken_back_is_to_stop_and_says_why() {
    let mut record = record();
    record.revoke("device:/dev/ttyUSB0", ADA, at(2)).expect("is granted");
    assert_eq!(record.desired, Desired::Stopped);
    assert_eq!(record.lacks().len(), 1);
    assert!(record.manifest().devices.is_empty());
    let why = record.why_stopped().expect("a reason");
    assert!(why.contains("device:/dev/ttyUSB0"), "{why}");
    record.standing.phase = Phase::Stopped;
    assert_eq!(record.restore(ADA, at(3)).len(), 1);
    assert_eq!((record.why_stopped(), record.standing.reason.clone()), (None, None));
    assert_eq!(record.desired, Desired::Stopped, "an approval starts nothing");
}

#[test]
fn one_digest_means_one_list_and_an_approval_names_who_gave_what_back() {
    let mut record = record();
    let whole = record.approval(&record.manifest());
    assert_eq!(whole.grants.len(), record.release.grants.len());
    assert_eq!(record.grants(&record.manifest()).pending, None);
    record.revoke("device:/dev/ttyUSB0", ADA, at(2)).expect("is granted");
    let told = record.grants(&record.manifest());
    assert_eq!(told.pending.as_ref(), Some(&whole));
    assert!(told.rating.reasons.len() < whole.rating.reasons.len(), "{told:?}");
    let revoked: Vec<_> =
        told.grants.iter().filter(|g| matches!(g.state, GrantState::Revoked { .. })).collect();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].entry.key, "device:/dev/ttyUSB0");
    let given = record.restore("operator:bob", at(3));
    assert_eq!(given.len(), 1);
    for granted in &record.release.grants {
        let bob = GrantState::Approved { by: "operator:bob".into(), at: at(3) };
        assert_eq!(granted.state == bob, granted.grant == given[0], "{granted:?}");
    }
}

#[test]
fn a_grant_is_kept_with_its_state() {
    let mut record = record();
    record.revoke("device:/dev/ttyUSB0", ADA, at(2)).expect("is granted");
    let text = serde_json::to_value(&record).expect("encodes");
    assert_eq!(text["release"]["grants"][3]["state"], "revoked");
    assert_eq!(serde_json::from_value::<Record>(text).ok(), Some(Record { revision: 0, ..record }));
}

#[test]
fn a_row_of_before_starts_had_a_generation_is_not_outdated_until_it_changes() {
    let mut text = serde_json::to_value(record()).expect("encodes");
    text["start"].as_object_mut().expect("a start").remove("generation");
    let mut old: Record = serde_json::from_value(text).expect("is read");
    assert!(!old.is_outdated());
    old.advance_generation();
    assert!(old.is_outdated());
}
