//! Every topic of the framework: who writes it, who may read it, what is on it.
//!
//! The topics are made by the envelope crate. Who may do what is asked of the roles that the broker gets, so
//! that no document can say otherwise.

use acl::compile::compile;
use acl::explain::{Action, decide};
use acl::fixed::{coordinator_role, operator_role, personal_role};
use envelope::operation::Callers;
use envelope::payload::event::EventKind;
use envelope::payload::spec::{Presence, Spec};
use envelope::principal::Principal;
use envelope::topic::{RequestTopic, broker, coordinator, plugin};
use envelope::{
    Coordinator, Generation, InstallUid, InstanceId, Operation, OperatorName, OperatorRole, PluginId,
};

use crate::schemas::meanings;

/// Who connects to the broker, and the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// One of the coordinators.
    Coordinator(Coordinator),
    /// An operator.
    Operator,
    /// A plugin, on topics of its own.
    Plugin,
    /// The broker itself.
    Broker,
}

/// A topic, with placeholders in braces.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The topic.
    pub topic: String,
    /// What a client would name in its place, to ask the roles about.
    pub concrete: String,
    /// Who writes it. Nobody else can, but for what [`Self::tidied`] says.
    pub writers: Vec<Party>,
    /// Whether the broker keeps the last message.
    pub retained: Retained,
    /// The schema of what is on it; none when that is not JSON, or anything.
    pub schema: Option<String>,
    /// What is on it, in a few words.
    pub what: String,
}

/// Whether the broker keeps a topic's last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retained {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// As the plugin likes.
    Plugins,
}

impl Party {
    /// Everybody.
    pub const ALL: [Self; 6] = [
        Self::Coordinator(Coordinator::Plugin),
        Self::Coordinator(Coordinator::Message),
        Self::Coordinator(Coordinator::Security),
        Self::Operator,
        Self::Plugin,
        Self::Broker,
    ];

    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Coordinator(c) => format!("{c} coordinator"),
            Self::Operator => "operator".to_owned(),
            Self::Plugin => "plugin".to_owned(),
            Self::Broker => "broker".to_owned(),
        }
    }

    /// Whether the roles of its login let it do that with a topic. The broker needs no leave.
    pub fn may(self, action: Action, topic: &str) -> bool {
        let allowed = |roles: &[(i32, &acl::dynsec::Role)]| decide(roles, action, topic).allowed;
        match self {
            Self::Coordinator(c) => allowed(&[(0, &coordinator_role(c))]),
            Self::Operator => {
                let admin = OperatorRole::Admin;
                allowed(&[(0, &operator_role(admin)), (0, &personal_role(&user(), admin))])
            }
            Self::Plugin => plugin_may(&id(), action, topic),
            Self::Broker => true,
        }
    }
}

/// Whether a plugin whose manifest declares nothing may do that.
pub fn plugin_may(id: &PluginId, action: Action, topic: &str) -> bool {
    let spec = Spec {
        plugin_id: id.clone(),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "local".to_owned(),
        presence: Presence::Present,
        alias: None,
        client_ids: vec![id.to_string()],
        publish: Vec::new(),
        subscribe: Vec::new(),
        health_topic: plugin::health(id),
        permissions: Vec::new(),
        manifest_digest: String::new(),
    };
    let roles = compile(&spec).expect("a spec that asks for nothing is never refused");
    decide(&roles.by_priority(), action, topic).allowed
}

impl Topic {
    /// Everybody to whom the broker delivers it, which is what counts, whatever one subscribes to.
    pub fn readers(&self) -> Vec<Party> {
        let clients = Party::ALL.into_iter().filter(|party| *party != Party::Broker);
        clients.filter(|party| party.may(Action::Receive, &self.concrete)).collect()
    }

    /// Whether the plugin coordinator may write it although it does not: it clears what a plugin that is
    /// removed has left retained, and a plugin can leave something anywhere in its namespace.
    pub fn tidied(&self) -> bool {
        plugin::owner(&self.concrete).is_some() && !self.writers.contains(&Party::Broker)
    }
}

// Names that no other part of a topic contains, so that they can be replaced by placeholders.
const ID: &str = "PLUGIN-ID";
const USER: &str = "OPERATOR-NAME";
const INSTANCE: &str = "INSTANCE-ID";

fn id() -> PluginId {
    PluginId::parse(ID).expect("it is an id")
}

fn user() -> OperatorName {
    OperatorName::parse(USER).expect("it is a name")
}

/// With placeholders.
fn shown(topic: &str) -> String {
    topic.replace(ID, "{id}").replace(USER, "{user}").replace(INSTANCE, "{instance}")
}

/// Every topic.
pub fn all() -> Vec<Topic> {
    let each = |c| Operation::of(c).map(move |operation| (c, operation));
    let all = Coordinator::ALL.into_iter().flat_map(each);
    let mut topics: Vec<Topic> =
        all.filter_map(|(c, operation)| asked_directly(c, operation)).flatten().collect();
    topics.extend(Coordinator::ALL.into_iter().flat_map(asked_by_name));
    topics.extend(Coordinator::ALL.into_iter().flat_map(told));
    topics.extend(kept());
    topics.extend(of_plugins());
    topics.extend(of_the_broker());
    topics
}

fn topic(
    topic: String,
    writers: &[Party],
    retained: Retained,
    schema: &str,
    what: impl Into<String>,
) -> Topic {
    Topic {
        topic: shown(&topic),
        concrete: topic,
        writers: writers.to_vec(),
        retained,
        schema: (!schema.is_empty()).then(|| schema.to_owned()),
        what: what.into(),
    }
}

/// The request and response topics that spell an operation out.
fn asked_directly(c: Coordinator, operation: Operation) -> Option<[Topic; 2]> {
    let (caller, writer) = match operation.callers() {
        Callers::People { .. } => (Principal::Unnamed, Party::Operator),
        Callers::Internal(c) => (Principal::Coordinator(c), Party::Coordinator(c)),
        Callers::Accounts { .. } | Callers::Itself => return None,
    };
    let to = Party::Coordinator(c);
    let asked = RequestTopic::to(c, caller, operation);
    let name = operation.unique_name();
    let meaning = meanings::<Operation>().remove(name).unwrap_or_default();
    Some([
        topic(asked.to_string(), &[writer], Retained::No, &format!("{name}.request"), meaning),
        topic(
            asked.response(),
            &[to],
            Retained::No,
            &format!("{name}.response"),
            format!("The answer to {operation}."),
        ),
    ])
}

/// The request and response spaces of operators and plugins, for one coordinator.
fn asked_by_name(c: Coordinator) -> Vec<Topic> {
    let callers = [
        (
            Principal::Operator(user()),
            Party::Operator,
            "an operator, with an identity that the broker vouches for",
        ),
        (Principal::Plugin(id()), Party::Plugin, "a plugin, which needs its token"),
    ];
    let mut topics = Vec::new();
    for (caller, party, who) in callers {
        let asked = RequestTopic { caller, coordinator: c, operation: "{operation}".to_owned() };
        let requests = format!("Requests of {who}.");
        topics.push(topic(asked.to_string(), &[party], Retained::No, "", requests));
        let answers = Coordinator::ALL.map(Party::Coordinator);
        topics.push(topic(asked.response(), &answers, Retained::No, "answer", "The answers to those."));
    }
    topics
}

/// What every coordinator tells.
fn told(c: Coordinator) -> Vec<Topic> {
    let writer = [Party::Coordinator(c)];
    let instance = InstanceId::parse(INSTANCE).expect("it is an id");
    let events = meanings::<EventKind>().into_iter().filter(|(kind, _)| tells(c, kind));
    let mut topics: Vec<Topic> = events
        .map(|(kind, meaning)| topic(coordinator::event(c, &kind), &writer, Retained::No, "event", meaning))
        .collect();
    let kept = Retained::Yes;
    topics.push(topic(
        coordinator::health(c),
        &writer,
        kept,
        "health",
        "The coordinator's health as a whole.",
    ));
    let instances = "One instance's health; also its last will.";
    topics.push(topic(coordinator::instance_health(c, &instance), &writer, kept, "health", instances));
    let marker = "The coordinator to itself: whatever its session queued before this has been seen.";
    topics.push(topic(coordinator::marker(c), &writer, Retained::No, "", marker));
    topics
}

/// Whether a coordinator tells events of this kind.
fn tells(c: Coordinator, kind: &str) -> bool {
    match kind {
        "refused" | "flood" => true,
        "acl" | "account" | "login" | "session" | "takeover" | "proof" => c == Coordinator::Message,
        "token" | "key" => c == Coordinator::Security,
        "drift" => c != Coordinator::Security,
        _ => c == Coordinator::Plugin,
    }
}

/// What coordinators keep on topics.
fn kept() -> Vec<Topic> {
    let by = |c: Coordinator| [Party::Coordinator(c)];
    let (plugins, messages, security) =
        (by(Coordinator::Plugin), by(Coordinator::Message), by(Coordinator::Security));
    let kept = Retained::Yes;
    vec![
        topic(coordinator::spec(&id()), &plugins, kept, "spec", "What a plugin should be."),
        topic(coordinator::state(&id()), &plugins, kept, "state", "How a plugin is."),
        topic(coordinator::acl(&id()), &messages, kept, "acl", "What became of its spec at the broker."),
        topic(coordinator::jwks(), &security, kept, "jwks", "The public keys that verify tokens."),
        topic(coordinator::revoked(), &security, kept, "revoked", "What is revoked."),
        topic(coordinator::token(&id()), &security, kept, "token", "A plugin's token, until it expires."),
    ]
}

/// What plugins say and are told.
fn of_plugins() -> Vec<Topic> {
    let own = [Party::Plugin];
    let told = [Party::Operator, Party::Coordinator(Coordinator::Plugin)];
    let any = Retained::Plugins;
    vec![
        topic(plugin::health(&id()), &own, any, "health", "How the plugin is, as it says itself."),
        topic(plugin::status(&id()), &own, any, "", "Whatever the plugin tells of itself."),
        topic(
            plugin::control_command(&id(), "{command}"),
            &told,
            Retained::No,
            "",
            "What the plugin is told; a command may have several levels.",
        ),
    ]
}

/// What the broker does on topics of its own.
fn of_the_broker() -> Vec<Topic> {
    let administrator = [Party::Coordinator(Coordinator::Message)];
    vec![
        topic(
            broker::control().to_owned(),
            &administrator,
            Retained::No,
            "",
            "Commands to the dynamic security plugin.",
        ),
        topic(broker::control_answers().to_owned(), &[Party::Broker], Retained::No, "", "Its answers."),
        topic(
            broker::version().to_owned(),
            &[Party::Broker],
            Retained::Yes,
            "",
            "The broker's version, as text.",
        ),
        topic(
            broker::log().replace('#', "{level}"),
            &[Party::Broker],
            Retained::No,
            "",
            "The broker's log, as text; hints only.",
        ),
    ]
}
