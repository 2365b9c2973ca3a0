//! What no operator can grant, however the filter is written; and what every plugin has anyway.

use manifest::{Access, Grant, Namespace, TopicFilter, Verdict, framework_version, parse};
use proptest::prelude::*;
use serde_json::json;

use crate::samples::manifest_with;

/// The reason for which the filter is refused; or else the grants that it needs.
fn judged(key: &str, filter: &str) -> Result<Vec<Grant>, String> {
    let document = manifest_with(json!({
        "health_check": {"topic": "bigskies/plugin/foc/health"},
        "mqtt": {key: [filter]},
    }));
    match parse(document.to_string().as_bytes(), &framework_version()) {
        Ok(parsed) => Ok(parsed.manifest.grants()),
        Err(faults) => {
            assert_eq!(faults.list().len(), 1, "{filter}: {faults}");
            assert_eq!(faults.list()[0].pointer, format!("/mqtt/{key}/0"));
            Err(faults.list()[0].reason.clone())
        }
    }
}

fn refused(key: &str, cases: &[(&str, &str)]) {
    for (filter, reason) in cases {
        let found = judged(key, filter).expect_err(filter);
        assert!(found.contains(reason) && found.contains("never granted"), "{filter}: {found}");
    }
}

#[test]
fn publishing_where_coordinators_operators_or_other_plugins_prove_who_they_are_is_refused() {
    refused(
        "topics_publish",
        &[
            ("#", "every topic"),
            ("+/#", "every topic"),
            ("$SYS/x", "begins with \"$\""),
            ("$CONTROL/dynamic-security/v1", "begins with \"$\""),
            ("bigskies/#", "topics of operators"),
            ("bigskies/+/+/+", "topics of operators"),
            ("+/operator/+/request/plugin/install", "topics of operators"),
            ("bigskies/operator", "topics of operators"),
            ("bigskies/coordinator/plugin/install", "coordinators alone publish"),
            ("bigskies/coordinator", "coordinators alone publish"),
            ("+/coordinator/#", "coordinators alone publish"),
            ("bigskies/coordinator/security/plugin/focuser/token", "coordinators alone publish"),
            ("+/+/plugin/state/mount", "topics of operators"),
            ("bigskies/plugin/#", "other plugins' requests"),
            ("bigskies/plugin/mount/#", "other plugins' requests"),
            ("bigskies/plugin/mount/request/plugin/remove", "other plugins' requests"),
            ("bigskies/plugin/+/response/plugin/list", "other plugins' requests"),
            ("bigskies/plugin/mount/+", "other plugins' requests"),
            ("bigskies/plugin/mount/health", "report health"),
            ("bigskies/plugin/+/status", "report health"),
            ("bigskies/plugin/{plugin-id}/data", "no id"),
            ("bigskies/plugin/a b/data", "no id"),
        ],
    );
}

#[test]
fn subscribing_to_secrets_requests_and_responses_of_others_is_refused() {
    refused(
        "topics_subscribe",
        &[
            ("#", "every topic"),
            ("$SYS/#", "begins with \"$\""),
            ("bigskies/#", "topics of operators"),
            ("bigskies/operator/+/response/#", "topics of operators"),
            ("bigskies/coordinator/#", "tokens of other plugins"),
            ("bigskies/coordinator/security/plugin/mount/token", "tokens of other plugins"),
            ("bigskies/coordinator/security/plugin/+/token", "tokens of other plugins"),
            ("bigskies/coordinator/security/#", "tokens of other plugins"),
            ("bigskies/coordinator/+/plugin/foc/token", "tokens of other plugins"),
            ("+/coordinator/+/+/+/+", "tokens of other plugins"),
            // The alias has no token of its own; a plugin that waits there would wait for ever.
            ("bigskies/coordinator/security/plugin/foc/token", "tokens of other plugins"),
            ("bigskies/coordinator/message/internal/provision", "say to each other"),
            ("bigskies/coordinator/plugin/internal/response/+", "say to each other"),
            ("bigskies/coordinator/plugin/install", "requests to coordinators"),
            ("bigskies/coordinator/plugin/install/response", "requests to coordinators"),
            ("bigskies/coordinator/plugin/+", "say to each other"),
            ("bigskies/coordinator/+", "requests to coordinators"),
            ("bigskies/plugin/mount/request/#", "other plugins' requests"),
            ("bigskies/plugin/mount/response/plugin/list", "other plugins' requests"),
            ("bigskies/plugin/mount/#", "other plugins' requests"),
            ("bigskies/plugin/+/+/plugin/list", "other plugins' requests"),
            ("bigskies/+/mount/request/x", "topics of operators"),
        ],
    );
}

#[test]
fn what_every_plugin_has_anyway_may_be_declared() {
    for filter in [
        "bigskies/plugin/focuser/#",
        "bigskies/plugin/foc/#",
        "bigskies/plugin/focuser/control/#",
        "bigskies/plugin/focuser/response/#",
        "bigskies/coordinator/security/plugin/focuser/token",
        "bigskies/coordinator/security/keys/#",
        "bigskies/coordinator/security/keys/jwks",
        "bigskies/coordinator/message/health/status",
        "bigskies/coordinator/+/health/status",
    ] {
        assert_eq!(judged("topics_subscribe", filter), Ok(vec![]), "{filter}");
    }
    for filter in
        ["bigskies/plugin/focuser/request/plugin/list", "bigskies/plugin/foc/health", "bigskies/plugin/foc/#"]
    {
        assert_eq!(judged("topics_publish", filter), Ok(vec![]), "{filter}");
    }
}

#[test]
fn what_is_somebody_elses_and_no_secret_is_for_an_operator_to_grant() {
    for filter in [
        "bigskies/plugin/mount/data",
        "bigskies/plugin/+/health",
        "bigskies/plugin/mount/control/#",
        "bigskies/coordinator/plugin/state/+",
        "bigskies/coordinator/plugin/state/mount",
        "bigskies/coordinator/plugin/event/#",
        "bigskies/coordinator/+/health/+",
        "weather/#",
        "bigskies",
    ] {
        let topic = TopicFilter::parse(filter).expect("a filter");
        assert_eq!(judged("topics_subscribe", filter), Ok(vec![Grant::Subscribe { topic }]));
    }
    for filter in ["bigskies/plugin/mount/control/slew", "bigskies/plugin/+/control/#", "weather/+"] {
        let topic = TopicFilter::parse(filter).expect("a filter");
        assert_eq!(judged("topics_publish", filter), Ok(vec![Grant::Publish { topic }]));
    }
}

/// Topics that must stay out of reach, whatever is granted.
const SECRETS: [&str; 7] = [
    "bigskies/coordinator/security/plugin/mount/token",
    "bigskies/coordinator/message/internal/provision",
    "bigskies/coordinator/plugin/install",
    "bigskies/coordinator/plugin/install/response",
    "bigskies/operator/operator/response/security/introspect",
    "bigskies/plugin/mount/request/plugin/list",
    "bigskies/plugin/mount/response/plugin/list",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    /// Secrets with some of their levels turned into wildcards: each such filter still reaches the secret.
    #[test]
    fn no_filter_that_reaches_a_secret_is_ever_granted(
        secret in prop::sample::select(&SECRETS[..]),
        wild in prop::collection::vec(prop::bool::ANY, 6),
        cut in prop::option::of(0usize..6),
        publish in prop::bool::ANY,
    ) {
        let levels = secret.split('/').zip(wild).map(|(level, wild)| if wild { "+" } else { level });
        let mut levels: Vec<&str> = levels.collect();
        if let Some(cut) = cut {
            levels.truncate(cut);
            levels.push("#");
        }
        let filter = TopicFilter::parse(&levels.join("/")).expect("a filter");
        let access = if publish { Access::Publish } else { Access::Subscribe };
        let id = "focuser".parse().expect("an id");
        let verdict = Namespace::new(&id, None).judge(access, &filter);
        prop_assert!(matches!(verdict, Verdict::Never(_)), "{:?} {} is {:?}", access, filter, verdict);
    }
}
