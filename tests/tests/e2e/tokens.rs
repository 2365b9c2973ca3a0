//! A plugin's own requests, and what becomes of them when its token is revoked.

use std::time::Duration;

use envelope::topic::{RequestTopic, coordinator, plugin};
use envelope::{ErrorCode, Operation, Principal};
use serde_json::json;
use testkit::{Version, eventually};
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::isolation::{ask, token};
use super::runner::Case;
use super::world::{Shared, id, minimal};

const PATIENCE: Duration = Duration::from_secs(20);
/// How long a revocation may take to hold everywhere.
const AT_ONCE: Duration = Duration::from_secs(1);

pub fn cases() -> Vec<Case> {
    crate::beside![a_plugin_asks_with_its_token_until_that_is_revoked_and_gets_another]
}

async fn a_plugin_asks_with_its_token_until_that_is_revoked_and_gets_another(world: Shared) {
    let id = id("asks-itself");
    let source = Script::healthy(id.as_str()).label(minimal(&id)).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let client = world.plugin_client(&id, Version::V5).await;
    let mut asker = Listener::on(client, [plugin::responses(&id)]).await;
    let topic = |operation| RequestTopic::new(Principal::Plugin(id.clone()), operation);
    let own = json!({"plugin_id": id});
    let first = token(&world, &id).await;

    let without = ask(&mut asker, &topic(Operation::Logs), None, own.clone()).await;
    assert_eq!(without["error"]["code"], ErrorCode::TokenInvalid.as_str(), "{without:#}");
    let with = ask(&mut asker, &topic(Operation::Logs), Some(first.clone()), own.clone()).await;
    assert_eq!(with["success"], true, "{with:#}");
    let list = ask(&mut asker, &topic(Operation::List), Some(first.clone()), json!({})).await;
    assert_eq!(list["error"]["code"], ErrorCode::Forbidden.as_str(), "{list:#}");
    assert_eq!(list["error"]["details"]["missing"], "plugin:read", "{list:#}");
    assert!(list["error"]["message"].as_str().is_some_and(|m| m.contains("plugin:read")), "{list:#}");
    // What only accounts may ask for.
    let grants = ask(&mut asker, &topic(Operation::RevokeToken), Some(first.clone()), own.clone()).await;
    assert_eq!(grants["error"]["code"], ErrorCode::Forbidden.as_str(), "{grants:#}");

    // Whoever has lost its token gets it again on its own topic, and nowhere else.
    let again = ask(&mut asker, &topic(Operation::Token), None, json!({})).await;
    assert_eq!(again["success"], true, "{again:#}");
    assert!(again["data"]["expires_at"].is_string() && again["data"]["token"].is_null(), "{again:#}");

    // One token: it is refused, and the next one is there.
    let introspected = operator.ask_about(Operation::Introspect, &id).await;
    let jti = introspected.data()["claims"]["jti"].clone();
    let first = token(&world, &id).await;
    operator.ask(Operation::RevokeToken, json!({"jti": jti})).await.data();
    let second = eventually(PATIENCE, || async {
        let now = token(&world, &id).await;
        if now == first { Err("the plugin still has the revoked token") } else { Ok(now) }
    })
    .await;
    let refused = ask(&mut asker, &topic(Operation::Logs), Some(first), own.clone()).await;
    assert_eq!(refused["error"]["code"], ErrorCode::TokenInvalid.as_str(), "{refused:#}");
    let accepted = ask(&mut asker, &topic(Operation::Logs), Some(second.clone()), own.clone()).await;
    assert_eq!(accepted["success"], true, "{accepted:#}");

    // All of them: within a second no coordinator takes one, and there is no other.
    operator.ask(Operation::RevokeToken, own.clone()).await.data();
    let begin = std::time::Instant::now();
    loop {
        let refused = ask(&mut asker, &topic(Operation::Logs), Some(second.clone()), own.clone()).await;
        if refused["error"]["code"] == ErrorCode::TokenInvalid.as_str() {
            break;
        }
        assert!(begin.elapsed() < AT_ONCE, "{:?} after it was revoked: {refused:#}", begin.elapsed());
    }
    let none = ask(&mut asker, &topic(Operation::Token), None, json!({})).await;
    assert_eq!(none["error"]["code"], ErrorCode::InvalidPhase.as_str(), "{none:#}");
    let introspected = operator.ask_about(Operation::Introspect, &id).await;
    assert_eq!(introspected.data()["active"], false, "{:#}", introspected.answer);

    operator.ask_about(Operation::Stop, &id).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let client = world.plugin_client(&id, Version::V5).await;
    let mut started = Listener::on(client, [coordinator::token(&id)]).await;
    let message = started.wait("a token of the new start", PATIENCE, |m| !m.payload.is_empty()).await;
    assert_ne!(payload(&message)["token"], json!(second));
    world.remove(&mut operator, &id, &source).await;
}
