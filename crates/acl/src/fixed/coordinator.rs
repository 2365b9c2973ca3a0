//! The role of each coordinator: what it serves, what it says, whom it asks, what only it may do.

use envelope::operation::{Callers, Operation};
use envelope::principal::{Principal, coordinator_login};
use envelope::topic::{self, RequestTopic};
use envelope::{Coordinator, topic::broker, topic::coordinator as of};

use crate::dynsec::{AclType, Role};
use crate::role::Rules;

/// Above the rules that a coordinator's role allows by.
const DENIED: i32 = 10;
/// Above the rules that it denies by.
const ALLOWED_STILL: i32 = 20;

/// The role of coordinator `c`, named like its login.
pub fn role(c: Coordinator) -> Role {
    let rules = common(c);
    let rules = match c {
        Coordinator::Plugin => plugin(rules),
        Coordinator::Message => message(rules),
        Coordinator::Security => security(rules),
    };
    rules.into_role(|_| coordinator_login(c))
}

/// What every coordinator does in the same way.
fn common(c: Coordinator) -> Rules {
    Rules::new()
        .subscribe_literally(topic::request_filters(c))
        .publish(Operation::of(c).filter_map(|operation| answers(c, operation)))
        .publish([topic::operator::all_responses(), topic::plugin::all_responses()])
        .publish(calls(c).map(|call| call.to_string()))
        .subscribe_literally(calls(c).next().map(|_| topic::internal_responses(c)))
        .publish([of::marker(c), of::events(c), of::health_all(c)])
        .subscribe([of::marker(c), of::keys()])
        .subscribe(Coordinator::ALL.map(of::health_all))
}

fn plugin(rules: Rules) -> Rules {
    use topic::plugin::{all, all_control, all_requests, all_responses};
    let requests = topic::request_filters(Coordinator::Plugin);
    rules
        .publish([of::specs(), of::states(), all_control()])
        .subscribe([of::specs(), of::states(), of::acls()])
        // How plugins behave where it cannot see them.
        .subscribe([Coordinator::Message, Coordinator::Security].map(|c| of::event(c, "flood")))
        .subscribe([of::event(Coordinator::Message, "session")])
        // A plugin's health topic is wherever its manifest says inside its namespace, and what it left
        // retained there is cleared when it is removed. What it asks of others, tokens included, is not
        // the plugin coordinator's, and no request may be made in a plugin's name.
        .publish([all()])
        .subscribe([all()])
        .all(AclType::PublishClientSend, [all_requests()], false, DENIED)
        .all(AclType::SubscribePattern, [all_requests(), all_responses()], false, DENIED)
        .all(AclType::PublishClientReceive, [all_requests(), all_responses()], false, DENIED)
        .raise(AclType::PublishClientReceive, &requests, ALLOWED_STILL)
}

fn message(rules: Rules) -> Rules {
    rules
        .publish([broker::control().to_owned(), of::acls()])
        .subscribe([broker::control_answers(), broker::version(), broker::log()])
        .subscribe([of::specs(), of::acls()])
}

fn security(rules: Rules) -> Rules {
    rules.publish([of::tokens(), of::keys()])
}

/// Where `c` answers to `operation`, as far as that topic has to be spelt out.
fn answers(c: Coordinator, operation: Operation) -> Option<String> {
    let caller = match operation.callers() {
        Callers::People { .. } => Principal::Unnamed,
        Callers::Internal(caller) => Principal::Coordinator(caller),
        Callers::Accounts { .. } | Callers::Itself => return None,
    };
    Some(RequestTopic::to(c, caller, operation).response())
}

/// What `c` may ask of other coordinators.
fn calls(c: Coordinator) -> impl Iterator<Item = RequestTopic> {
    Operation::ALL
        .into_iter()
        .filter(move |o| o.callers() == Callers::Internal(c))
        .map(move |o| RequestTopic::new(Principal::Coordinator(c), o))
}
