//! Commands and answers, against the plugin itself.

use acl::dynsec::{Answer, Command, DefaultAccess, Role, RoleRef, decode, encode};
use envelope::topic::broker;
use testkit::{Client, Version};

use crate::site::{SOON, sample_roles, site};

async fn ask(client: &mut Client, commands: &[Command]) -> Vec<Answer> {
    client.publish(broker::control(), encode("batch", commands), 1, false).await.expect("published");
    let message = client.recv(SOON).await.expect("an answer");
    let answers = decode(&message.payload).expect("it decodes");
    assert_eq!(answers.len(), commands.len());
    for (n, (answer, command)) in answers.iter().zip(commands).enumerate() {
        assert_eq!(answer.command, command.name());
        assert_eq!(answer.correlation_data, Some(format!("batch/{n}")));
    }
    answers
}

#[tokio::test]
async fn roles_and_logins_are_made_read_back_changed_and_taken_away() {
    let site = site(&[]).await;
    let mut admin = site.client("coordinator.message", Version::V5).await;
    admin.subscribe(broker::control_answers()).await.expect("the administrator may");
    let roles = sample_roles();
    let name = "plugin.unique-plugin-guid".to_owned();
    let made = [
        Command::CreateRole(roles.own.clone()),
        Command::CreateRole(roles.manifest.clone()),
        Command::CreateClient {
            username: name.clone(),
            password: "password".into(),
            textname: "a note".into(),
            roles: roles.refs(),
        },
        Command::GetRole(roles.manifest.rolename.clone()),
        Command::GetClient(name.clone()),
    ];
    let answers = ask(&mut admin, &made).await;
    for (answer, command) in answers.iter().zip(&made) {
        answer.outcome(command).expect("it is done");
    }
    assert!(answers[3].role().expect("a role").has_rules_of(&roles.manifest));
    let client = answers[4].client().expect("a login");
    assert_eq!(client.textname.as_deref(), Some("a note"));
    let sorted = |mut roles: Vec<RoleRef>| {
        roles.sort();
        roles
    };
    assert_eq!(sorted(client.roles), sorted(roles.refs()));
    let mut plugin = site.client(&name, Version::V5).await;

    let narrow = Role { rolename: roles.manifest.rolename.clone(), acls: vec![] };
    let changed = [
        Command::ModifyRole(narrow.clone()),
        Command::GetRole(narrow.rolename.clone()),
        Command::SetClientNote { username: name.clone(), textname: "another".into() },
        Command::SetClientPassword { username: name.clone(), password: "other".into() },
        Command::SetClientRoles { username: name.clone(), roles: vec![RoleRef::new(&narrow.rolename, 3)] },
        Command::DisableClient(name.clone()),
        Command::GetClient(name.clone()),
        Command::EnableClient(name.clone()),
        Command::DeleteClient(name.clone()),
        Command::DeleteRole(narrow.rolename.clone()),
    ];
    let answers = ask(&mut admin, &changed).await;
    for (answer, command) in answers.iter().zip(&changed) {
        answer.outcome(command).expect("it is done");
    }
    assert_eq!(answers[1].role().expect("a role").acls, []);
    let client = answers[6].client().expect("a login");
    assert!(client.disabled);
    assert_eq!(client.textname.as_deref(), Some("another"));
    assert_eq!(client.roles, [RoleRef::new(&narrow.rolename, 3)]);
    plugin.ended().await.expect("a changed login is disconnected");
}

#[tokio::test]
async fn what_exists_or_is_missing_is_told_apart_from_other_failures() {
    let site = site(&[]).await;
    let mut admin = site.client("coordinator.message", Version::V5).await;
    admin.subscribe(broker::control_answers()).await.expect("the administrator may");
    let (role, name) = (Role { rolename: "r".into(), acls: vec![] }, "c".to_owned());
    let twice = [
        Command::GetRole("r".into()),
        Command::ModifyRole(role.clone()),
        Command::DeleteRole("r".into()),
        Command::GetClient(name.clone()),
        Command::DeleteClient(name.clone()),
        Command::SetClientRoles { username: name.clone(), roles: vec![] },
        Command::CreateRole(role.clone()),
        Command::CreateRole(role),
        Command::CreateClient {
            username: name.clone(),
            password: "p".into(),
            textname: String::new(),
            roles: vec![RoleRef::new("none", 0)],
        },
    ];
    let answers = ask(&mut admin, &twice).await;
    let failures: Vec<_> = answers.iter().zip(&twice).map(|(a, c)| a.outcome(c).err()).collect();
    for failure in failures[..6].iter().chain(&failures[8..]) {
        assert!(failure.as_ref().is_some_and(|f| f.is_missing()), "{failure:?}");
    }
    assert_eq!(failures[6], None);
    assert!(failures[7].as_ref().is_some_and(|f| f.is_duplicate()), "{failures:?}");
}

#[tokio::test]
async fn lists_come_in_pages_and_defaults_as_they_were_set() {
    let site = site(&[]).await;
    let mut admin = site.client("coordinator.message", Version::V5).await;
    admin.subscribe(broker::control_answers()).await.expect("the administrator may");
    let fixed = acl::fixed::roles();
    let asked = [
        Command::ListRoles { offset: 0, count: 4 },
        Command::ListRoles { offset: 4, count: 5 },
        Command::ListClients { offset: 1, count: 100 },
        Command::ListRoleNames { offset: 0, count: 100 },
        Command::GetDefaultAccess,
        Command::SetDefaultAccess(DefaultAccess { subscribe: true, ..DefaultAccess::DENY }),
        Command::GetDefaultAccess,
    ];
    let answers = ask(&mut admin, &asked).await;
    let mut roles = answers[0].roles().expect("a page").items;
    assert_eq!(roles.len(), 4);
    let second = answers[1].roles().expect("a page");
    roles.extend(second.items);
    assert_eq!((roles.len(), second.total), (fixed.len() + 1, fixed.len() + 1));
    for role in &fixed {
        let listed = roles.iter().find(|r| r.rolename == role.rolename).expect("it is listed");
        assert!(listed.has_rules_of(role), "{}", role.rolename);
    }
    let logins = answers[2].clients().expect("a page");
    assert_eq!((logins.items.len(), logins.total), (4, 5));
    let names = answers[3].role_names().expect("a page").items;
    assert_eq!(names, roles.iter().map(|r| r.rolename.clone()).collect::<Vec<_>>());
    assert_eq!(answers[4].default_access().expect("defaults"), DefaultAccess::DENY);
    assert!(answers[6].default_access().expect("defaults").subscribe);
}
