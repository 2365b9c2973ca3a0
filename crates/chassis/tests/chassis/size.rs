//! Requests as large, and as deep, as the broker delivers.

use envelope::{ErrorCode, Operation};
use serde_json::json;
use testkit::{Client, Publish, Version};

use super::stage::{PATIENCE, Stage};

/// What the broker of an installation takes.
const MAX_PACKET: usize = 1024 * 1024;

#[tokio::test]
async fn the_largest_packet_that_the_broker_takes_is_answered() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    ann.ask(Operation::List, json!({})).await.expect("answered");
    let topic = ann.topic(Operation::List);
    // Fixed header (1 + 3), the topic and the packet's id, each with its length; in MQTT 5 no properties (1).
    let payload = |version, packet: usize| {
        let properties = usize::from(version == Version::V5);
        vec![b'x'; packet - (1 + 3 + 2 + topic.len() + 2 + properties)]
    };
    // The broker does not count the length itself, three bytes; a client that knows the limit does.
    for (version, packet) in [(Version::V3, MAX_PACKET + 3), (Version::V5, MAX_PACKET)] {
        let id = format!("largest-{version:?}");
        let client = Client::at(stage.broker.port(), id).version(version).connect().await.expect("connects");
        client.publish(&topic, payload(version, packet), 1, false).await.expect("the broker takes it");
        let error = ann.refusal().await;
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains("at most 524288 are taken"), "{}", error.message);
    }
    // One byte more is refused by the broker itself, which ends the connection.
    let mut client =
        Client::at(stage.broker.port(), "too-large").version(Version::V3).connect().await.expect("connects");
    client.publish(&topic, payload(Version::V3, MAX_PACKET + 4), 1, false).await.expect_err("not taken");
    client.ended().await.expect("the broker ends the connection");
    ann.ask(Operation::List, json!({})).await.expect("nobody else has noticed");
}

#[tokio::test]
async fn as_much_correlation_data_as_there_can_be_is_echoed() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    let data = bytes::Bytes::from(vec![7; 65_535]);
    let (topic, correlation_data) = (ann.topic(Operation::List), Some(data.clone()));
    let payload = json!({}).to_string().into();
    ann.send(Publish { topic, payload, qos: 1, correlation_data, ..Publish::default() }).await;
    let message = ann.client.recv(PATIENCE).await.expect("an answer");
    assert_eq!(message.correlation_data, Some(data));
}

#[tokio::test]
async fn a_request_that_is_nested_too_deep_is_told_so() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    let deep = format!("{{\"plugin_id\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    ann.send_bytes(Operation::Start, deep).await;
    let error = ann.refusal().await;
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("127 levels"), "{}", error.message);
    ann.ask(Operation::List, json!({})).await.expect("answered");
}
