use std::collections::BTreeMap;
use std::sync::Arc;

use acl::dynsec::{Acl, AclType, Client, GroupRef};
use acl::fixed;
use acl::role::{own_name, priority};
use envelope::payload::spec::{AclOutcome, AclStatus, Presence, Spec};
use envelope::principal::operator_login;
use envelope::{Generation, InstallUid, StartId, Timestamp, topic};

use super::*;
use crate::accounts::{Account, Accounts};
use crate::desired::{judge, judge_one, username};
use crate::logins::{Login, Logins};
use crate::specs::{Known, Specs};

mod accounts;
mod convergence;

pub(super) fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("an id")
}

fn spec(name: &str) -> Spec {
    Spec {
        plugin_id: id(name),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "node".into(),
        presence: Presence::Present,
        alias: None,
        client_ids: vec![],
        publish: vec![],
        subscribe: vec![],
        health_topic: topic::plugin::health(&id(name)),
        permissions: vec![],
        manifest_digest: String::new(),
    }
}

/// Two plugins that are installed and acknowledged, `one` is started; and a broker that has it all.
pub(super) struct World {
    pub(super) specs: Specs,
    pub(super) logins: Logins,
    pub(super) accounts: Accounts,
    pub(super) observed: Observed,
}

impl World {
    pub(super) fn settled() -> Self {
        let first = Account::first();
        let mut world = Self {
            specs: Specs::new(),
            logins: Logins::new(),
            accounts: [(first.name.clone(), first)].into(),
            observed: Observed::default(),
        };
        for name in ["one", "two"] {
            world.specs.insert(id(name), Known { spec: spec(name), status: None });
        }
        let verdicts = judge(&world.specs, &world.logins);
        for known in world.specs.values_mut() {
            let roles = verdicts[&known.spec.plugin_id].as_ref().expect("it compiles");
            known.status = Some(AclStatus {
                plugin_id: known.spec.plugin_id.clone(),
                uid: known.spec.uid,
                generation: known.spec.generation,
                outcome: AclOutcome::Applied { role: roles.manifest.rolename.clone() },
                at: Timestamp::now(),
            });
        }
        let one = &world.specs[&id("one")].spec;
        let roles = verdicts[&id("one")].clone().expect("it compiles");
        let login = Login {
            plugin_id: id("one"),
            installation: Some((one.uid, one.generation)),
            start_id: StartId::new(),
            roles,
            password: Some(vec![0]),
            ending: false,
        };
        world.logins.insert(id("one"), login);
        for login in fixed::logins() {
            world.observed.clients.insert(login.username.clone(), client(&login.username, login.roles, None));
        }
        world.observed.default_access = Some(DefaultAccess::DENY);
        let plan = world.plan(false);
        world.carry_out(&plan);
        world
    }

    pub(super) fn plan(&self, disconnects: bool) -> Plan {
        let desired =
            Desired::everything(&self.specs, &self.logins, &self.accounts, &judge(&self.specs, &self.logins));
        plan(&desired, &self.observed, disconnects)
    }

    /// What the broker does with these steps.
    pub(super) fn carry_out(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            let Observed { default_access, roles, clients } = &mut self.observed;
            match &planned.step {
                Step::SetDefaultAccess(access) => *default_access = Some(*access),
                Step::CreateRole(role) | Step::RewriteRole(role) => {
                    roles.insert(role.rolename.clone(), role.clone());
                }
                Step::DeleteRole(name) => {
                    roles.remove(name);
                    clients.values_mut().for_each(|c| c.roles.retain(|r| r.rolename != *name));
                }
                Step::DeleteLogin(name) => drop(clients.remove(name)),
                Step::CreateLogin(id) | Step::ReplaceLogin(id) => {
                    let login = &self.logins[id];
                    for role in login.roles.refs() {
                        assert!(roles.contains_key(&role.rolename), "a login never comes before its roles");
                    }
                    let name = login.username();
                    clients.insert(name.clone(), client(&name, login.roles.refs(), Some(login.note())));
                }
                Step::CreateAccount(name) | Step::ReplaceAccount(name) => {
                    let account = &self.accounts[name];
                    let login = fixed::operators_login(name, account.role);
                    for role in &login.roles {
                        assert!(roles.contains_key(&role.rolename), "a login never comes before its roles");
                    }
                    clients
                        .insert(login.username.clone(), client(&login.username, login.roles, account.note()));
                }
                Step::DisableLogin(name) => {
                    clients.get_mut(name).expect("the planner saw it").disabled = true
                }
                Step::EnableLogin(name) => {
                    clients.get_mut(name).expect("the planner saw it").disabled = false
                }
                Step::SetRoles { username, roles: wanted } => {
                    let client = clients.get_mut(username).expect("the planner saw it");
                    for role in wanted {
                        assert!(roles.contains_key(&role.rolename), "a login never comes before its roles");
                    }
                    (client.roles, client.groups) = (wanted.clone(), vec![]);
                }
            }
        }
    }

    /// The steps as text, and what kinds of drift they tell.
    fn steps(&self) -> Vec<(String, Option<DriftKind>)> {
        let show = |step: &Step| match step {
            Step::SetDefaultAccess(_) => "default".to_owned(),
            Step::CreateRole(role) => format!("create {}", short(&role.rolename)),
            Step::RewriteRole(role) => format!("rewrite {}", short(&role.rolename)),
            Step::DeleteRole(name) => format!("delete {}", short(name)),
            Step::DeleteLogin(name) => format!("logout {name}"),
            Step::CreateLogin(id) => format!("login {id}"),
            Step::ReplaceLogin(id) => format!("relogin {id}"),
            Step::CreateAccount(name) => format!("login {}", operator_login(name)),
            Step::ReplaceAccount(name) => format!("relogin {}", operator_login(name)),
            Step::DisableLogin(name) => format!("disable {name}"),
            Step::EnableLogin(name) => format!("enable {name}"),
            Step::SetRoles { username, .. } => format!("roles {username}"),
        };
        let plan = self.plan(false);
        plan.steps.iter().map(|p| (show(&p.step), p.drift.as_ref().map(|d| d.kind))).collect()
    }

    pub(super) fn role(&mut self, prefix: &str) -> &mut Role {
        let found = self.observed.roles.values_mut().find(|r| r.rolename.starts_with(prefix));
        found.expect("the broker has it")
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.observed.clients.get_mut(name).expect("the broker has it")
    }
}

/// A role's name without its hash.
fn short(name: &str) -> &str {
    name.rsplit_once(':').filter(|(_, hash)| hash.len() == 32).map_or(name, |(prefix, _)| prefix)
}

pub(super) fn client(name: &str, roles: Vec<RoleRef>, note: Option<String>) -> Client {
    Client {
        username: name.to_owned(),
        textname: note,
        clientid: None,
        disabled: false,
        roles,
        groups: vec![],
        password: None,
    }
}

pub(super) fn rule(topic: &str, allow: bool) -> Acl {
    Acl { acltype: AclType::PublishClientSend, topic: topic.into(), priority: 0, allow }
}

fn steps(list: &[(&str, Option<DriftKind>)]) -> Vec<(String, Option<DriftKind>)> {
    list.iter().map(|(step, kind)| ((*step).to_owned(), *kind)).collect()
}

use DriftKind::{Beyond, Less, Missing, Unknown};

#[test]
fn a_broker_that_is_as_it_should_be_is_left_alone() {
    let world = World::settled();
    assert_eq!(world.plan(false), Plan::default());
    assert_eq!(world.plan(true), Plan::default());
}

#[test]
fn rights_beyond_what_is_wanted_are_taken_away_wherever_they_are() {
    let mut world = World::settled();
    world.role("plugin.one:manifest").acls.push(rule("#", true));
    world.role("guard").acls.pop();
    world.role("operator-viewer").acls.push(rule("#", true));
    world.role("operator.operator").acls.push(rule("#", true));
    world.client("plugin.one").roles.push(RoleRef::new("operator-admin", 999));
    world.client("coordinator.plugin").groups.push(GroupRef { groupname: "everybody".into() });
    world.observed.default_access = Some(DefaultAccess { subscribe: true, ..DefaultAccess::DENY });
    let mut found = world.steps();
    found.sort();
    let mut wanted = steps(&[
        ("default", Some(Beyond)),
        ("rewrite guard", Some(Beyond)),
        ("rewrite operator-viewer", Some(Beyond)),
        ("rewrite operator.operator", Some(Beyond)),
        ("rewrite plugin.one:manifest", Some(Beyond)),
        ("roles coordinator.plugin", Some(Beyond)),
        ("roles plugin.one", Some(Beyond)),
    ]);
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn a_login_without_the_guard_is_one_with_rights_beyond() {
    let mut world = World::settled();
    world.client("plugin.one").roles.retain(|r| !r.rolename.starts_with("guard"));
    assert_eq!(world.steps(), steps(&[("roles plugin.one", Some(Beyond))]));
    let mut world = World::settled();
    world.client("plugin.one").roles.iter_mut().for_each(|r| r.priority = -1);
    assert_eq!(world.steps(), steps(&[("roles plugin.one", Some(Beyond))]));
}

#[test]
fn a_role_with_fewer_rights_waits_only_where_putting_it_right_disconnects() {
    let mut world = World::settled();
    world.role("plugin.one:manifest").acls.pop();
    world.role("plugin.two:manifest").acls.pop();
    let both = [("rewrite plugin.one:manifest", Some(Less)), ("rewrite plugin.two:manifest", Some(Less))];
    assert_eq!(world.steps(), steps(&both));
    let plan = world.plan(true);
    assert_eq!(plan.steps.len(), 1, "nobody has the role of two: {plan:?}");
    assert!(plan.findings[0].contains("next start"), "{plan:?}");
}

#[test]
fn what_a_broker_lost_is_made_again_roles_first() {
    let mut world = World::settled();
    world.observed.roles.retain(|name, _| name.starts_with("coordinator") || name.starts_with("operator"));
    world.observed.clients.retain(|name, _| !name.starts_with("plugin"));
    let made = [
        ("create guard", Some(Missing)),
        ("create plugin.one:own", Some(Missing)),
        ("create plugin.one:manifest", Some(Missing)),
        ("create plugin.two:own", Some(Missing)),
        ("create plugin.two:manifest", Some(Missing)),
        ("login one", Some(Missing)),
    ];
    assert_eq!(world.steps(), steps(&made));
}

#[test]
fn a_new_spec_makes_its_role_beside_that_of_the_running_generation() {
    let mut world = World::settled();
    let known = world.specs.get_mut(&id("one")).expect("known");
    known.spec.generation = known.spec.generation.next();
    known.spec.publish = vec!["observatory/x".into()];
    known.status = None;
    assert_eq!(world.steps(), steps(&[("create plugin.one:manifest", None)]));
    let plan = world.plan(false);
    world.carry_out(&plan);
    assert_eq!(world.plan(true), Plan::default());

    let roles = judge(&world.specs, &world.logins)[&id("one")].clone().expect("it compiles");
    let login = world.logins.get_mut(&id("one")).expect("known");
    (login.roles, login.start_id) = (roles, StartId::new());
    assert_eq!(world.steps(), steps(&[("relogin one", None), ("delete plugin.one:manifest", None)]));
}

#[test]
fn the_guard_of_another_version_stays_for_as_long_as_a_login_has_it() {
    let mut world = World::settled();
    let old = world.logins.get_mut(&id("one")).expect("known");
    let guard = &mut Arc::make_mut(&mut old.roles).guard;
    guard.acls.pop();
    guard.rolename = acl::role::guard_name(&guard.acls);
    let (guard, refs) = (old.roles.guard.clone(), old.roles.refs());
    world.client("plugin.one").roles = refs;
    world.observed.roles.insert(guard.rolename.clone(), guard);
    assert_eq!(world.plan(true), Plan::default());
    world.logins.clear();
    world.observed.clients.remove("plugin.one");
    assert_eq!(world.steps(), steps(&[("delete guard", None)]));
}

#[test]
fn an_absent_spec_leaves_nothing_and_a_missing_one_everything() {
    let mut world = World::settled();
    world.specs.remove(&id("two"));
    world.specs.remove(&id("one"));
    assert_eq!(
        world.steps(),
        steps(&[("delete plugin.two:manifest", None), ("delete plugin.two:own", None)]),
        "two has no login; one is running"
    );
    let mut world = World::settled();
    world.specs.get_mut(&id("one")).expect("known").spec.presence = Presence::Absent;
    let gone =
        [("logout plugin.one", None), ("delete plugin.one:manifest", None), ("delete plugin.one:own", None)];
    assert_eq!(world.steps(), steps(&gone));
}

#[test]
fn a_login_that_is_to_go_goes_and_its_plugins_roles_stay() {
    let mut world = World::settled();
    world.logins.get_mut(&id("one")).expect("known").ending = true;
    assert_eq!(world.steps(), steps(&[("logout plugin.one", None)]));
    world.observed.clients.remove("plugin.one");
    assert_eq!(world.plan(false), Plan::default());
}

#[test]
fn a_new_database_adopts_the_logins_that_an_earlier_one_made() {
    let mut world = World::settled();
    assert_eq!(adoptable(&world.observed, &world.logins, None), [], "it is known");
    let kept = world.logins.remove(&id("one")).expect("known");
    let adopted = adoptable(&world.observed, &world.logins, None);
    assert_eq!(adopted, [Login { installation: None, password: None, ..kept }]);
    world.logins.extend(adopted.into_iter().map(|login| (login.plugin_id.clone(), login)));
    assert_eq!(world.plan(false), Plan::default());

    world.specs.clear();
    let plan = world.plan(false);
    assert_eq!(plan.findings.len(), 1, "{plan:?}");
    let of_one = |p: &&Planned| p.plugin == Some(id("one"));
    assert_eq!(plan.steps.iter().find(of_one), None, "its spec may just be late");
    world.observed.clients.remove("plugin.one");
    assert!(world.plan(false).findings.is_empty(), "what is not there is missed by nobody");
}

#[test]
fn a_login_is_adopted_only_as_it_is_made_here() {
    let world = World::settled();
    let harm: [fn(&mut World); 6] = [
        |world| world.client("plugin.one").textname = Some("by hand".into()),
        |world| world.client("plugin.one").roles.truncate(2),
        |world| world.client("plugin.one").roles[0].priority += 1,
        |world| world.client("plugin.one").groups.push(GroupRef { groupname: "all".into() }),
        |world| world.role("plugin.one:own").acls.push(rule("#", true)),
        |world| {
            let mut evil = world.observed.clients["plugin.one"].clone();
            world.observed.clients.remove("plugin.one");
            evil.username = "plugin.two".into();
            world.observed.clients.insert(evil.username.clone(), evil);
        },
    ];
    for (at, harm) in harm.iter().enumerate() {
        let mut world = World { observed: world.observed.clone(), ..World::settled() };
        harm(&mut world);
        assert_eq!(adoptable(&world.observed, &Logins::new(), None), [], "{at}");
    }
}

#[test]
fn a_database_that_was_put_back_adopts_what_is_later_than_all_that_it_knows() {
    let mut world = World::settled();
    let kept = world.logins[&id("one")].clone();
    let earlier = StartId::new();
    let later = Login { start_id: StartId::new(), ..kept.clone() };
    world.client("plugin.one").textname = Some(later.note());
    let adopted = [Login { installation: None, password: None, ..later.clone() }];
    assert_eq!(adoptable(&world.observed, &world.logins, Some(kept.start_id)), adopted);
    assert_eq!(adoptable(&world.observed, &Logins::new(), Some(earlier)), adopted);
    assert_eq!(adoptable(&world.observed, &Logins::new(), Some(later.start_id)), [], "it has ended");
    assert_eq!(adoptable(&world.observed, &Logins::new(), Some(StartId::new())), [], "it has ended");
}

#[test]
fn a_login_that_was_taken_away_is_taken_away_again_when_the_broker_has_it_once_more() {
    let mut world = World::settled();
    let kept = world.logins.remove(&id("one")).expect("known");
    assert_eq!(world.steps(), steps(&[("logout plugin.one", Some(Unknown))]));

    let later = Login { start_id: StartId::new(), installation: None, password: None, ..kept };
    world.logins.insert(id("one"), later);
    assert_eq!(world.steps(), steps(&[("logout plugin.one", Some(Unknown))]), "it is of another start");
}

#[test]
fn a_login_that_nobody_here_made_is_taken_away_and_a_strangers_is_left() {
    let mut world = World::settled();
    let evil = Role { rolename: "plugin.evil:manifest:0".into(), acls: vec![rule("#", true)] };
    let refs = vec![RoleRef::new(&evil.rolename, priority::MANIFEST)];
    world.observed.roles.insert(evil.rolename.clone(), evil);
    let root = Role { rolename: "root".into(), acls: vec![rule("$CONTROL/#", true)] };
    world.observed.roles.insert("root".into(), root);
    for (name, roles) in [
        ("plugin.evil", refs.clone()),
        ("plugin.not an id", refs.clone()),
        ("plugin.two", refs),
        ("operator.evil", vec![RoleRef::new("operator-admin", 0)]),
        ("homeassistant", vec![]),
        ("root", vec![RoleRef::new("root", 0)]),
    ] {
        world.observed.clients.insert(name.into(), client(name, roles, None));
    }
    let gone = [
        ("logout operator.evil", Some(Unknown)),
        ("logout plugin.evil", Some(Unknown)),
        ("logout plugin.not an id", Some(Unknown)),
        ("logout plugin.two", Some(Unknown)),
        ("delete plugin.evil:manifest:0", Some(Unknown)),
    ];
    assert_eq!(world.steps(), steps(&gone));
    let plan = world.plan(false);
    assert_eq!(plan.foreign_logins, 2);
    assert_eq!(plan.findings.len(), 1, "{:?}", plan.findings);
    assert!(plan.findings[0].contains("\"root\""), "{:?}", plan.findings);
}

#[test]
fn either_login_of_a_coordinator_is_enough_and_both_have_its_role_alone() {
    let mut world = World::settled();
    let mut second = world.observed.clients["coordinator.plugin"].clone();
    second.username = "coordinator.plugin.2".into();
    second.roles.push(RoleRef::new("operator-admin", 999));
    world.observed.clients.insert(second.username.clone(), second);
    assert_eq!(world.steps(), steps(&[("roles coordinator.plugin.2", Some(Beyond))]));
    let plan = world.plan(false);
    world.carry_out(&plan);
    world.observed.clients.remove("coordinator.plugin");
    assert_eq!(world.plan(false), Plan::default());
}

#[test]
fn what_cannot_be_put_right_here_is_told() {
    let mut world = World::settled();
    world.observed.clients.remove("coordinator.security");
    world.client("coordinator.plugin").disabled = true;
    world.client("plugin.one").disabled = true;
    let plan = world.plan(false);
    assert_eq!((plan.steps.len(), plan.findings.len()), (0, 3), "{plan:?}");
    world.observed.clients.remove("plugin.one");
    world.logins.get_mut(&id("one")).expect("known").password = None;
    let plan = world.plan(false);
    assert_eq!(plan.steps, []);
    assert!(plan.findings.iter().any(|f| f.contains("stop the plugin and start it")), "{plan:?}");
}

#[test]
fn two_plugins_never_share_a_name_and_the_acknowledged_one_keeps_it() {
    let mut world = World::settled();
    let mut thief = spec("thief");
    thief.alias = Some(id("one"));
    world.specs.insert(id("thief"), Known { spec: thief, status: None });
    let mut early = spec("early");
    early.alias = Some(id("free"));
    world.specs.insert(id("early"), Known { spec: early, status: None });
    world.specs.insert(id("free"), Known { spec: spec("free"), status: None });
    for known in world.specs.values() {
        let id = &known.spec.plugin_id;
        assert_eq!(judge_one(&world.specs, id).as_ref(), judge(&world.specs, &world.logins).get(id));
    }
    let verdicts: BTreeMap<PluginId, bool> =
        judge(&world.specs, &world.logins).into_iter().map(|(id, verdict)| (id, verdict.is_ok())).collect();
    let wanted = [("early", true), ("free", false), ("one", true), ("thief", false), ("two", true)];
    assert_eq!(verdicts, wanted.map(|(name, ok)| (id(name), ok)).into());
    assert!(own_name(&id("thief"), &[]) != own_name(&id("one"), &[]));
}

#[test]
fn a_pass_over_one_plugin_touches_nothing_else() {
    let mut world = World::settled();
    world.role("plugin.one:manifest").acls.push(rule("#", true));
    let verdict = judge_one(&world.specs, &id("one"));
    let desired = Desired::only(&id("one"), &world.specs, &world.logins, verdict.as_ref(), false);
    let mut observed = Observed::default();
    let mine = |name: &str| name.starts_with("plugin.one") || name.starts_with("guard");
    observed.roles = world.observed.roles.into_iter().filter(|(name, _)| mine(name)).collect();
    let name = username(&id("one"));
    observed.clients.extend(world.observed.clients.remove_entry(&name));
    let plan = plan(&desired, &observed, false);
    assert_eq!(plan.steps.len(), 1, "{plan:?}");
    assert!(plan.findings.is_empty(), "{plan:?}");
}
