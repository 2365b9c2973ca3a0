use envelope::payload::login::Access as Wanted;
use envelope::payload::spec::Presence;
use envelope::principal::{Coordinator, Principal};
use envelope::topic::{RequestTopic, broker, operator};
use envelope::{Generation, InstallUid, Operation, OperatorName};

use super::*;
use crate::explain::{Action, decide, explain};

fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("an id")
}

/// The spec of the SDK document's sample manifest.
fn sample() -> Spec {
    Spec {
        plugin_id: id("unique-plugin-guid"),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "node".into(),
        presence: Presence::Present,
        alias: Some(id("myplugin")),
        client_ids: vec![],
        publish: vec![below("myplugin", "status"), below("myplugin", "data")],
        subscribe: vec![below("myplugin", "#")],
        health_topic: below("myplugin", "health"),
        permissions: vec![],
        manifest_digest: String::new(),
    }
}

fn below(name: &str, rest: &str) -> String {
    format!("{}{rest}", plugin::namespace(&id(name)).trim_end_matches('#'))
}

fn everywhere(rest: &str) -> String {
    format!("{}+/{rest}", plugin::all().trim_end_matches('#'))
}

fn refusals(change: impl FnOnce(&mut Spec)) -> Vec<String> {
    let mut spec = sample();
    change(&mut spec);
    compile(&spec).expect_err("it is refused").iter().map(ToString::to_string).collect()
}

#[test]
fn the_sdks_sample_may_do_what_it_does_and_nothing_else() {
    let roles = compile(&sample()).expect("it compiles");
    let may = |action, topic: &str| decide(&roles.by_priority(), action, topic).allowed;
    let own = id("unique-plugin-guid");
    let list = RequestTopic::new(Principal::Plugin(own.clone()), Operation::List);
    for topic in [
        below("myplugin", "health"),
        below("myplugin", "status"),
        below("myplugin", "data"),
        plugin::health(&own),
        list.to_string(),
    ] {
        assert!(may(Action::Publish, &topic), "{topic}");
    }
    for topic in [
        below("myplugin", "#"),
        plugin::control(&own),
        plugin::responses(&own),
        coordinator::token(&own),
        coordinator::keys(),
        coordinator::jwks(),
        coordinator::health(Coordinator::Message),
    ] {
        assert!(may(Action::Subscribe, &topic), "{topic}");
    }
    for topic in [plugin::control_command(&own, "stop"), list.response(), below("myplugin", "a/b")] {
        assert!(may(Action::Receive, &topic), "{topic}");
    }
    let other = id("other");
    for topic in [
        below("myplugin", "other"),
        plugin::health(&other),
        RequestTopic::new(Principal::Plugin(other.clone()), Operation::List).to_string(),
        RequestTopic::new(Principal::Unnamed, Operation::Install).to_string(),
        list.response(),
        below("myplugin", "request/plugin/list"),
        coordinator::spec(&own),
        coordinator::token(&own),
        broker::control().to_owned(),
    ] {
        assert!(!may(Action::Publish, &topic), "{topic}");
    }
    for topic in [
        "#".to_owned(),
        plugin::all(),
        plugin::namespace(&other),
        plugin::namespace(&own),
        coordinator::all(),
        coordinator::token(&other),
        coordinator::tokens(),
        operator::all(),
        broker::log().to_owned(),
        format!("$share/group/{}", plugin::control(&own)),
    ] {
        assert!(!may(Action::Subscribe, &topic), "{topic}");
    }
    for topic in [coordinator::token(&other), plugin::health(&other), below("myplugin", "request/x/y")] {
        assert!(!may(Action::Receive, &topic), "{topic}");
    }
}

#[test]
fn what_is_never_granted_is_refused_by_overlap_whoever_asks() {
    let user = OperatorName::parse("somebody").expect("a name");
    let install = RequestTopic::new(Principal::Unnamed, Operation::Install);
    let publish = [
        "#".to_owned(),
        "+/#".into(),
        "+/coordinator/plugin/install".into(),
        coordinator::all(),
        install.to_string(),
        install.response(),
        operator::requests(&user),
        plugin::all(),
        plugin::namespace(&id("other")),
        everywhere("request/#"),
        everywhere("+/plugin/list"),
        broker::control().into(),
        "$SYS/x".into(),
    ];
    for filter in publish {
        let reasons = refusals(|spec| spec.publish = vec![filter.clone()]);
        assert_eq!(reasons.len(), 1, "{filter}: {reasons:?}");
        assert!(reasons[0].starts_with("Publishing to"), "{reasons:?}");
    }
    let subscribe = [
        "#".to_owned(),
        "+/+/+/+/token".into(),
        coordinator::all(),
        coordinator::tokens(),
        coordinator::token(&id("other")),
        coordinator::internal(Coordinator::Security),
        install.to_string(),
        install.response(),
        operator::responses(&user),
        plugin::all(),
        plugin::namespace(&id("other")),
        plugin::responses(&id("other")),
        everywhere("+/#"),
        "$SYS/#".into(),
        "$share/g/x".into(),
    ];
    for filter in subscribe {
        let reasons = refusals(|spec| spec.subscribe = vec![filter.clone()]);
        assert_eq!(reasons.len(), 1, "{filter}: {reasons:?}");
        assert!(reasons[0].starts_with("Subscribing to"), "{reasons:?}");
    }
}

#[test]
fn what_an_operator_may_approve_is_let_through() {
    let mut spec = sample();
    spec.publish = vec![plugin::control(&id("mount")), "observatory/weather".into()];
    spec.subscribe =
        vec![plugin::health(&id("mount")), coordinator::states(), coordinator::events(Coordinator::Plugin)];
    let roles = compile(&spec).expect("it compiles");
    let slew = plugin::control_command(&id("mount"), "slew");
    assert!(explain(&roles.by_priority(), Wanted::Publish, &slew).allowed);
    assert!(explain(&roles.by_priority(), Wanted::Subscribe, &coordinator::states()).allowed);
}

#[test]
fn a_level_in_whose_place_the_broker_puts_what_a_client_says_is_refused() {
    let reasons = refusals(|spec| {
        spec.publish = vec![below("mount", "data").replace("mount", "%c"), "a/%u/b".into()];
        spec.health_topic = below("myplugin", "%c");
    });
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
fn every_reason_is_told_at_once_and_hostile_text_is_shortened() {
    let reasons = refusals(|spec| {
        spec.publish = vec!["a\u{1b}[2J".into(), "x".repeat(513)];
        spec.subscribe = vec!["a#".into()];
        spec.health_topic = below("other", "health");
        spec.client_ids = vec!["x".repeat(257)];
    });
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    assert!(reasons.iter().all(|r| r.len() < 400 && !r.contains('\u{1b}')), "{reasons:?}");
    let many = refusals(|spec| spec.subscribe = vec!["a".into(); 257]);
    assert_eq!(many.len(), 1, "{many:?}");
}

#[test]
fn the_same_rights_make_the_same_roles_and_others_make_others() {
    let one = compile(&sample()).expect("it compiles");
    let mut spec = sample();
    spec.generation = spec.generation.next();
    spec.publish.reverse();
    assert_eq!(compile(&spec).expect("it compiles").refs(), one.refs());
    spec.publish.clear();
    let other = compile(&spec).expect("it compiles");
    assert_ne!(other.manifest.rolename, one.manifest.rolename);
    assert_eq!((other.own, other.guard), (one.own, one.guard));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn level() -> impl Strategy<Value = String> {
        let words = [
            "bigskies",
            "coordinator",
            "plugin",
            "operator",
            "unique-plugin-guid",
            "myplugin",
            "other",
            "request",
            "response",
            "control",
            "health",
            "status",
            "security",
            "internal",
            "token",
            "+",
            "",
        ];
        prop::sample::select(words.to_vec()).prop_map(str::to_owned)
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 1..6), any::<bool>()).prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#".into());
            }
            levels.join("/")
        })
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..7).prop_map(|levels| levels.join("/").replace('+', "x"))
    }

    proptest! {
        #[test]
        fn no_spec_makes_compiling_panic(publish in prop::collection::vec(any::<String>(), 0..3), subscribe in prop::collection::vec(any::<String>(), 0..3), health in any::<String>()) {
            let mut spec = sample();
            (spec.publish, spec.subscribe, spec.health_topic) = (publish, subscribe, health);
            let _ = compile(&spec);
        }

        #[test]
        fn whatever_compiles_never_reaches_what_is_never_granted(
            publish in prop::collection::vec(filter(), 0..3),
            subscribe in prop::collection::vec(filter(), 0..3),
            topics in prop::collection::vec(topic(), 64),
        ) {
            let mut spec = sample();
            (spec.publish, spec.subscribe) = (publish, subscribe);
            let Ok(roles) = compile(&spec) else { return Ok(()) };
            let own = [plugin::namespace(&spec.plugin_id), below("myplugin", "#")];
            let is_own = |topic: &str| own.iter().any(|filter| crate::explain::matches(filter, topic));
            for topic in topics {
                let published = decide(&roles.by_priority(), Action::Publish, &topic).allowed;
                if published && guard::never_published().iter().any(|f| crate::explain::matches(f, &topic)) {
                    prop_assert!(crate::explain::matches(&plugin::requests(&spec.plugin_id), &topic), "{}", topic);
                }
                let received = decide(&roles.by_priority(), Action::Receive, &topic).allowed;
                if received && guard::never_received().iter().any(|f| crate::explain::matches(f, &topic)) {
                    let mine = [plugin::responses(&spec.plugin_id), coordinator::token(&spec.plugin_id)];
                    prop_assert!(mine.iter().any(|f| crate::explain::matches(f, &topic)), "{}", topic);
                }
                let asked = |list: &[String]| list.iter().any(|f| crate::explain::matches(f, &topic));
                if published && !is_own(&topic) {
                    prop_assert!(asked(&spec.publish), "{}", topic);
                }
            }
        }
    }
}
