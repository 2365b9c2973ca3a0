//! Every topic of the framework. No other crate spells one out.
//!
//! A topic is an identity: the broker lets just one principal (or one role) write to it, so what a topic
//! says about the sender is true, and what the message says is not trusted.

use crate::id::{InstanceId, OperatorName, PluginId};
use crate::operation::{Callers, Operation};
use crate::principal::{Coordinator, Principal};

const ROOT: &str = "bigskies";

/// Where a request arrived: who asks whom for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestTopic {
    /// Who asks, as the topic proves.
    pub caller: Principal,
    /// Who is asked.
    pub coordinator: Coordinator,
    /// For what, by name: a name may be unknown to the coordinator.
    pub operation: String,
}

impl RequestTopic {
    /// The topic on which `caller` asks for `operation`.
    pub fn new(caller: Principal, operation: Operation) -> Self {
        Self::to(operation.coordinator(), caller, operation)
    }

    /// The topic on which `caller` asks `coordinator` for `operation`, which it does: see [`Operation::of`].
    pub fn to(coordinator: Coordinator, caller: Principal, operation: Operation) -> Self {
        Self { caller, coordinator, operation: operation.as_str().to_owned() }
    }

    /// Takes a topic apart; `None` when it is not a request topic.
    pub fn parse(topic: &str) -> Option<Self> {
        let levels: Vec<&str> = topic.split('/').collect();
        let (caller, coordinator, operation) = match *levels.as_slice() {
            [ROOT, "coordinator", c, "internal", operation] => {
                let coordinator = c.parse().ok()?;
                let Callers::Internal(caller) = Operation::find(coordinator, operation, true)?.callers()
                else {
                    return None;
                };
                (Principal::Coordinator(caller), c, operation)
            }
            [ROOT, "coordinator", c, operation] => (Principal::Unnamed, c, operation),
            [ROOT, "operator", user, "request", c, operation] => {
                (Principal::Operator(OperatorName::parse(user).ok()?), c, operation)
            }
            [ROOT, "plugin", id, "request", c, operation] => {
                (Principal::Plugin(PluginId::parse(id).ok()?), c, operation)
            }
            _ => return None,
        };
        Some(Self { caller, coordinator: coordinator.parse().ok()?, operation: operation.to_owned() })
    }

    /// The operation, when the coordinator has it among those that this caller can name.
    ///
    /// On the SDK's topics an operation that needs an account is known too, so that the caller can be told
    /// why it is refused.
    pub fn known_operation(&self) -> Option<Operation> {
        let internal = matches!(self.caller, Principal::Coordinator(_));
        Operation::find(self.coordinator, &self.operation, internal)
    }

    /// Where the answer goes when nothing else is asked for.
    pub fn response(&self) -> String {
        let (c, operation) = (self.coordinator, &self.operation);
        match &self.caller {
            Principal::Unnamed => format!("{ROOT}/coordinator/{c}/{operation}/response"),
            Principal::Operator(user) => {
                format!("{ROOT}/operator/{user}/response/{c}/{operation}")
            }
            Principal::Plugin(id) => format!("{ROOT}/plugin/{id}/response/{c}/{operation}"),
            Principal::Coordinator(caller) => {
                format!("{ROOT}/coordinator/{caller}/internal/response/{operation}")
            }
        }
    }

    /// Whether an answer to this caller may go to `topic`: only inside the caller's own response space,
    /// because a coordinator has more rights than its callers.
    pub fn may_answer_on(&self, topic: &str) -> bool {
        let space = match &self.caller {
            Principal::Unnamed | Principal::Coordinator(_) => return topic == self.response(),
            Principal::Operator(user) => format!("{ROOT}/operator/{user}/response/"),
            Principal::Plugin(id) => format!("{ROOT}/plugin/{id}/response/"),
        };
        topic.strip_prefix(&space).is_some_and(|rest| {
            !rest.is_empty()
                && topic.len() <= 512
                && !rest.contains(['+', '#'])
                && !rest.chars().any(char::is_control)
        })
    }
}

impl std::fmt::Display for RequestTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (c, operation) = (self.coordinator, &self.operation);
        match &self.caller {
            Principal::Unnamed => write!(f, "{ROOT}/coordinator/{c}/{operation}"),
            Principal::Operator(user) => write!(f, "{ROOT}/operator/{user}/request/{c}/{operation}"),
            Principal::Plugin(id) => write!(f, "{ROOT}/plugin/{id}/request/{c}/{operation}"),
            Principal::Coordinator(_) => {
                write!(f, "{ROOT}/coordinator/{c}/internal/{operation}")
            }
        }
    }
}

/// The filters under which `coordinator` hears its requests. Operations on the SDK's topics and internal
/// ones are listed literally, because those levels carry other things too.
pub fn request_filters(coordinator: Coordinator) -> Vec<String> {
    let mut filters: Vec<String> = Operation::of(coordinator)
        .filter_map(|o| {
            let caller = match o.callers() {
                Callers::Internal(caller) => Principal::Coordinator(caller),
                Callers::People { .. } => Principal::Unnamed,
                Callers::Accounts { .. } | Callers::Itself => return None,
            };
            Some(RequestTopic::to(coordinator, caller, o).to_string())
        })
        .collect();
    filters.push(format!("{ROOT}/operator/+/request/{coordinator}/+"));
    filters.push(format!("{ROOT}/plugin/+/request/{coordinator}/+"));
    filters
}

/// Where `caller` hears the answers to its internal requests.
pub fn internal_responses(caller: Coordinator) -> String {
    format!("{ROOT}/coordinator/{caller}/internal/response/+")
}

/// Whether `topic` carries an answer to an internal request of `caller`.
pub fn is_internal_response(topic: &str, caller: Coordinator) -> bool {
    let all = internal_responses(caller);
    all.strip_suffix('+').is_some_and(|prefix| topic.starts_with(prefix))
}

/// Topics that the coordinators write.
pub mod coordinator {
    use super::{Coordinator, InstanceId, PluginId, ROOT};

    /// Everything the coordinators write and read: no plugin may publish here.
    pub fn all() -> String {
        format!("{ROOT}/coordinator/#")
    }

    /// Everything between coordinators.
    pub fn internal(c: Coordinator) -> String {
        format!("{ROOT}/coordinator/{c}/internal/#")
    }

    /// Everything between all coordinators.
    pub fn all_internal() -> String {
        format!("{ROOT}/coordinator/+/internal/#")
    }

    /// Every request on the SDK's topics, to whichever coordinator: nothing else has this depth.
    pub fn raw_requests() -> String {
        format!("{ROOT}/coordinator/+/+")
    }

    /// Every answer to those.
    pub fn raw_responses() -> String {
        format!("{ROOT}/coordinator/+/+/response")
    }

    /// The retained spec of a plugin, written by the plugin coordinator.
    pub fn spec(id: &PluginId) -> String {
        format!("{ROOT}/coordinator/plugin/spec/{id}")
    }

    /// All specs.
    pub fn specs() -> String {
        format!("{ROOT}/coordinator/plugin/spec/+")
    }

    /// The id in a spec's topic.
    pub fn spec_id(topic: &str) -> Option<PluginId> {
        last(topic, &format!("{ROOT}/coordinator/plugin/spec/"))
    }

    /// The retained acknowledgement of a plugin's ACL, written by the message coordinator.
    pub fn acl(id: &PluginId) -> String {
        format!("{ROOT}/coordinator/message/acl/{id}")
    }

    /// All acknowledgements.
    pub fn acls() -> String {
        format!("{ROOT}/coordinator/message/acl/+")
    }

    /// The id in an acknowledgement's topic.
    pub fn acl_id(topic: &str) -> Option<PluginId> {
        last(topic, &format!("{ROOT}/coordinator/message/acl/"))
    }

    /// The retained state of a plugin, written by the plugin coordinator.
    pub fn state(id: &PluginId) -> String {
        format!("{ROOT}/coordinator/plugin/state/{id}")
    }

    /// All states.
    pub fn states() -> String {
        format!("{ROOT}/coordinator/plugin/state/+")
    }

    /// The id in a state's topic.
    pub fn state_id(topic: &str) -> Option<PluginId> {
        last(topic, &format!("{ROOT}/coordinator/plugin/state/"))
    }

    /// Events of one kind.
    pub fn event(c: Coordinator, kind: &str) -> String {
        format!("{ROOT}/coordinator/{c}/event/{kind}")
    }

    /// All events of a coordinator.
    pub fn events(c: Coordinator) -> String {
        format!("{ROOT}/coordinator/{c}/event/#")
    }

    /// The retained health of one instance, also its last will.
    pub fn instance_health(c: Coordinator, instance: &InstanceId) -> String {
        format!("{ROOT}/coordinator/{c}/health/{instance}")
    }

    /// The retained health of the coordinator as a whole.
    pub fn health(c: Coordinator) -> String {
        format!("{ROOT}/coordinator/{c}/health/status")
    }

    /// The health of a coordinator and of its instances.
    pub fn health_all(c: Coordinator) -> String {
        format!("{ROOT}/coordinator/{c}/health/+")
    }

    /// The coordinator that a topic of [`health`] is about.
    pub fn health_of(topic: &str) -> Option<Coordinator> {
        Coordinator::ALL.into_iter().find(|c| health(*c) == topic)
    }

    /// The public keys (RFC 7517), written by the security coordinator.
    pub fn jwks() -> String {
        format!("{ROOT}/coordinator/security/keys/jwks")
    }

    /// The revoked sessions and tokens, written by the security coordinator.
    pub fn revoked() -> String {
        format!("{ROOT}/coordinator/security/keys/revoked")
    }

    /// Both of the above.
    pub fn keys() -> String {
        format!("{ROOT}/coordinator/security/keys/#")
    }

    /// The token of a plugin, written by the security coordinator.
    pub fn token(id: &PluginId) -> String {
        format!("{ROOT}/coordinator/security/plugin/{id}/token")
    }

    /// The tokens of all plugins, which nobody may read.
    pub fn tokens() -> String {
        format!("{ROOT}/coordinator/security/plugin/+/token")
    }

    /// A topic of the coordinator's own that carries nothing else: a marker that comes back to the
    /// request session, so that the coordinator knows that everything queued before it has been seen.
    pub fn marker(c: Coordinator) -> String {
        format!("{ROOT}/coordinator/{c}/internal/marker")
    }

    fn last(topic: &str, prefix: &str) -> Option<PluginId> {
        topic.strip_prefix(prefix).and_then(|id| PluginId::parse(id).ok())
    }
}

/// Topics of the broker's own.
pub mod broker {
    use super::ROOT;

    /// Where the administrator sends commands to Mosquitto's dynamic security plugin.
    pub fn control() -> &'static str {
        "$CONTROL/dynamic-security/v1"
    }

    /// Where the dynamic security plugin answers.
    pub fn control_answers() -> &'static str {
        "$CONTROL/dynamic-security/v1/response"
    }

    /// The retained version of the broker, as text: `mosquitto version 2.0.21`.
    pub fn version() -> &'static str {
        "$SYS/broker/version"
    }

    /// The broker's log, one topic per level.
    pub fn log() -> &'static str {
        "$SYS/broker/log/#"
    }

    /// Everything that begins with `$`: it is nobody's but the administrator's.
    pub fn reserved() -> [&'static str; 3] {
        ["$SYS/#", "$CONTROL/#", "$share/#"]
    }

    /// Filters so broad that they take in what is never granted.
    pub fn broadest() -> Vec<String> {
        let below_root = ["#", "+/#", "coordinator/#", "+/+/#", "plugin/#", "plugin/+/#"];
        let mut filters = vec!["#".to_owned(), "+/#".to_owned(), "+/+/#".to_owned()];
        filters.extend(below_root.map(|f| format!("{ROOT}/{f}")));
        filters
    }
}

/// Topics of operators.
pub mod operator {
    use super::{OperatorName, ROOT};

    /// Everything of all operators: no plugin may publish here.
    pub fn all() -> String {
        format!("{ROOT}/operator/#")
    }

    /// The requests of one.
    pub fn requests(name: &OperatorName) -> String {
        format!("{ROOT}/operator/{name}/request/#")
    }

    /// The requests of all.
    pub fn all_requests() -> String {
        format!("{ROOT}/operator/+/request/#")
    }

    /// The responses to one.
    pub fn responses(name: &OperatorName) -> String {
        format!("{ROOT}/operator/{name}/response/#")
    }

    /// The responses to all, which the coordinators write.
    pub fn all_responses() -> String {
        format!("{ROOT}/operator/+/response/#")
    }
}

/// Topics of plugins. `name` is a plugin's id or its alias.
pub mod plugin {
    use super::{PluginId, ROOT};

    /// Everything of one plugin.
    pub fn namespace(name: &PluginId) -> String {
        format!("{ROOT}/plugin/{name}/#")
    }

    /// Everything of all plugins.
    pub fn all() -> String {
        format!("{ROOT}/plugin/#")
    }

    /// Its health.
    pub fn health(name: &PluginId) -> String {
        format!("{ROOT}/plugin/{name}/health")
    }

    /// The health of all plugins that report it where the SDK document says.
    pub fn all_health() -> String {
        format!("{ROOT}/plugin/+/health")
    }

    /// Its status.
    pub fn status(name: &PluginId) -> String {
        format!("{ROOT}/plugin/{name}/status")
    }

    /// What it is told.
    pub fn control(name: &PluginId) -> String {
        format!("{ROOT}/plugin/{name}/control/#")
    }

    /// One control command; `command` may have several levels.
    pub fn control_command(name: &PluginId, command: &str) -> String {
        format!("{ROOT}/plugin/{name}/control/{command}")
    }

    /// What all plugins are told.
    pub fn all_control() -> String {
        format!("{ROOT}/plugin/+/control/#")
    }

    /// Its own requests.
    pub fn requests(id: &PluginId) -> String {
        format!("{ROOT}/plugin/{id}/request/#")
    }

    /// The requests of all plugins.
    pub fn all_requests() -> String {
        format!("{ROOT}/plugin/+/request/#")
    }

    /// The answers to its own requests.
    pub fn responses(id: &PluginId) -> String {
        format!("{ROOT}/plugin/{id}/response/#")
    }

    /// The answers to all plugins, which the coordinators write.
    pub fn all_responses() -> String {
        format!("{ROOT}/plugin/+/response/#")
    }

    /// The third level of a topic below `bigskies/plugin/`: whose namespace it lies in.
    pub fn owner(topic: &str) -> Option<&str> {
        topic.strip_prefix(ROOT)?.strip_prefix("/plugin/")?.split('/').next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_topic_is_taken_apart_to_what_it_was_made_of() {
        let plugin = Principal::Plugin(PluginId::parse("focuser").expect("id"));
        let user = Principal::Operator(OperatorName::parse("operator").expect("name"));
        for operation in Operation::ALL {
            let callers = match operation.callers() {
                Callers::Internal(c) => vec![Principal::Coordinator(c)],
                Callers::People { .. } => vec![Principal::Unnamed, plugin.clone(), user.clone()],
                Callers::Accounts { .. } => vec![user.clone()],
                Callers::Itself => vec![plugin.clone()],
            };
            for caller in callers {
                let topic = RequestTopic::new(caller, operation);
                assert_eq!(RequestTopic::parse(&topic.to_string()).as_ref(), Some(&topic));
                assert_eq!(topic.known_operation(), Some(operation));
                assert!(topic.may_answer_on(&topic.response()), "{topic}");
                assert_eq!(RequestTopic::parse(&topic.response()), None, "{topic}");
            }
        }
    }

    #[test]
    fn a_reply_cannot_be_aimed_outside_the_callers_own_space() {
        let topic = RequestTopic::parse("bigskies/plugin/evil/request/plugin/list").expect("topic");
        assert!(topic.may_answer_on("bigskies/plugin/evil/response/mine/7"));
        for aimed in [
            "bigskies/plugin/mount/control/slew",
            "bigskies/plugin/evil2/response/x",
            "bigskies/plugin/evil/response/",
            "bigskies/plugin/evil/response/+",
            "bigskies/plugin/evil/control/x",
            "$CONTROL/dynamic-security/v1",
            "",
        ] {
            assert!(!topic.may_answer_on(aimed), "{aimed}");
        }
        let raw = RequestTopic::parse("bigskies/coordinator/plugin/list").expect("topic");
        assert!(raw.may_answer_on("bigskies/coordinator/plugin/list/response"));
        assert!(!raw.may_answer_on("bigskies/coordinator/plugin/start/response"));
    }

    #[test]
    fn an_internal_operation_cannot_be_named_by_anybody_else() {
        for topic in
            ["bigskies/coordinator/message/provision", "bigskies/operator/operator/request/message/provision"]
        {
            let topic = RequestTopic::parse(topic).expect("a request topic");
            assert_eq!(topic.known_operation(), None);
        }
        assert_eq!(RequestTopic::parse("bigskies/coordinator/message/internal/explain"), None);
    }
}
