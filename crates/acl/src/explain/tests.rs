use proptest::prelude::*;

use super::*;

fn acl(acltype: AclType, topic: &str, priority: i32, allow: bool) -> Acl {
    Acl { acltype, topic: topic.into(), priority, allow }
}

fn role(name: &str, acls: Vec<Acl>) -> Role {
    Role { rolename: name.into(), acls }
}

#[test]
fn the_role_of_higher_priority_decides_and_in_it_the_rule_of_higher_priority() {
    use AclType::PublishClientSend as Send;
    let low = role("low", vec![acl(Send, "a/#", 9, true)]);
    let high = role("high", vec![acl(Send, "a/b", 1, true), acl(Send, "a/+", 0, false)]);
    let held = [(1, &low), (2, &high)];
    assert!(decide(&held, Action::Publish, "a/b").allowed);
    assert!(!decide(&held, Action::Publish, "a/c").allowed);
    assert!(decide(&held, Action::Publish, "a/c/d").allowed);
    assert_eq!(decide(&held, Action::Publish, "b"), Decision { allowed: false, by: None });
    let explained = explain(&held, Access::Publish, "a/c");
    assert_eq!(explained.reason, r#"The role "high" denies publishing by its rule "a/+"."#);
    assert_eq!((explained.role.as_deref(), explained.rule.as_deref()), (Some("high"), Some("a/+")));
}

#[test]
fn a_subscription_that_is_never_served_is_not_allowed() {
    let all = role("r", vec![acl(AclType::SubscribePattern, "a/#", 0, true)]);
    let explained = explain(&[(0, &all)], Access::Subscribe, "a/b");
    assert!(!explained.allowed);
    assert!(explained.reason.contains("delivery"), "{}", explained.reason);
}

#[test]
fn a_subscription_is_told_with_what_it_does_not_bring() {
    let fence = role("fence", vec![acl(AclType::PublishClientReceive, "a/+/secret", 0, false)]);
    let open = role("open", vec![acl(AclType::SubscribePattern, "a/#", 0, true)]);
    let explained = explain(&[(2, &fence), (1, &open)], Access::Subscribe, "a/b/#");
    assert!(explained.allowed);
    assert!(explained.reason.contains(r#""a/+/secret" is not delivered"#), "{}", explained.reason);
}

#[test]
fn patterns_are_compared_as_subsets() {
    for (rule, subscription) in [
        ("#", "x"),
        ("a/#", "a"),
        ("a/#", "a/#"),
        ("a/#", "a/+/b"),
        ("a/+", "a/+"),
        ("a/+", "a/b"),
        ("a/+/#", "a/b"),
    ] {
        assert!(lies_inside(rule, subscription), "{rule} {subscription}");
    }
    for (rule, subscription) in [
        ("a/#", "#"),
        ("a/#", "+/#"),
        ("a/#", "ab/#"),
        ("a/+", "a/#"),
        ("a/b", "a/+"),
        ("a/+", "a/b/c"),
        ("a", "a/"),
    ] {
        assert!(!lies_inside(rule, subscription), "{rule} {subscription}");
    }
}

/// Every topic of up to three levels over a small alphabet.
fn topics() -> Vec<String> {
    let levels = ["a", "b", ""];
    let mut all: Vec<String> = levels.map(str::to_owned).into();
    for _ in 0..2 {
        let longer: Vec<String> =
            all.iter().flat_map(|t| levels.map(|level| format!("{t}/{level}"))).collect();
        all.extend(longer);
    }
    all.sort();
    all.dedup();
    all
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "+", ""]);
    (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn rules() -> impl Strategy<Value = Vec<Acl>> {
    let kind = prop::sample::select(vec![
        AclType::PublishClientSend,
        AclType::PublishClientReceive,
        AclType::SubscribePattern,
    ]);
    let one = (kind, filter(), any::<bool>());
    prop::collection::vec(one, 0..6).prop_map(|rules| {
        // Distinct priorities, so that the order of making does not matter.
        let numbered = (0i32..).zip(rules);
        numbered.map(|(n, (kind, topic, allow))| acl(kind, &topic, n, allow)).collect()
    })
}

proptest! {
    #[test]
    fn deciding_is_the_same_as_asking_all_rules_in_one_line(high in rules(), low in rules()) {
        let (high, low) = (role("high", high), role("low", low));
        let mut line: Vec<(i32, i32, &Acl)> = high.acls.iter().map(|a| (2, a.priority, a)).collect();
        line.extend(low.acls.iter().map(|a| (1, a.priority, a)));
        line.sort_by_key(|(role, rule, _)| (-role, -rule));
        for topic in topics() {
            let brute = line
                .iter()
                .find(|(_, _, a)| a.acltype == AclType::PublishClientSend && matches(&a.topic, &topic))
                .is_some_and(|(_, _, a)| a.allow);
            let decision = decide(&[(1, &low), (2, &high)], Action::Publish, &topic);
            prop_assert_eq!(decision.allowed, brute, "{}", topic);
        }
    }

    #[test]
    fn a_subscription_inside_a_rule_brings_only_what_the_rule_matches(rule in filter(), subscription in filter()) {
        if lies_inside(&rule, &subscription) {
            for topic in topics() {
                prop_assert!(!matches(&subscription, &topic) || matches(&rule, &topic), "{}", topic);
            }
        }
    }
}
