//! One proof.

use std::collections::BTreeSet;

use acl::explain::matches;
use chassis::config::BrokerLogin;
use envelope::payload::watch::{Leak, Proof, Tried};
use envelope::topic::plugin;
use envelope::{PluginId, Timestamp};

use super::ProofError;
use super::attempts::{always_published, always_subscribed, never_published, never_subscribed};
use super::client::Canary;
use crate::keeper::CanaryLogin;

/// What is published where it must be refused: nothing that anybody can read.
const NOTHING: &str = "a canary tries whether this is refused";
/// Most leaks that are listed.
const MOST: usize = 100;

/// Tries everything with both canaries, and real plugins' names by subscribing.
pub(super) async fn run(
    broker: &BrokerLogin,
    logins: [CanaryLogin; 2],
    foreign: &[PluginId],
) -> Result<Proof, ProofError> {
    let [one, other] = logins;
    let mut one = Canary::connect(broker, one).await?;
    let mut other = Canary::connect(broker, other).await?;
    let mut found = Found::default();
    for (me, them) in [(&one, &other.id), (&other, &one.id)] {
        publish(me, them, &mut found).await?;
        subscribe(me, them, foreign, &mut found).await?;
    }
    deliver(&mut one, &other, &mut found).await?;
    deliver(&mut other, &one, &mut found).await?;
    one.leave().await;
    other.leave().await;
    Ok(found.proof())
}

async fn publish(me: &Canary, other: &PluginId, found: &mut Found) -> Result<(), ProofError> {
    for topic in never_published(&me.id, other) {
        let taken = me.publishes(&topic, NOTHING).await?;
        found.must_not(me, Tried::Publish, &topic, taken);
    }
    for topic in always_published(&me.id) {
        let taken = me.publishes(&topic, NOTHING).await?;
        found.must(me, Tried::Publish, &topic, taken);
    }
    Ok(())
}

async fn subscribe(
    me: &Canary,
    other: &PluginId,
    foreign: &[PluginId],
    found: &mut Found,
) -> Result<(), ProofError> {
    let filters = never_subscribed(other, foreign);
    let refused = me.refused_of(&filters).await?;
    for filter in &filters {
        found.must_not(me, Tried::Subscribe, filter, !refused.contains(filter));
    }
    let filters = always_subscribed(&me.id);
    let refused = me.refused_of(&filters).await?;
    for filter in &filters {
        found.must(me, Tried::Subscribe, filter, !refused.contains(filter));
    }
    Ok(())
}

/// `me` is subscribed to all that the broker let it. It must get what is its own, and nothing else: not what
/// `other` publishes, which the broker handles before the last message of `me`.
async fn deliver(me: &mut Canary, other: &Canary, found: &mut Found) -> Result<(), ProofError> {
    for topic in always_published(&other.id) {
        other.publishes(&topic, NOTHING).await?;
    }
    let last = uuid::Uuid::now_v7().to_string();
    let own = plugin::status(&me.id);
    me.publishes(&own, &last).await?;
    let (topics, came) = me.delivered_until(&last).await?;
    let filters = always_subscribed(&me.id);
    let foreign: BTreeSet<String> =
        topics.into_iter().filter(|topic| !filters.iter().any(|f| matches(f, topic))).collect();
    for topic in &foreign {
        found.must_not(me, Tried::Receive, topic, true);
    }
    if foreign.is_empty() {
        found.must_not(me, Tried::Receive, &plugin::status(&other.id), false);
    }
    found.must(me, Tried::Receive, &own, came);
    Ok(())
}

#[derive(Default)]
struct Found {
    refused: u32,
    allowed: u32,
    leaks: Vec<Leak>,
    blocked: Vec<Leak>,
}

impl Found {
    fn must_not(&mut self, who: &Canary, tried: Tried, topic: &str, possible: bool) {
        if possible {
            list(&mut self.leaks, who, tried, topic);
        } else {
            self.refused += 1;
        }
    }

    fn must(&mut self, who: &Canary, tried: Tried, topic: &str, possible: bool) {
        if possible {
            self.allowed += 1;
        } else {
            list(&mut self.blocked, who, tried, topic);
        }
    }

    fn proof(self) -> Proof {
        let Self { refused, allowed, leaks, blocked } = self;
        Proof { at: Timestamp::now(), refused, allowed, leaks, blocked }
    }
}

fn list(leaks: &mut Vec<Leak>, who: &Canary, tried: Tried, topic: &str) {
    if leaks.len() < MOST {
        leaks.push(Leak { login: who.login.clone(), tried, topic: topic.to_owned() });
    }
}
