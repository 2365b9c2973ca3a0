//! What somebody changes at the broker by hand.

use acl::dynsec::{Acl, AclType, Command, DefaultAccess, Role, RoleRef};
use envelope::payload::event::EventKind;
use envelope::{StartId, topic};
use testkit::{Version, eventually};

use crate::site::{SOON, Site, event, health_that_says, id, spec};

#[tokio::test]
async fn rights_that_were_added_by_hand_are_taken_away_with_a_cause() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    let role = plugins.install(&focuser).await;
    let login = plugins.provision(&focuser, StartId::new()).await.expect("a login");
    let mut operator = site.operator().await;
    let mut root = site.root().await;
    let before = root.role(&role).await.expect("it is there");

    let mut loose = before.clone();
    loose.acls.push(Acl {
        acltype: AclType::PublishClientSend,
        topic: "#".into(),
        priority: 100,
        allow: true,
    });
    root.give(&[Command::ModifyRole(loose)]).await;
    let drift = event(&mut operator, EventKind::Drift).await;
    assert_eq!((drift.plugin_id, drift.details["kind"].as_str()), (Some(id("focuser")), Some("beyond")));
    let after = root.role(&role).await.expect("it is there");
    assert!(after.has_rules_of(&before));

    let mut roles = root.client(&login.username).await.expect("it is there").roles;
    roles.push(RoleRef::new("everything", 1000));
    root.give(&[Command::SetClientRoles { username: login.username.clone(), roles }]).await;
    let drift = event(&mut operator, EventKind::Drift).await;
    assert!(drift.message.contains("not granted"), "{}", drift.message);
    assert_eq!(root.client(&login.username).await.expect("it is there").roles.len(), 3);

    let open = DefaultAccess { publish_client_send: true, subscribe: true, ..DefaultAccess::DENY };
    root.give(&[Command::SetDefaultAccess(open)]).await;
    event(&mut operator, EventKind::Drift).await;
    let told = root.give(&[Command::GetDefaultAccess]).await;
    assert_eq!(told[0].default_access().expect("defaults"), DefaultAccess::DENY);
}

#[tokio::test]
async fn what_was_taken_away_by_hand_comes_back_with_the_same_password() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    let role = plugins.install(&focuser).await;
    let login = plugins.provision(&focuser, StartId::new()).await.expect("a login");
    let mut operator = site.operator().await;
    let mut root = site.root().await;
    let gone = [
        Command::DeleteClient(login.username.clone()),
        Command::DeleteRole(role.clone()),
        Command::DeleteRole("coordinator.security".into()),
    ];
    root.give(&gone).await;
    // The last role's own login lacks it as well.
    for _ in 0..=gone.len() {
        let drift = event(&mut operator, EventKind::Drift).await;
        assert_eq!(drift.details["kind"].as_str(), Some("missing"), "{}", drift.message);
    }
    site.plugin(&login, Version::V3).await;
    assert!(root.role("coordinator.security").await.is_some());
    assert_eq!(root.client("coordinator.security").await.expect("it is there").roles.len(), 1);
}

#[tokio::test]
async fn logins_that_nobody_made_are_removed_and_strangers_are_left_alone() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    plugins.install(&spec("focuser")).await;
    let mut operator = site.operator().await;
    let mut root = site.root().await;
    let made = |name: &str| Command::CreateClient {
        username: name.into(),
        password: "password".into(),
        textname: "by hand".into(),
        roles: vec![RoleRef::new("everything", 0)],
    };
    let role = Role { rolename: "plugin.evil:manifest:0".into(), acls: vec![] };
    root.give(&[Command::CreateRole(role), made("plugin.evil"), made("operator.evil"), made("stranger")])
        .await;
    for _ in 0..3 {
        let drift = event(&mut operator, EventKind::Drift).await;
        assert_eq!(drift.details["kind"].as_str(), Some("unknown"), "{}", drift.message);
    }
    assert_eq!(root.left_of("evil").await, Vec::<String>::new());
    assert!(root.client("operator.evil").await.is_none());
    assert!(root.client("stranger").await.is_some());
    let watcher = site.client("operator.operator", "password", Version::V5).await;
    let health = topic::coordinator::health(envelope::Coordinator::Message);
    watcher.subscribe(&health).await.expect("it may");
    let mut watcher = watcher;
    loop {
        let message = watcher.recv(SOON).await.expect("health").text();
        if message.contains("\\\"stranger\\\"") && message.contains("can administer the broker") {
            break;
        }
    }
}

#[tokio::test]
async fn a_changed_fixed_role_is_put_right() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    plugins.install(&spec("focuser")).await;
    let mut root = site.root().await;
    let guard = acl::guard::role();
    root.give(&[Command::ModifyRole(Role { rolename: guard.rolename.clone(), acls: vec![] })]).await;
    let security = Role { rolename: "coordinator.security".into(), acls: vec![] };
    root.give(&[Command::ModifyRole(security)]).await;
    let root = tokio::sync::Mutex::new(root);
    for wanted in [guard, acl::fixed::coordinator_role(envelope::Coordinator::Security)] {
        eventually(SOON, || async {
            let found = root.lock().await.role(&wanted.rolename).await;
            if found.as_ref().is_some_and(|f| f.has_rules_of(&wanted)) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_coordinator_that_starts_before_its_rights_are_there_has_them_later() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    plugins.install(&spec("focuser")).await;
    site.stop_coordinator().await;
    let mut root = site.root().await;
    let mut role = root.role("coordinator.message").await.expect("it is there");
    // As the rights of an earlier version, that watched less.
    role.acls.retain(|rule| rule.acltype == AclType::PublishClientSend || !rule.topic.contains("/spec/"));
    root.give(&[Command::ModifyRole(role)]).await;
    site.start_coordinator();
    let refused = "refuses the subscription to bigskies/coordinator/plugin/spec/+";
    health_that_says(&site, "it may not", |text| text.contains(refused)).await;
    // It puts its own role right, which disconnects nobody.
    health_that_says(&site, "it may", |text| !text.contains(refused)).await;
    plugins.install(&spec("other")).await;
}

#[tokio::test]
async fn a_right_that_is_lost_with_a_connection_and_back_without_one_is_used() {
    let mut site = Site::comparing_once().await;
    site.start_coordinator();
    let mut plugins = site.plugins().await;
    plugins.install(&spec("focuser")).await;
    let mut root = site.root().await;
    let mut role = root.role("coordinator.message").await.expect("it is there");
    role.acls.retain(|rule| rule.acltype == AclType::PublishClientSend || !rule.topic.contains("/spec/"));
    root.give(&[Command::ModifyRole(role)]).await;
    site.broker.restart().await;
    let mut plugins = site.plugins().await;
    plugins.install(&spec("other")).await;
}
