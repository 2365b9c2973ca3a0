//! `plugin control`: sends a plugin a command. No coordinator is involved: the operator's role may write to
//! the control topics of plugins.

use bus::{Delivered, Outgoing};
use envelope::payload::lifecycle::PluginRequest;
use envelope::{Envelope, MessageType, Operation, OperatorRole, PluginId, Principal, topic};
use serde_json::{Value, json};

use super::Context;
use crate::args::Control;
use crate::failure::Failure;
use crate::render::clean;
use crate::session::Session;

pub(super) async fn run(args: Control, context: &Context) -> Result<(), Failure> {
    let mut session = context.open().await?;
    let result = send(&args, context, &mut session).await;
    session.close().await;
    let topic = result?;
    if context.screen.json {
        return context.screen.data(&json!({ "topic": topic }));
    }
    context.screen.say(&format!("sent to {}", clean(&topic)))
}

/// Sends the command to where the plugin listens, and says where that was.
async fn send(args: &Control, context: &Context, session: &mut Session) -> Result<String, Failure> {
    let payload = payload(args, session);
    let mut topics = vec![topic::plugin::control_command(&args.id, &args.command)];
    let message = |topic: &str| Outgoing::new(topic, payload.clone()).content_type("application/json");
    if publish(session, message(&topics[0])).await? != Delivered::Nobody {
        return Ok(topics.remove(0));
    }
    // A plugin may listen under its alias instead, and only the plugin coordinator knows that.
    let request = PluginRequest { plugin_id: args.id.clone() };
    let inspection =
        context.ask_on(session, Operation::Inspect, &request, "asking the plugin coordinator").await?;
    if let Some(alias) = alias(&args.id, &inspection) {
        topics.push(topic::plugin::control_command(&alias, &args.command));
        if publish(session, message(&topics[1])).await? != Delivered::Nobody {
            return Ok(topics.remove(1));
        }
    }
    Err(Failure::PluginDeaf { topics })
}

async fn publish(session: &Session, message: Outgoing) -> Result<Delivered, Failure> {
    let controls = |role: OperatorRole| role.verbs().contains(&"control");
    session.publish(message, "tell plugins what to do", controls).await
}

fn payload(args: &Control, session: &Session) -> Vec<u8> {
    let text = args.payload.as_deref();
    if args.raw {
        return text.unwrap_or_default().as_bytes().to_vec();
    }
    let value = match text {
        None => json!({}),
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    let source = Principal::Operator(session.login.operator.clone());
    Envelope::new(MessageType::Command, source.to_string(), value).encode()
}

/// The plugin's second namespace: the one of its health topic, when that is not its id's.
fn alias(id: &PluginId, inspection: &Value) -> Option<PluginId> {
    let health = inspection["manifest"]["health_check"]["topic"].as_str()?;
    let owner = PluginId::parse(topic::plugin::owner(health)?).ok()?;
    (owner != *id).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_is_the_namespace_of_the_health_topic() {
        let id = PluginId::parse("guid-1").expect("an id");
        let inspection = |topic: &str| json!({"manifest": {"health_check": {"topic": topic}}});
        let found = |topic: &str| alias(&id, &inspection(topic)).map(|a| a.to_string());
        assert_eq!(
            found(&topic::plugin::health(&PluginId::parse("focuser").expect("an id"))),
            Some("focuser".into())
        );
        assert_eq!(found(&topic::plugin::health(&id)), None);
        assert_eq!(found("somewhere/else"), None);
        assert_eq!(alias(&id, &json!({"manifest": []})), None);
    }
}
