//! `explain`: may this plugin publish or subscribe there, and by which rule?
//!
//! Asked are the roles of the plugin's login; of a plugin that is not started, those that its next login gets.

use acl::explain::explain;
use chassis::{Reply, Request};
use envelope::payload::login::{Access, ExplainRequest, Explanation};
use envelope::{ErrorBody, ErrorCode};
use manifest::{TopicFilter, TopicName};

use crate::keeper::Keeper;

pub(crate) fn handle(keeper: &Keeper, request: &Request) -> Result<Reply, ErrorBody> {
    let asked: ExplainRequest = request.parse()?;
    let fault = match asked.access {
        Access::Publish => TopicName::parse(&asked.topic).err().map(|e| e.to_string()),
        Access::Subscribe => TopicFilter::parse(&asked.topic).err().map(|e| e.to_string()),
    };
    if let Some(fault) = fault {
        let topic: String = asked.topic.chars().take(120).collect();
        return Err(ErrorBody::new(ErrorCode::BadRequest, format!("The topic {topic:?} {fault}.")));
    }
    let id = asked.plugin_id;
    let explanation = |allowed, role, rule, reason| Explanation {
        plugin_id: id.clone(),
        access: asked.access,
        topic: asked.topic.clone(),
        allowed,
        role,
        rule,
        reason,
    };
    match keeper.roles_of(&id) {
        None => Err(ErrorBody::new(
            ErrorCode::UnknownPlugin,
            format!("No plugin {id} is installed; list the plugins to see which are."),
        )),
        Some(Err(reasons)) => {
            let reason = format!("The rights that the plugin asks for are refused. {}", reasons.join(" "));
            Ok(Reply::now(&explanation(false, None, None, reason)))
        }
        Some(Ok(roles)) => {
            let found = explain(&roles.by_priority(), asked.access, &asked.topic);
            Ok(Reply::now(&explanation(found.allowed, found.role, found.rule, found.reason)))
        }
    }
}
