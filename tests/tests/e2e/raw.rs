//! Requests as the SDK document prints them, with Mosquitto's own client.

use envelope::{ErrorCode, Operation};
use serde_json::json;
use testkit::{Publish, Version};
use tests::repository::text;
use tests::stack::images::Script;
use tests::stack::operator::{Operator, raw_request};

use super::runner::Case;
use super::world::{Shared, id, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![
        the_documents_mosquitto_pub_command_installs_a_plugin,
        a_bare_request_is_answered_over_both_versions_of_the_protocol,
    ]
}

/// The command with which the document registers a plugin.
fn command() -> String {
    let document = text("docs/PLUGIN_SDK.md").expect("readable");
    let begin = document.find("mosquitto_pub -h mqtt-broker").expect("the document has the command");
    let (command, _) = document[begin..].split_once("\n```").expect("in a block that ends");
    command.to_owned()
}

/// An operator that listens where the document's requests are answered.
async fn listening(world: &Shared, version: Version) -> Operator {
    let operator = Operator::connect(&world.stack, version).await.expect("connects");
    for operation in [Operation::Install, Operation::Remove, Operation::List] {
        let topic = raw_request(operation).response();
        operator.listener.client().subscribe(&topic).await.expect("the operator may hear its answers");
    }
    operator
}

async fn the_documents_mosquitto_pub_command_installs_a_plugin(world: Shared) {
    let (id, _held) = world.sdk_id().await;
    let image = Script::healthy("raw").label(minimal(&id));
    let source = image.push(&world.stack).await.expect("the image builds");
    let command = command();
    let mut operator = listening(&world, Version::V3).await;

    // As printed but for where the image is: nobody can push to that registry.
    let ours = command.replace("registry.example.com/my-plugin:1.0.0", &source);
    assert_ne!(ours, command, "the document names another image now");
    let run = ["run", "--rm", "--no-deps", "--no-TTY", "tools", "sh", "-c", &ours];
    world.stack.compose(run).ok().await.expect("the command works as printed");
    let topic = raw_request(Operation::Install).response();
    assert_eq!(topic, "bigskies/coordinator/plugin/install/response");
    let wanted = |answer: &serde_json::Value| answer.to_string().contains(id.as_str());
    let installed = operator.answer_on(&topic, wanted).await;
    assert_eq!(installed.data()["plugin_id"], id.as_str());

    let topic = raw_request(Operation::Remove);
    operator.publish(&topic.to_string(), json!({"plugin_id": id}).to_string()).await;
    operator.answer_on(&topic.response(), wanted).await.data();
    world.assert_nothing_is_left(&id, &source).await;
}

async fn a_bare_request_is_answered_over_both_versions_of_the_protocol(world: Shared) {
    for version in [Version::V3, Version::V5] {
        let mut operator = listening(&world, version).await;
        let unknown = id(&format!("never-installed-{version:?}"));
        let topic = raw_request(Operation::Remove);
        let data = uuid::Uuid::new_v4().to_string();
        operator
            .publish_with(Publish {
                topic: topic.to_string(),
                payload: json!({"plugin_id": unknown}).to_string().into(),
                qos: 1,
                correlation_data: (version == Version::V5).then(|| data.clone().into()),
                ..Publish::default()
            })
            .await;
        let wanted = |answer: &serde_json::Value| answer.to_string().contains(unknown.as_str());
        let answer = operator.answer_on(&topic.response(), wanted).await;
        answer.error(ErrorCode::UnknownPlugin);
        if version == Version::V5 {
            assert_eq!(answer.message.correlation_data.as_deref(), Some(data.as_bytes()));
        }

        // An empty message is a request without fields.
        let topic = raw_request(Operation::List);
        operator.publish(&topic.to_string(), "").await;
        operator.answer_on(&topic.response(), |_| true).await.data();
    }
}
