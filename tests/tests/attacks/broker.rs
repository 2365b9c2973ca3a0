//! A plugin that speaks to the broker as it likes: reads, writes and last wills that are somebody else's.
//!
//! Each attack is data, so that the very same is tried three times: against the framework, where the broker must
//! refuse it; on a broker where the plugin coordinator has granted everything and only the guard role is left; and
//! on one without that, where it must succeed.

use acl::fixed::first_operator;
use envelope::principal::Principal;
use envelope::topic::{RequestTopic, broker, coordinator, operator, plugin};
use envelope::{Coordinator, Operation, PluginId};
use testkit::{Client, Version};
use tests::stack::listener::Listener;
use tests::stack::operator::{raw_request, request};

use super::arena::{NOT_AUTHORIZED, PATIENCE, arena};
use super::bystander::{Bystander, Guard};
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, id};

/// What stands in every message of the attacker's, and in what it must not read.
const MARK: &str = r#"{"forged":true}"#;

/// Who is who.
struct Names {
    attacker: PluginId,
    victim: PluginId,
}

/// Something that a plugin must not get done.
struct Attack {
    what: What,
    /// Whether the guard role alone stops it. What it lets through stays below what is granted: other plugins'
    /// topics, which an operator may grant.
    guarded: bool,
}

enum What {
    /// Subscribes to the first, to read what is said on the second.
    Read(fn(&Names) -> (String, String)),
    /// Publishes.
    Write(fn(&Names) -> String),
    /// The same, and the broker keeps it for whoever comes.
    Poison(fn(&Names) -> String),
    /// Has it published when its connection is cut.
    Will(fn(&Names) -> String),
}

fn read(guarded: bool, what: fn(&Names) -> (String, String)) -> Attack {
    Attack { what: What::Read(what), guarded }
}

fn write(guarded: bool, what: fn(&Names) -> String) -> Attack {
    Attack { what: What::Write(what), guarded }
}

fn poison(guarded: bool, what: fn(&Names) -> String) -> Attack {
    Attack { what: What::Poison(what), guarded }
}

fn will(guarded: bool, what: fn(&Names) -> String) -> Attack {
    Attack { what: What::Will(what), guarded }
}

macro_rules! attacks {
    ($($name:ident: $attack:expr;)*) => {
        $(async fn $name(world: Shared) {
            is_refused(&world, &$attack).await;
        })*

        mod without_the_defence {
            use super::*;

            $(async fn $name(_: Shared) {
                succeeds(&$attack).await;
            })*

            pub fn cases() -> Vec<Case> {
                crate::beside![$($name),*]
            }
        }

        pub fn cases() -> Vec<Case> {
            let mut cases = crate::beside![$($name),*];
            cases.extend(without_the_defence::cases());
            cases
        }
    };
}

attacks! {
    everything_is_subscribed_to: read(true, |n| ("#".into(), coordinator::token(&n.victim)));
    a_wildcard_stands_in_the_place_of_the_victims_id: read(false, |n| (plugin::all_health(), plugin::health(&n.victim)));
    a_shared_subscription_hides_the_filter: read(true, |n| ("$share/thieves/#".into(), plugin::health(&n.victim)));
    a_shared_subscription_takes_the_victims_messages_away: read(true, |n| {
        (format!("$share/thieves/{}", plugin::control(&n.victim)), plugin::control_command(&n.victim, "park"))
    });
    the_victims_token_is_read: read(true, |n| (coordinator::token(&n.victim), coordinator::token(&n.victim)));
    all_tokens_are_read_by_a_wildcard: read(true, |n| (coordinator::tokens(), coordinator::token(&n.victim)));
    an_operators_answers_are_read: read(true, |_| {
        (operator::all_responses(), request(Operation::List).response())
    });
    passwords_between_coordinators_are_read: read(true, |_| {
        let asked = RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Provision);
        (coordinator::all_internal(), asked.response())
    });
    the_victims_requests_with_its_token_are_read: read(true, |n| {
        let asked = RequestTopic::new(Principal::Plugin(n.victim.clone()), Operation::List);
        (plugin::all_requests(), asked.to_string())
    });
    the_brokers_log_is_read: read(true, |_| (broker::log().into(), broker::log().replace('#', "N")));
    the_brokers_administration_is_overheard: read(true, |_| {
        (broker::control_answers().into(), broker::control_answers().into())
    });
    the_plugin_makes_itself_administrator: write(true, |_| broker::control().into());
    the_victims_health_is_forged: write(false, |n| plugin::health(&n.victim));
    the_victim_is_commanded: write(false, |n| plugin::control_command(&n.victim, "slew"));
    a_plugin_asks_in_the_victims_name: write(true, |n| {
        RequestTopic::new(Principal::Plugin(n.victim.clone()), Operation::Stop).to_string()
    });
    a_plugin_asks_in_an_operators_name: write(true, |_| {
        RequestTopic::new(Principal::Operator(first_operator()), Operation::Install).to_string()
    });
    a_plugin_asks_as_an_unnamed_operator: write(true, |_| raw_request(Operation::Stop).to_string());
    a_plugin_asks_for_a_login_as_the_plugin_coordinator_does: write(true, |_| {
        RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Provision).to_string()
    });
    an_answer_to_an_operator_is_forged: write(true, |_| request(Operation::List).response());
    a_coordinators_event_is_forged: write(true, |_| coordinator::event(Coordinator::Security, "key"));
    the_keys_are_poisoned_with_one_of_the_attackers: poison(true, |_| coordinator::jwks());
    the_list_of_revocations_is_emptied: poison(true, |_| coordinator::revoked());
    a_spec_that_grants_everything_is_planted: poison(true, |n| coordinator::spec(&n.attacker));
    a_spec_of_a_plugin_that_nobody_installed_is_planted: poison(true, |_| coordinator::spec(&id("planted")));
    its_own_token_is_replaced: poison(true, |n| coordinator::token(&n.attacker));
    a_coordinator_is_said_to_be_well: poison(true, |_| coordinator::health(Coordinator::Message));
    a_will_forges_the_victims_health: will(false, |n| plugin::health(&n.victim));
    a_will_asks_as_an_unnamed_operator: will(true, |_| raw_request(Operation::Stop).to_string());
    a_will_commands_the_victim: will(false, |n| plugin::control_command(&n.victim, "slew"));
}

async fn is_refused(world: &Shared, attack: &Attack) {
    let arena = arena(world).await;
    let names = Names { attacker: arena.attacker.clone(), victim: arena.victim.clone() };
    match attack.what {
        What::Read(what) => {
            let (filter, _) = what(&names);
            for version in [Version::V3, Version::V5] {
                let client = arena.connect(world, version).await;
                let answer = client.subscribe(&filter).await;
                assert!(answer.is_err(), "{version:?}: the plugin was let subscribe to {filter}");
            }
        }
        What::Write(what) | What::Poison(what) => {
            let retain = matches!(attack.what, What::Poison(_));
            let client = arena.connect(world, Version::V5).await;
            let code = client.publish(&what(&names), MARK, 1, retain).await;
            assert_eq!(code, Ok(NOT_AUTHORIZED), "{}", what(&names));
        }
        What::Will(what) => {
            // The broker may refuse such a will when it connects, or when it is due: then nobody hears it.
            let client = world.stack.operator_client(Version::V5).await.expect("the operator connects");
            let heard = [plugin::all(), raw_request(Operation::Stop).response()];
            let mut watch = Listener::on(client, heard).await;
            let doomed = arena.client(world, Version::V5).will(what(&names), MARK).connect().await;
            drop(doomed);
            let last = plugin::status(&names.attacker);
            let own = arena.client(world, Version::V5).will(&last, "the end").connect().await;
            drop(own.expect("a will on its own topic is taken"));
            watch.wait("its own will", PATIENCE, |m| m.topic == last && m.text() == "the end").await;
            let hit =
                watch.heard().iter().find(|m| m.text().contains("forged") || m.text().contains("success"));
            assert!(hit.is_none(), "{hit:?}");
        }
    }
}

/// The attack on two brokers beside the framework. With the guard role alone it fails where that is the last
/// defence; without it, it succeeds.
async fn succeeds(attack: &Attack) {
    let guarded = Bystander::start(Guard::On).await;
    assert_eq!(goes_through(&guarded, attack).await, !attack.guarded, "with the guard role");
    let bare = Bystander::start(Guard::Off).await;
    assert!(goes_through(&bare, attack).await, "it fails without any defence: it is no attack");
}

async fn goes_through(site: &Bystander, attack: &Attack) -> bool {
    let names = Names { attacker: Bystander::attacker(), victim: id("arena-victim") };
    match attack.what {
        What::Read(what) => {
            let (filter, topic) = what(&names);
            let thief = site.attack(Version::V5).connect().await.expect("connects");
            if thief.subscribe(&filter).await.is_err() {
                return false;
            }
            if topic.starts_with('$') {
                // The broker's own are its own to say: here, that the witness connects, and what comes of its command.
                let witness = site.witness().await;
                witness.publish(broker::control(), MARK, 1, false).await.expect("the witness may");
                return Listener::new(thief).find(PATIENCE, |m| m.topic.starts_with('$')).await.is_some();
            }
            site.witness().await.publish(&topic, MARK, 1, false).await.expect("the witness may");
            hears(thief, &names, site, |m| m.topic == topic).await
        }
        What::Write(what) | What::Poison(what) => {
            let retain = matches!(attack.what, What::Poison(_));
            let topic = what(&names);
            // Whoever administers the broker reads what came of a command, and not the command.
            let heard_on = if topic == broker::control() { broker::control_answers() } else { &topic };
            let mut witness = Listener::on(site.witness().await, [heard_on]).await;
            let thief = site.attack(Version::V5).connect().await.expect("connects");
            let code = thief.publish(&topic, MARK, 1, retain).await.expect("the connection stands");
            code < 0x80
                && witness.find(PATIENCE, |m| m.topic == heard_on).await.is_some()
                && (!retain || is_kept(site, &topic).await)
        }
        What::Will(what) => {
            let mut witness = Listener::on(site.witness().await, ["#"]).await;
            let topic = what(&names);
            drop(site.attack(Version::V5).will(&topic, MARK).connect().await);
            let end = site.attack(Version::V5).will("end", MARK).connect().await;
            drop(end.expect("this will is taken"));
            witness.wait("the last will", PATIENCE, |m| m.topic == "end").await;
            witness.heard().iter().any(|m| m.topic == topic)
        }
    }
}

/// Whether the thief is delivered what it wants before it is delivered what was said after it.
async fn hears(
    thief: Client,
    names: &Names,
    site: &Bystander,
    wanted: impl Fn(&testkit::Message) -> bool,
) -> bool {
    let end = plugin::status(&names.attacker);
    let mut thief = Listener::on(thief, [&end]).await;
    site.witness().await.publish(&end, "the end", 1, false).await.expect("the witness may");
    thief.wait("the end", PATIENCE, |m| m.text() == "the end").await;
    thief.heard().iter().any(wanted)
}

async fn is_kept(site: &Bystander, topic: &str) -> bool {
    let mut witness = Listener::on(site.witness().await, [topic]).await;
    witness.find(PATIENCE, |m| m.retain && m.text() == MARK).await.is_some()
}
