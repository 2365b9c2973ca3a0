//! The roles of operators.

use envelope::operation::Operation;
use envelope::principal::{Principal, operator_login};
use envelope::topic::{RequestTopic, coordinator, operator, plugin};
use envelope::{Coordinator, OperatorName};

use crate::dynsec::{AclType, Role};
use crate::role::Rules;

/// Above the rules that the role allows by.
const DENIED: i32 = 10;

/// What every operator may do: ask on the SDK's topics, tell plugins, and watch everything but what
/// carries tokens.
pub fn role() -> Role {
    let raw: Vec<RequestTopic> = Operation::ALL
        .into_iter()
        .filter(|o| !o.is_internal())
        .map(|o| RequestTopic::new(Principal::Unnamed, o))
        .collect();
    let secret = [plugin::all_requests(), plugin::all_responses()];
    Rules::new()
        .publish(raw.iter().map(RequestTopic::to_string))
        .subscribe(raw.iter().map(RequestTopic::response))
        .publish([plugin::all_control()])
        .subscribe([plugin::all()])
        .all(AclType::SubscribePattern, secret.clone(), false, DENIED)
        .all(AclType::PublishClientReceive, secret, false, DENIED)
        .subscribe(Coordinator::ALL.map(coordinator::events))
        .subscribe(Coordinator::ALL.map(coordinator::health_all))
        .subscribe([coordinator::specs(), coordinator::states(), coordinator::acls()])
        .subscribe([coordinator::keys()])
        .into_role(|_| "operator".to_owned())
}

/// What only the operator `name` may do: ask with an identity that the broker vouches for. Named like the
/// login.
pub fn personal_role(name: &OperatorName) -> Role {
    Rules::new()
        .publish([operator::requests(name)])
        .subscribe([operator::responses(name)])
        .into_role(|_| operator_login(name))
}
