//! Every generated secret is renewed while the framework runs, as `make rotate-secrets` does it.

use std::time::Duration;

use envelope::topic::coordinator;
use envelope::{Coordinator, Operation};
use serde_json::{Value, json};
use testkit::Version;
use tests::stack::COORDINATORS;
use tests::stack::listener::{Listener, json as payload};

use super::isolation::token;
use super::runner::Case;
use super::world::{Shared, World, login};

/// The next key must have been published for a while before it signs.
const PATIENCE: Duration = Duration::from_secs(200);

pub fn cases() -> Vec<Case> {
    crate::alone![every_secret_is_renewed_while_a_plugin_runs]
}

/// Passwords and keys as they lie before the services.
async fn secrets(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(&str, &str)> = vec![("mqtt-broker", "/secrets/server.pem")];
    for (service, c) in COORDINATORS {
        files.push((service, "/secrets/password"));
        if c != Coordinator::Plugin {
            files.push((service, "/secrets/key"));
        }
    }
    let mut found = Vec::new();
    for (service, path) in files {
        let content = world.stack.file_of(service, path).await.expect("it is there");
        found.push((format!("{service}:{path}"), content));
    }
    found
}

/// The names of all keys.
fn kids(keys: &Value) -> Vec<String> {
    let all = keys["keys"].as_array().into_iter().flatten();
    all.filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()
}

/// The name of the key that signs.
fn active(keys: &Value) -> Option<String> {
    let all = keys["keys"].as_array().into_iter().flatten();
    all.into_iter()
        .find(|key| key["state"] == "active")
        .and_then(|key| key["kid"].as_str().map(str::to_owned))
}

async fn every_secret_is_renewed_while_a_plugin_runs(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let (before, old_token) = (world.running(&id).await, token(&world, &id).await);
    let (old_secrets, (user, old_password)) = (secrets(&world).await, world.stack.operator());
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut keys = Listener::on(client, [coordinator::jwks()]).await;
    let old_keys = payload(&keys.wait("the keys", PATIENCE, |_| true).await);
    let (signed, known) = (active(&old_keys), kids(&old_keys));

    let script = tokio::spawn(world.stack.script("rotate.sh", [""; 0]).output());
    let moved_on = |m: &testkit::Message| active(&payload(m)).is_some() && active(&payload(m)) != signed;
    keys.wait("the next key, which signs now", PATIENCE, moved_on).await;
    // What the key before has signed is still worth something.
    let asked = operator.ask(Operation::Introspect, json!({"token": old_token})).await;
    assert_eq!(asked.data()["active"], true, "{:#}", asked.answer);
    let done = script.await.expect("it does not panic").expect("it runs");
    assert_eq!(done.code, Some(0), "{}", done.text);
    let client = world.stack.operator_client(Version::V5).await.expect("the new password is taken");
    let mut keys = Listener::on(client, [coordinator::jwks()]).await;
    let signs = active(&payload(&keys.wait("the keys", PATIENCE, |_| true).await)).expect("one signs");
    assert!(!known.contains(&signs), "a key signs that there was before: {}", done.text);

    world.stack.healthy().await;
    let old = world.stack.client(Version::V5).login(user, old_password);
    old.connect().await.expect_err("the operator's old password is still taken");
    let mut operator = world.operator().await;
    let after = world.running(&id).await;
    assert_ne!(after["Id"], before["Id"], "{}", done.text);
    assert_ne!(login(&after), login(&before));
    let (user, password) = login(&before);
    let old = world.stack.client(Version::V5).login(user, password);
    old.connect().await.expect_err("the plugin's old password is still taken");
    for ((name, old), (_, new)) in old_secrets.iter().zip(secrets(&world).await) {
        assert_ne!(*old, new, "{name} is what it was");
    }
    let asked = operator.ask(Operation::Introspect, json!({"token": old_token})).await;
    assert_eq!(asked.data()["active"], false, "the plugin's old token is still valid");
    let listed = super::tls::list(&world.stack).await;
    assert_eq!(listed.code, Some(0), "the broker's new certificate is not trusted: {}", listed.text);
    assert!(listed.text.contains("\"running\""), "{}", listed.text);
    world.remove(&mut operator, &id, &source).await;
}
