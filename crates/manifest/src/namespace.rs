//! Whose topics are whose: what a plugin has anyway, what an operator may grant, what nobody may.
//!
//! What is never granted is tested by *overlap*: a filter is refused when it shares a single topic with
//! what it must not reach. What is granted is tested by *covering*: every topic of the filter must be inside.

use std::fmt;

use envelope::topic::{coordinator, operator, plugin};
use envelope::{Coordinator, PluginId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::TopicFilter;

/// Which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Send.
    Publish,
    /// Receive.
    Subscribe,
}

/// What is to be said of a filter that a plugin asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lies in the plugin's own namespace, or in what every plugin may read.
    Free,
    /// It is somebody else's; an operator may grant it.
    Foreign,
    /// Nobody may grant it.
    Never(Never),
}

/// Why a filter can never be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// Every topic.
    Everything,
    /// The broker's own topics.
    Reserved,
    /// Published by coordinators alone.
    CoordinatorTopics,
    /// Of operators.
    OperatorTopics,
    /// Tokens of other plugins.
    Tokens,
    /// Between coordinators.
    Internal,
    /// Requests to coordinators, and their responses.
    CoordinatorRequests,
    /// Requests of other plugins, and the responses to them.
    PluginRequests,
    /// Health and status of other plugins, which prove who is well.
    PluginHealth,
    /// A name in the place of a plugin's id that no plugin can have.
    NotAnId,
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "stands for every topic",
            Self::Reserved => "begins with \"$\", where brokers keep their own topics",
            Self::CoordinatorTopics => "reaches topics on which coordinators alone publish",
            Self::OperatorTopics => "reaches topics of operators",
            Self::Tokens => "reaches the tokens of other plugins",
            Self::Internal => "reaches what coordinators say to each other",
            Self::CoordinatorRequests => "reaches requests to coordinators or their responses",
            Self::PluginRequests => "reaches other plugins' requests or the responses to them",
            Self::PluginHealth => "reaches topics on which other plugins alone report health or status",
            Self::NotAnId => "has something in the place of a plugin's id that is no id",
        })
    }
}

/// A plugin's place among the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    own: Vec<TopicFilter>,
    readable: Vec<TopicFilter>,
}

impl Namespace {
    /// The namespace of the plugin with this id and alias.
    pub fn new(id: &PluginId, alias: Option<&PluginId>) -> Self {
        let own = std::iter::once(id).chain(alias).map(|name| filter(&plugin::namespace(name)));
        let readable = [coordinator::token(id), coordinator::keys(), everybody(coordinator::health)];
        Self { own: own.collect(), readable: readable.iter().map(|text| filter(text)).collect() }
    }

    /// Whether `wanted` lies in the plugin's own topics, `bigskies/plugin/{id or alias}/…`.
    pub fn owns(&self, wanted: &TopicFilter) -> bool {
        self.own.iter().any(|own| own.covers(wanted))
    }

    /// What is to be said of `wanted`.
    pub fn judge(&self, access: Access, wanted: &TopicFilter) -> Verdict {
        if self.owns(wanted) {
            return Verdict::Free;
        }
        if access == Access::Subscribe && self.readable.iter().any(|free| free.covers(wanted)) {
            return Verdict::Free;
        }
        match never(access, wanted) {
            Some(never) => Verdict::Never(never),
            None => Verdict::Foreign,
        }
    }
}

/// `wanted` lies outside of what its plugin has anyway.
fn never(access: Access, wanted: &TopicFilter) -> Option<Never> {
    let reaches = |text: &str| filter(text).overlaps(wanted);
    if wanted.covers(&filter("#")) {
        return Some(Never::Everything);
    }
    if wanted.is_reserved() {
        return Some(Never::Reserved);
    }
    if let Some(owner) = plugin::owner(wanted.as_str())
        && !["", "+", "#"].contains(&owner)
        && PluginId::parse(owner).is_err()
    {
        return Some(Never::NotAnId);
    }
    if reaches(&operator::all()) {
        return Some(Never::OperatorTopics);
    }
    if reaches(&plugin::all_requests()) || reaches(&plugin::all_responses()) {
        return Some(Never::PluginRequests);
    }
    match access {
        Access::Publish if reaches(&coordinator::all()) => Some(Never::CoordinatorTopics),
        Access::Publish if reaches(&every_plugins("health")) || reaches(&every_plugins("status")) => {
            Some(Never::PluginHealth)
        }
        Access::Publish => None,
        Access::Subscribe => unreadable(wanted),
    }
}

/// Of the coordinators' topics only what is listed here can be read, and nothing else beside it.
fn unreadable(wanted: &TopicFilter) -> Option<Never> {
    let reaches = |text: &str| filter(text).overlaps(wanted);
    let covered = |text: &str| filter(text).covers(wanted);
    let grantable = [
        everybody(coordinator::events),
        everybody(coordinator::health_all),
        coordinator::states(),
        coordinator::specs(),
        coordinator::acls(),
    ];
    if !reaches(&coordinator::all()) || grantable.iter().any(|text| covered(text)) {
        return None;
    }
    if reaches(&coordinator::tokens()) {
        return Some(Never::Tokens);
    }
    if Coordinator::ALL.into_iter().any(|c| reaches(&coordinator::internal(c))) {
        return Some(Never::Internal);
    }
    Some(Never::CoordinatorRequests)
}

/// The topic of any coordinator in the place of one.
fn everybody(topic: fn(Coordinator) -> String) -> String {
    replace_level(&topic(Coordinator::Plugin), 2)
}

/// The last level of every plugin's topics.
fn every_plugins(last: &str) -> String {
    format!("{}+/{last}", plugin::all().trim_end_matches('#'))
}

fn replace_level(topic: &str, index: usize) -> String {
    let levels = topic.split('/').enumerate();
    let levels: Vec<&str> = levels.map(|(at, level)| if at == index { "+" } else { level }).collect();
    levels.join("/")
}

/// A filter of the framework's own.
fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).expect("the framework's own topics are filters, and so are ids in them")
}
