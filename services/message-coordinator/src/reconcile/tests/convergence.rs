//! Whatever somebody does to the broker by hand, one pass puts it right, and a second has nothing to do.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Harm {
    LoseRole(usize),
    LoseRule(usize),
    AddRule(usize, bool),
    LoseLogin(usize),
    LoseRoleOfLogin(usize),
    AddRoleToLogin(usize, usize),
    AddLogin(&'static str, usize),
    Default(bool),
}

fn harm() -> impl Strategy<Value = Harm> {
    let any = || any::<prop::sample::Index>().prop_map(|i| i.index(1000));
    prop_oneof![
        any().prop_map(Harm::LoseRole),
        any().prop_map(Harm::LoseRule),
        (any(), proptest::bool::ANY).prop_map(|(at, allow)| Harm::AddRule(at, allow)),
        any().prop_map(Harm::LoseLogin),
        any().prop_map(Harm::LoseRoleOfLogin),
        (any(), any()).prop_map(|(at, role)| Harm::AddRoleToLogin(at, role)),
        (prop::sample::select(vec!["plugin.two", "plugin.evil", "operator.evil", "stranger"]), any())
            .prop_map(|(name, role)| Harm::AddLogin(name, role)),
        proptest::bool::ANY.prop_map(Harm::Default),
    ]
}

fn do_harm(observed: &mut Observed, harm: Harm) {
    let nth = |map: &BTreeMap<String, Role>, at: usize| map.keys().nth(at % map.len().max(1)).cloned();
    let login = |map: &BTreeMap<String, Client>, at: usize| map.keys().nth(at % map.len().max(1)).cloned();
    match harm {
        Harm::LoseRole(at) => {
            if let Some(name) = nth(&observed.roles, at) {
                observed.roles.remove(&name);
                observed.clients.values_mut().for_each(|c| c.roles.retain(|r| r.rolename != name));
            }
        }
        Harm::LoseRule(at) => {
            if let Some(role) = nth(&observed.roles, at).and_then(|n| observed.roles.get_mut(&n)) {
                role.acls.pop();
            }
        }
        Harm::AddRule(at, allow) => {
            if let Some(role) = nth(&observed.roles, at).and_then(|n| observed.roles.get_mut(&n)) {
                role.acls.push(rule("evil/#", allow));
            }
        }
        Harm::LoseLogin(at) => {
            if let Some(name) = login(&observed.clients, at).filter(|n| !n.starts_with("coordinator.")) {
                observed.clients.remove(&name);
            }
        }
        Harm::LoseRoleOfLogin(at) => {
            if let Some(found) = login(&observed.clients, at).and_then(|n| observed.clients.get_mut(&n)) {
                found.roles.pop();
            }
        }
        Harm::AddRoleToLogin(at, role) => {
            let role = nth(&observed.roles, role);
            let found = login(&observed.clients, at).and_then(|n| observed.clients.get_mut(&n));
            if let (Some(role), Some(found)) = (role, found) {
                found.roles.push(RoleRef::new(role, 500));
            }
        }
        Harm::AddLogin(name, role) => {
            if let Some(role) = nth(&observed.roles, role) {
                observed.clients.insert(name.into(), client(name, vec![RoleRef::new(role, 0)], None));
            }
        }
        Harm::Default(allow) => {
            observed.default_access = Some(DefaultAccess { subscribe: allow, ..DefaultAccess::DENY });
        }
    }
}

proptest! {
    #[test]
    fn one_pass_puts_everything_right(harms in prop::collection::vec(harm(), 0..12)) {
        let mut world = World::settled();
        for harm in harms {
            do_harm(&mut world.observed, harm);
        }
        let plan = world.plan(false);
        world.carry_out(&plan);
        let again = world.plan(false);
        prop_assert_eq!(again.steps, []);
        let one = &world.observed.clients["plugin.one"];
        let want = &world.logins[&id("one")];
        prop_assert_eq!(&one.roles, &want.roles.refs());
        for (_, role) in want.roles.by_priority() {
            prop_assert!(world.observed.roles[&role.rolename].has_rules_of(role));
        }
        prop_assert!(!world.observed.clients.contains_key("plugin.evil"));
        prop_assert!(!world.observed.clients.contains_key("operator.evil"));
    }

    #[test]
    fn where_new_rules_disconnect_no_right_beyond_survives_a_pass_either(harms in prop::collection::vec(harm(), 0..12)) {
        let mut world = World::settled();
        for harm in harms {
            do_harm(&mut world.observed, harm);
        }
        let plan = world.plan(true);
        world.carry_out(&plan);
        prop_assert_eq!(world.plan(true).steps, []);
        for (_, role) in world.logins[&id("one")].roles.by_priority() {
            let found = &world.observed.roles[&role.rolename];
            prop_assert!(difference(role, found) != Difference::Beyond, "{:?}", found);
        }
    }
}
