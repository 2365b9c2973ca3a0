//! `docs/architecture/mqtt_message_flows_gojs.json`: who says what to whom, as a model that GoJS draws.

use envelope::topic::broker;
use serde_json::{Value, json};

use crate::schemas::pretty;
use crate::topics::{self, Party, Retained, Topic};

/// Where it lies.
pub const PATH: &str = "docs/architecture/mqtt_message_flows_gojs.json";

/// The model's text.
pub fn text() -> String {
    pretty(&model())
}

/// A `GraphLinksModel` whose nodes are principals and topics. A link from a principal to a topic says that it
/// publishes there; one from a topic to a principal, that it may subscribe.
pub fn model() -> Value {
    let topics = topics::all();
    let mut nodes: Vec<Value> = Party::ALL.into_iter().map(party).collect();
    nodes.extend(topics.iter().map(node));
    let links: Vec<Value> = topics.iter().flat_map(links).collect();
    json!({
        "class": "GraphLinksModel",
        "modelData": {
            "title": "BIG SKIES: MQTT topics reference",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Generated from the envelope and acl crates. \"plugin\" is the plugin whose id stands in the \
                            topic; other plugins may do nothing there unless an operator approved it.",
        },
        "nodeCategoryProperty": "category",
        "linkCategoryProperty": "category",
        "nodeDataArray": nodes,
        "linkDataArray": links,
    })
}

fn party(party: Party) -> Value {
    json!({"key": party.name(), "category": "principal", "text": party.name()})
}

fn node(topic: &Topic) -> Value {
    let retained = match topic.retained {
        Retained::Yes => "yes",
        Retained::No => "no",
        Retained::Plugins => "as the plugin likes",
    };
    let schema = topic.schema.as_ref().map(|name| format!("schemas/{name}.schema.json"));
    json!({
        "key": topic.topic,
        "category": "topic",
        "text": topic.topic,
        "description": topic.what,
        "retained": retained,
        "qos": 1,
        "schema": schema,
    })
}

fn links(topic: &Topic) -> Vec<Value> {
    let written = topic
        .writers
        .iter()
        .map(|writer| json!({"from": writer.name(), "to": topic.topic, "category": "publish", "text": "publishes"}));
    let readers = topic.readers();
    let read = readers
        .iter()
        .map(|reader| json!({"from": topic.topic, "to": reader.name(), "category": "subscribe", "text": "may read"}));
    let mut all: Vec<Value> = written.chain(read).collect();
    if topic.topic == broker::control() {
        all.push(json!({"from": topic.topic, "to": Party::Broker.name(), "category": "subscribe", "text": "obeys"}));
    }
    all
}
