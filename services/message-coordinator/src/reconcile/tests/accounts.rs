//! Operators' accounts at the broker.

use acl::fixed::{operator_role, operators_login, personal_role};
use envelope::{OperatorName, OperatorRole};
use uuid::Uuid;

use super::*;
use crate::accounts::KeptPassword;

fn name(text: &str) -> OperatorName {
    OperatorName::parse(text).expect("a name")
}

/// A settled world with the account `alice`, as it is after `change`.
fn with_alice(change: impl FnOnce(&mut Account)) -> World {
    let mut world = World::settled();
    world.accounts.insert(name("alice"), alice());
    let plan = world.plan(false);
    world.carry_out(&plan);
    assert_eq!(world.plan(false), Plan::default());
    change(world.accounts.get_mut(&name("alice")).expect("she is known"));
    world
}

fn alice() -> Account {
    Account {
        name: name("alice"),
        role: OperatorRole::Operator,
        password: Some(KeptPassword { id: Uuid::now_v7(), sealed: vec![0] }),
        ..Account::first()
    }
}

/// What is planned, and that a second pass has nothing to do.
fn converges(mut world: World) -> Vec<(String, Option<DriftKind>)> {
    let told = world.steps();
    let plan = world.plan(false);
    world.carry_out(&plan);
    assert_eq!(world.plan(false).steps, []);
    told
}

#[test]
fn a_new_account_is_made_roles_first_and_surprises_nobody() {
    let mut world = World::settled();
    world.accounts.insert(name("alice"), Account { applied: false, ..alice() });
    let made = [("create operator.alice", None), ("login operator.alice", None)];
    assert_eq!(converges(world), steps(&made));
}

#[test]
fn what_was_asked_for_is_no_drift_and_what_was_not_is() {
    let changed = |account: &mut Account| account.role = OperatorRole::Viewer;
    let world = with_alice(|alice| {
        changed(alice);
        alice.applied = false;
    });
    let quiet = [("rewrite operator.alice", None), ("roles operator.alice", None)];
    assert_eq!(converges(world), steps(&quiet));
    let told = [("rewrite operator.alice", Some(Beyond)), ("roles operator.alice", Some(Beyond))];
    assert_eq!(converges(with_alice(changed)), steps(&told));
}

#[test]
fn a_login_with_another_password_is_made_anew() {
    let new =
        |alice: &mut Account| alice.password = Some(KeptPassword { id: Uuid::now_v7(), sealed: vec![1] });
    assert_eq!(converges(with_alice(new)), steps(&[("relogin operator.alice", Some(Beyond))]));
    // The seed brings back the password that the installation began with.
    let mut world = World::settled();
    let first = world.accounts.get_mut(&name("operator")).expect("always");
    new(first);
    assert_eq!(converges(world), steps(&[("relogin operator.operator", Some(Beyond))]));
}

#[test]
fn a_disabled_account_has_no_login_and_the_first_keeps_its_unknown_password() {
    let world = with_alice(|alice| (alice.disabled, alice.applied) = (true, false));
    assert_eq!(converges(world), steps(&[("logout operator.alice", None)]));
    let mut world = with_alice(|_| {});
    world.accounts.get_mut(&name("operator")).expect("always").disabled = true;
    assert_eq!(world.steps(), steps(&[("disable operator.operator", Some(Beyond))]));
    let plan = world.plan(false);
    world.carry_out(&plan);
    world.accounts.get_mut(&name("operator")).expect("always").disabled = false;
    assert_eq!(converges(world), steps(&[("enable operator.operator", Some(Less))]));
}

#[test]
fn a_removed_account_leaves_nothing() {
    let world = with_alice(|alice| (alice.removed, alice.applied) = (true, false));
    let gone = [("logout operator.alice", None), ("delete operator.alice", None)];
    assert_eq!(converges(world), steps(&gone));
    let world = with_alice(|alice| alice.removed = true);
    let gone = [("logout operator.alice", Some(Unknown)), ("delete operator.alice", Some(Unknown))];
    assert_eq!(converges(world), steps(&gone));
}

#[test]
fn a_broker_that_lost_its_file_gets_accounts_back_and_forgets_what_is_not_one() {
    let mut world = with_alice(|_| {});
    world.observed.clients.remove("operator.alice");
    world.observed.roles.remove("operator.alice");
    let old = Role { rolename: "operator".into(), acls: vec![rule("#", true)] };
    let evil = Role { rolename: "operator.evil".into(), acls: vec![rule("#", true)] };
    for role in [old, evil] {
        let refs = vec![RoleRef::new(&role.rolename, 0)];
        let login = format!("operator.with-{}", role.rolename);
        world.observed.clients.insert(login.clone(), client(&login, refs, None));
        world.observed.roles.insert(role.rolename.clone(), role);
    }
    let mended = [
        ("create operator.alice", Some(Missing)),
        ("logout operator.with-operator", Some(Unknown)),
        ("logout operator.with-operator.evil", Some(Unknown)),
        ("login operator.alice", Some(Missing)),
        ("delete operator", None),
        ("delete operator.evil", None),
    ];
    assert_eq!(converges(world), steps(&mended));
}

#[test]
fn a_login_whose_password_nobody_knows_is_told_and_left() {
    let mut world = with_alice(|alice| alice.password = None);
    assert_eq!(world.plan(false).steps, []);
    assert!(world.plan(false).findings[0].contains("change-operator"));
    world.observed.clients.remove("operator.alice");
    world.observed.clients.remove("operator.operator");
    let plan = world.plan(false);
    assert_eq!((plan.steps.len(), plan.findings.len()), (0, 2), "{plan:?}");
    assert!(plan.findings.iter().any(|f| f.contains("identities file")), "{plan:?}");
}

#[test]
fn a_pass_over_one_account_touches_nothing_else() {
    let mut world = with_alice(|alice| (alice.role, alice.applied) = (OperatorRole::Admin, false));
    world.role("operator-viewer").acls.push(rule("#", true));
    let alice = &world.accounts[&name("alice")];
    let login = operators_login(&alice.name, OperatorRole::Operator);
    let mut observed = Observed::default();
    for role in [operator_role(OperatorRole::Admin), personal_role(&alice.name, OperatorRole::Operator)] {
        observed.roles.insert(role.rolename.clone(), role);
    }
    let found = client(&login.username, login.roles, alice.note());
    observed.clients.insert(login.username, found);
    let plan = plan(&Desired::account(alice), &observed, false);
    let accounts: Vec<_> = plan.steps.iter().map(|p| (p.account.clone(), p.plugin.clone())).collect();
    assert_eq!(accounts, vec![(Some(name("alice")), None); 2], "{plan:?}");
    assert!(plan.findings.is_empty(), "{plan:?}");
}
