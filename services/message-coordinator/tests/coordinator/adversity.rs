//! Brokers that die or forget, coordinators that restart or forget.

use acl::dynsec::Command;
use envelope::payload::event::EventKind;
use envelope::payload::spec::AclOutcome;
use envelope::{ErrorCode, StartId};
use testkit::Version;

use crate::site::{Site, event, health_that_says, id, next, spec};

#[tokio::test]
async fn a_broker_that_lost_its_file_gets_everything_back_and_plugins_keep_their_passwords() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    plugins.install(&spec("idle")).await;
    let start = StartId::new();
    let login = plugins.provision(&focuser, start).await.expect("a login");
    drop(plugins);
    site.broker.restart_with_fresh_data().await;
    site.plugin(&login, Version::V3).await;
    let mut plugins = site.plugins().await;
    assert!(matches!(plugins.outcome(&focuser).await, AclOutcome::Applied { .. }), "it is told again");
    assert_eq!(plugins.provision(&focuser, start).await.expect("again"), login);
    let mut root = site.root().await;
    assert_eq!(root.left_of("idle").await.len(), 2);
}

#[tokio::test]
async fn a_broker_that_is_killed_at_any_moment_ends_up_as_it_should_be() {
    let mut site = Site::start().await;
    let specs: Vec<_> = ["one", "two", "three", "four"].map(spec).into();
    for focuser in &specs {
        let mut plugins = site.plugins().await;
        plugins.install(focuser).await;
        // Killed while the login is being made, or right before or after.
        let start = StartId::new();
        let provision = plugins.provision(focuser, start);
        let killed = tokio::time::timeout(std::time::Duration::from_millis(2), provision).await;
        site.broker.kill9();
        drop(killed);
        site.broker.restart().await;
        let mut plugins = site.plugins().await;
        let login = loop {
            let again = plugins.provision(focuser, start);
            match tokio::time::timeout(std::time::Duration::from_secs(1), again).await {
                Ok(Ok(login)) => break login,
                Ok(Err(error)) => assert_eq!(error.code, ErrorCode::DependencyUnavailable, "{error}"),
                // The coordinator is not connected yet, or the answer was lost.
                Err(_) => {}
            }
        };
        site.plugin(&login, Version::V3).await;
    }
    let mut root = site.root().await;
    for focuser in &specs {
        assert_eq!(root.left_of(focuser.plugin_id.as_str()).await.len(), 3);
    }
}

#[tokio::test]
async fn restarting_the_coordinator_disconnects_nobody_and_forgets_nothing() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let start = StartId::new();
    let login = plugins.provision(&focuser, start).await.expect("a login");
    let client = site.plugin(&login, Version::V3).await;
    site.stop_coordinator().await;
    let later = next(&focuser, "observatory/x");
    plugins.publish(&later).await;
    site.start_coordinator();
    plugins.outcome(&later).await;
    assert_eq!(plugins.provision(&focuser, start).await.expect("again"), login);
    assert!(client.is_connected());
}

#[tokio::test]
async fn a_deprovision_that_the_broker_did_not_hear_is_done_when_it_is_back() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let start = StartId::new();
    let login = plugins.provision(&focuser, start).await.expect("a login");
    // As if the coordinator had been killed between its database and the broker.
    site.stop_coordinator().await;
    let database = site.folder().join("message.db");
    let pool =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", database.display())).await.expect("it opens");
    sqlx::query("UPDATE logins SET ending = 1").execute(&pool).await.expect("it writes");
    pool.close().await;
    site.start_coordinator();
    testkit::eventually(crate::site::SOON, || async {
        if site.is_let_in(&login).await { Err("it is still let in") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_new_database_adopts_running_plugins() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let start = StartId::new();
    let login = plugins.provision(&focuser, start).await.expect("a login");
    let mut client = site.plugin(&login, Version::V3).await;
    site.stop_coordinator().await;
    site.lose_database();
    let mut operator = site.operator().await;
    site.start_coordinator();
    assert_eq!(event(&mut operator, EventKind::Acl).await.plugin_id, Some(id("focuser")));
    plugins.install(&spec("another")).await;
    assert!(client.is_connected(), "it is running, and stays");
    plugins.deprovision(&focuser, start).await.expect("it ends");
    client.ended().await.expect("its login is gone");
}

#[tokio::test]
async fn a_login_that_was_taken_away_is_not_adopted_at_a_broker_that_has_it_once_more() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut root = site.root().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let start = StartId::new();
    let login = plugins.provision(&focuser, start).await.expect("a login");
    let kept = root.client(&login.username).await.expect("it is there");
    plugins.deprovision(&focuser, start).await.expect("it ends");
    assert!(!site.is_let_in(&login).await);
    // As with an older identities file: its name, password, roles and note.
    let revive = Command::CreateClient {
        username: login.username.clone(),
        password: login.password.clone(),
        textname: kept.textname.expect("it names its start"),
        roles: kept.roles,
    };
    site.stop_coordinator().await;
    root.give(std::slice::from_ref(&revive)).await;
    assert!(site.is_let_in(&login).await, "without the coordinator it would do");
    let mut operator = site.operator().await;
    site.start_coordinator();
    let drift = event(&mut operator, EventKind::Drift).await;
    assert!(drift.message.contains("has ended"), "{}", drift.message);
    assert!(!site.is_let_in(&login).await);

    root.give(&[revive]).await;
    plugins.deprovision(&focuser, start).await.expect("it has ended");
    assert!(!site.is_let_in(&login).await, "the answer says that it is gone");
}

#[tokio::test]
async fn a_database_that_was_put_back_keeps_what_was_started_since() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let [old, restarted, fresh] = ["old", "restarted", "fresh"].map(spec);
    for plugin in [&old, &restarted] {
        plugins.install(plugin).await;
        plugins.provision(plugin, StartId::new()).await.expect("a login");
    }
    site.stop_coordinator().await;
    site.copy_database();
    site.start_coordinator();
    plugins.install(&fresh).await;
    let starts = [&restarted, &fresh].map(|plugin| (plugin, StartId::new()));
    let mut clients = Vec::new();
    for (plugin, start) in starts {
        let login = plugins.provision(plugin, start).await.expect("a login");
        clients.push(site.plugin(&login, Version::V3).await);
    }
    site.stop_coordinator().await;
    site.put_database_back();
    site.start_coordinator();
    // As the first that it hears, it may be.
    plugins.provision(&old, StartId::new()).await.expect("a login");
    plugins.install(&spec("another")).await;
    for (client, (plugin, start)) in clients.iter_mut().zip(starts) {
        assert!(client.is_connected(), "{} is running, and stays", plugin.plugin_id);
        plugins.deprovision(plugin, start).await.expect("it ends");
        client.ended().await.expect("its login is gone");
    }
}

#[tokio::test]
async fn what_was_found_is_taken_back_when_a_later_spec_settles_it() {
    let mut site = Site::comparing_once().await;
    site.start_coordinator();
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    plugins.provision(&focuser, StartId::new()).await.expect("a login");
    site.stop_coordinator().await;
    site.lose_database();
    // Its spec comes after the broker was looked at.
    plugins.clear(&focuser.plugin_id).await;
    site.start_coordinator();
    let stranger = "of which no spec is known";
    health_that_says(&site, "a login of nobody", |text| text.contains(stranger)).await;
    plugins.publish(&focuser).await;
    health_that_says(&site, "nothing found", |text| !text.contains(stranger)).await;
}
