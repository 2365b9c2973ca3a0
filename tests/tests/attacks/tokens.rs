//! Tokens that are stolen, forged or bent. The forger has a key that every coordinator trusts, as if the signing key
//! had leaked, so that each token is wrong in the one thing that its name says and in nothing else.

mod forge;
mod lax;

use envelope::Operation;
use serde_json::{Value, json};
use testkit::{Client, Version};
use tests::stack::images::Script;
use tests::stack::listener::Listener;

use self::forge::{Forge, forger};
use self::lax::Check;
use super::arena::{PATIENCE, arena, ask, envelope, token_in};
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, login, minimal};

/// A token that must be refused, with the reason that is told and the check that refuses it.
struct Attack {
    forge: fn(Forge) -> String,
    reason: &'static str,
    check: Check,
}

macro_rules! attacks {
    ($($name:ident: $reason:literal, $check:expr, $forge:expr;)*) => {
        $(async fn $name(world: Shared) {
            is_refused(&world, &Attack { forge: $forge, reason: $reason, check: $check }).await;
        })*

        mod without_the_defence {
            use super::*;

            $(async fn $name(world: Shared) {
                succeeds(&world, &Attack { forge: $forge, reason: $reason, check: $check }).await;
            })*

            pub fn cases() -> Vec<Case> {
                crate::beside![$($name),*]
            }
        }

        fn forged() -> Vec<Case> {
            crate::beside![$($name),*]
        }
    };
}

attacks! {
    a_token_needs_no_signature: "algorithm", Check::Algorithm, |f| f.header("alg", json!("none")).unsigned();
    a_token_is_signed_with_the_public_key_as_a_password: "algorithm", Check::Algorithm, |f| f.header("alg", json!("HS256")).hmac();
    a_token_is_signed_by_a_stranger_in_the_name_of_a_known_key: "signature", Check::Signature, Forge::strangers_signature;
    a_tokens_scope_is_widened_after_signing: "signature", Check::Signature, |f| f.then("scope", json!("plugin:configure plugin:read"));
    a_token_brings_its_own_key: "embedded_key", Check::EmbeddedKey, Forge::with_own_jwk;
    a_token_says_where_to_fetch_its_key: "embedded_key", Check::EmbeddedKey, |f| f.header("jku", json!("http://169.254.169.254/")).sign();
    a_token_names_a_file_as_its_key: "unknown_key", Check::KnownKey, |f| f.header("kid", json!("../../../dev/null")).sign();
    a_token_is_of_another_kind: "type", Check::Type, |f| f.header("typ", json!("JWT")).sign();
    a_token_has_a_critical_extension: "critical", Check::Critical, |f| f.header("crit", json!(["b64"])).sign();
    a_token_is_issued_by_somebody_else: "issuer", Check::Issuer, |f| f.claim("iss", json!("https://issuer.example")).sign();
    a_token_is_meant_for_somebody_else: "audience", Check::Audience, |f| f.claim("aud", json!("another-system")).sign();
    a_token_is_meant_for_us_and_others: "audience", Check::Audience, |f| f.claim("aud", json!(["bigskies", "x"])).sign();
    a_token_speaks_for_the_victim: "subject", Check::Subject, |f| f.claim("sub", json!("plugin:arena-victim")).sign();
    a_token_was_given_to_the_victim: "client", Check::Client, |f| f.claim("client_id", json!("arena-victim")).sign();
    a_token_has_expired: "expired", Check::Expired, |f| f.times(-3600, -3600, -1800).sign();
    a_token_is_from_the_future: "issued_ahead", Check::IssuedAhead, |f| f.times(3600, 0, 7200).sign();
    a_token_is_not_valid_yet: "not_yet_valid", Check::NotBefore, |f| f.times(0, 3600, 7200).sign();
    a_token_lives_for_ten_years: "lifetime", Check::Lifetime, |f| f.times(0, 0, 315_360_000).sign();
    a_token_says_its_subject_twice: "duplicate_member", Check::Duplicate, Forge::subject_twice;
    a_token_is_huge: "too_large", Check::Size, |f| f.claim("padding", json!("x".repeat(40_000))).sign();
}

pub fn cases() -> Vec<Case> {
    let mut cases = forged();
    cases.extend(without_the_defence::cases());
    cases.extend(crate::beside![
        a_good_token_of_the_forgers_is_taken,
        no_token_is_shown,
        the_victims_token_is_shown_by_the_attacker,
        the_token_of_a_plugin_that_was_stopped_is_shown_after_its_next_start,
        the_token_of_an_earlier_installation_is_shown,
    ]);
    cases
}

/// What the attacker is told when it asks for the list with this token.
async fn told(world: &World, token: Option<String>) -> Value {
    let arena = arena(world).await;
    let mut asked = envelope(json!({}));
    asked.token = token;
    ask(&mut arena.asking(world).await, &arena.request(Operation::List), &asked).await
}

async fn is_refused(world: &World, attack: &Attack) {
    let token = (attack.forge)(forger(world).await.forge());
    let answer = told(world, Some(token)).await;
    assert_eq!(answer["error"]["code"], "token_invalid", "{answer:#}");
    assert_eq!(answer["error"]["details"]["reason"], attack.reason, "{answer:#}");
}

/// A verifier with all checks refuses it, and one without that check takes it.
async fn succeeds(world: &World, attack: &Attack) {
    let forger = forger(world).await;
    let token = (attack.forge)(forger.forge());
    assert_eq!(lax::verify(&token, forger, None), Err(attack.check));
    assert_eq!(lax::verify(&token, forger, Some(attack.check)), Ok(()));
}

/// What makes the others worth something: only what each is named for is wrong with it.
async fn a_good_token_of_the_forgers_is_taken(world: Shared) {
    let token = forger(&world).await.forge().sign();
    let answer = told(&world, Some(token)).await;
    assert_eq!(answer["success"], true, "{answer:#}");
}

async fn no_token_is_shown(world: Shared) {
    let answer = told(&world, None).await;
    assert_eq!(answer["error"]["code"], "token_invalid", "{answer:#}");
}

/// The token that a plugin that runs was given.
async fn token_of(world: &World, (user, password): &(String, String), plugin: &envelope::PluginId) -> String {
    let client: Client =
        world.stack.client(Version::V5).login(user, password).connect().await.expect("its own login");
    let mut listener = Listener::on(client, [envelope::topic::coordinator::token(plugin)]).await;
    token_in(&listener.wait("its token", PATIENCE, |m| !m.payload.is_empty()).await)
}

async fn the_victims_token_is_shown_by_the_attacker(world: Shared) {
    let arena = arena(&world).await;
    let stolen = token_of(&world, &login(&world.running(&arena.victim).await), &arena.victim).await;
    let answer = told(&world, Some(stolen.clone())).await;
    assert_eq!(answer["error"]["details"]["reason"], "subject", "{answer:#}");
    // It is a good token: with its owner's topic it works.
    let mut operator = world.operator().await;
    assert_eq!(operator.ask(Operation::Introspect, json!({"token": stolen})).await.data()["active"], true);
}

/// Shows a token on the topic of the plugin that it was issued to, with that plugin's login of now.
async fn shown(world: &World, plugin: &envelope::PluginId, token: String) -> Value {
    let client = world.plugin_client(plugin, Version::V5).await;
    let mut listener = Listener::on(client, [envelope::topic::plugin::responses(plugin)]).await;
    let topic =
        envelope::topic::RequestTopic::new(envelope::Principal::Plugin(plugin.clone()), Operation::Logs);
    let mut asked = envelope(json!({"plugin_id": plugin}));
    asked.token = Some(token);
    ask(&mut listener, &topic, &asked).await
}

async fn earlier_token(world: &World, name: &str, reinstall: bool) {
    let plugin = id(name);
    let mut operator = world.operator().await;
    let mut manifest = minimal(&plugin);
    manifest["permissions"] = json!(["system:read"]);
    let image = Script::healthy(name).label(manifest).push(&world.stack).await.expect("the image builds");
    world.install_and_start(&mut operator, &plugin, &image).await;
    let old = token_of(world, &login(&world.running(&plugin).await), &plugin).await;
    // While it is the plugin's own token, it is taken.
    assert_eq!(shown(world, &plugin, old.clone()).await["success"], true);
    if reinstall {
        world.remove(&mut operator, &plugin, &image).await;
        world.install_and_start(&mut operator, &plugin, &image).await;
    } else {
        operator.ask_about(Operation::Stop, &plugin).await.data();
        operator.ask_about(Operation::Start, &plugin).await.data();
    }
    let answer = shown(world, &plugin, old).await;
    assert_eq!(answer["error"]["details"]["reason"], "revoked_sid", "{answer:#}");
    world.remove(&mut operator, &plugin, &image).await;
}

async fn the_token_of_a_plugin_that_was_stopped_is_shown_after_its_next_start(world: Shared) {
    earlier_token(&world, "attacks-old-token", false).await;
}

async fn the_token_of_an_earlier_installation_is_shown(world: Shared) {
    earlier_token(&world, "attacks-older-token", true).await;
}
