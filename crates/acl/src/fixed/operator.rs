//! The roles of operators: what each kind of account may do, and what only one account may.
//!
//! What may be asked for is listed literally, from the table of operations, so that an account cannot ask
//! for what its role does not have: the broker refuses it before a coordinator hears of it.

use envelope::operation::Operation;
use envelope::principal::{OperatorRole, Principal, operator_login};
use envelope::topic::{RequestTopic, coordinator, operator, plugin};
use envelope::{Coordinator, OperatorName};

use crate::dynsec::{AclType, Role};
use crate::role::Rules;

/// Above the rules that the role allows by.
const DENIED: i32 = 10;

/// What every account of this role may do, named `operator-{role}`: all watch everything but what carries
/// tokens; those who may do more than look ask on the SDK's topics and tell plugins.
pub fn role(role: OperatorRole) -> Role {
    let secret = [plugin::all_requests(), plugin::all_responses()];
    let rules = Rules::new()
        .subscribe([plugin::all()])
        .all(AclType::SubscribePattern, secret.clone(), false, DENIED)
        .all(AclType::PublishClientReceive, secret, false, DENIED)
        .subscribe(Coordinator::ALL.map(coordinator::events))
        .subscribe(Coordinator::ALL.map(coordinator::health_all))
        .subscribe([coordinator::specs(), coordinator::states(), coordinator::acls()])
        .subscribe([coordinator::keys()]);
    let rules = if role == OperatorRole::Viewer { rules } else { acting(rules, role) };
    rules.into_role(|_| format!("operator-{role}"))
}

/// What those may do who do more than look. On the SDK's topics it is not known who asks, so that nobody
/// whose account only looks may write there.
fn acting(rules: Rules, role: OperatorRole) -> Rules {
    let raw: Vec<RequestTopic> = requests(&Principal::Unnamed, role, Operation::is_raw).collect();
    rules
        .publish(raw.iter().map(RequestTopic::to_string))
        .subscribe(raw.iter().map(RequestTopic::response))
        .publish([plugin::all_control()])
}

/// What only the operator `name` may do: ask with an identity that the broker vouches for. Named like the
/// login.
///
/// An admin may ask for anything in its own name, also for what nobody has: what a newer program asks of an
/// older coordinator is then answered `unknown_operation`, with what there is. Of the others the broker
/// takes what their role has, and nothing else.
pub fn personal_role(name: &OperatorName, role: OperatorRole) -> Role {
    let caller = Principal::Operator(name.clone());
    let rules = match role {
        OperatorRole::Admin => Rules::new().publish([operator::requests(name)]),
        OperatorRole::Viewer | OperatorRole::Operator => {
            Rules::new().publish(requests(&caller, role, |_| true).map(|topic| topic.to_string()))
        }
    };
    rules.subscribe([operator::responses(name)]).into_role(|_| operator_login(name))
}

/// Where `caller` asks each coordinator for what `role` may ask for, as far as `also` takes it.
fn requests(
    caller: &Principal,
    role: OperatorRole,
    also: fn(Operation) -> bool,
) -> impl Iterator<Item = RequestTopic> {
    Coordinator::ALL.into_iter().flat_map(move |c| {
        Operation::of(c)
            .filter(move |operation| operation.is_open_to(role) && also(*operation))
            .map(move |operation| RequestTopic::to(c, caller.clone(), operation))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Action, decide};

    fn may(role: OperatorRole, topic: &RequestTopic) -> bool {
        let name = crate::fixed::first_operator();
        let (shared, personal) = (super::role(role), personal_role(&name, role));
        decide(&[(0, &shared), (0, &personal)], Action::Publish, &topic.to_string()).allowed
    }

    #[test]
    fn each_role_may_ask_each_coordinator_for_what_is_open_to_it() {
        let caller = Principal::Operator(crate::fixed::first_operator());
        for role in OperatorRole::ALL {
            for c in Coordinator::ALL {
                for operation in Operation::of(c).filter(|o| !o.is_internal()) {
                    let topic = RequestTopic::to(c, caller.clone(), operation);
                    let open = operation.is_open_to(role) || role == OperatorRole::Admin;
                    assert_eq!(may(role, &topic), open, "{role} {topic}");
                    let raw = RequestTopic::to(c, Principal::Unnamed, operation);
                    let open =
                        role != OperatorRole::Viewer && operation.is_raw() && operation.is_open_to(role);
                    assert_eq!(may(role, &raw), open, "{role} {raw}");
                }
            }
        }
    }

    #[test]
    fn only_an_admin_may_ask_for_what_nobody_has() {
        let caller = Principal::Operator(crate::fixed::first_operator());
        let mut topic = RequestTopic::new(caller, Operation::List);
        topic.operation = "dance".into();
        assert_eq!(OperatorRole::ALL.map(|role| may(role, &topic)), [false, false, true]);
    }

    #[test]
    fn who_only_looks_can_write_nothing_but_its_own_requests() {
        let shared = role(OperatorRole::Viewer);
        assert!(!shared.acls.iter().any(|acl| acl.acltype == AclType::PublishClientSend));
    }
}
