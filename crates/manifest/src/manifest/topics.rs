//! The topics that a manifest declares, and which of them can never be granted.

use envelope::PluginId;
use envelope::topic::plugin;

use super::blocks::Mqtt;
use crate::fault::{Findings, quoted};
use crate::filter::TopicFilter;
use crate::namespace::{Access, Namespace, Never, Verdict};
use crate::read::{Node, is_hidden};

const MAX_TOPICS: usize = 256;
/// Most bytes of one; every rule of the broker's is compared with every message.
const MAX_BYTES: usize = 512;
/// Most levels of a topic that the broker takes.
const MAX_LEVELS: usize = 200;
const MAX_CLIENT_ID: usize = 128;

/// Declared topics. The rights that every plugin has beside them are not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    /// Filters for publishing.
    pub publish: Vec<TopicFilter>,
    /// Filters for subscribing.
    pub subscribe: Vec<TopicFilter>,
}

impl Mqtt {
    pub(super) fn read(node: &Node<'_>, id: &PluginId, namespace: &Namespace, found: &mut Findings) -> Self {
        let Some(mut object) = node.object(found) else {
            return Self::default();
        };
        let mut topics = |key, access| {
            let node = object.get(key);
            node.map(|n| filters(&n, access, id, namespace, found)).unwrap_or_default()
        };
        let topics_subscribe = topics("topics_subscribe", Access::Subscribe);
        let topics_publish = topics("topics_publish", Access::Publish);
        let client_id = object.get("client_id").and_then(|n| client_id(&n, found));
        object.warn_unknown(found);
        Self { topics_subscribe, topics_publish, client_id }
    }
}

fn filters(
    node: &Node<'_>,
    access: Access,
    id: &PluginId,
    namespace: &Namespace,
    found: &mut Findings,
) -> Vec<TopicFilter> {
    let mut filters: Vec<TopicFilter> = Vec::new();
    for item in node.list(found, MAX_TOPICS) {
        let Some(text) = item.text(found) else {
            continue;
        };
        let filter = match TopicFilter::parse(text) {
            Ok(filter) => filter,
            Err(error) => {
                let fix = "correct the topic filter (MQTT 5.0 section 4.7)";
                found.fault(&item.at, format!("{} {error}", quoted(text)), fix);
                continue;
            }
        };
        if let Some((reason, fix)) = unusable(text) {
            found.fault(&item.at, format!("{} {reason}", quoted(text)), fix);
        } else if let Verdict::Never(never) = namespace.judge(access, &filter) {
            let reason = format!("{} {never}; this is never granted", quoted(text));
            found.fault(&item.at, reason, fix(never, access, id));
        } else if !filters.contains(&filter) {
            filters.push(filter);
        }
    }
    filters
}

/// Why a topic or filter that MQTT allows is not taken, and what to do about it. What the broker's roles cannot
/// hold is told here, when the plugin is installed, and not when it starts.
pub(super) fn unusable(text: &str) -> Option<(String, &'static str)> {
    if text.chars().any(is_hidden) {
        return Some(("contains characters that cannot be seen".to_owned(), "leave them out"));
    }
    if text.split('/').count() > MAX_LEVELS {
        return Some((format!("has more than {MAX_LEVELS} levels"), "use fewer levels; brokers refuse more"));
    }
    if text.len() > MAX_BYTES {
        return Some((format!("has more than {MAX_BYTES} bytes"), "shorten it"));
    }
    // Some brokers put a client's own id and login in the place of these, so that a client could choose.
    if text.contains("%c") || text.contains("%u") {
        let reason = "contains \"%c\" or \"%u\", which stand for whatever name a client gives itself";
        return Some((reason.to_owned(), "write the name itself"));
    }
    None
}

fn fix(never: Never, access: Access, id: &PluginId) -> String {
    let own = plugin::namespace(id);
    let verb = match access {
        Access::Publish => "publish on",
        Access::Subscribe => "subscribe to",
    };
    match never {
        Never::Tokens => format!(
            "leave it out, or subscribe to the plugin's own token {}",
            quoted(&envelope::topic::coordinator::token(id))
        ),
        Never::CoordinatorTopics | Never::CoordinatorRequests => format!(
            "leave it out; a plugin asks coordinators on {}, and is answered on {}",
            quoted(&plugin::requests(id)),
            quoted(&plugin::responses(id))
        ),
        Never::NotAnId => {
            format!("write the id of a plugin there; the plugin's own topics are {}", quoted(&own))
        }
        _ => format!("{verb} the plugin's own topics {}, or name the exact topics needed", quoted(&own)),
    }
}

/// A client id stands in the broker's log beside other words, so it is made of characters that cannot be
/// taken for them.
fn client_id(node: &Node<'_>, found: &mut Findings) -> Option<String> {
    let text = node.text(found)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@-".contains(&b);
    let reserved = ["coordinator", "operator", "bigskies"];
    if text.is_empty() || text.len() > MAX_CLIENT_ID || !text.bytes().all(plain) {
        let reason = format!("{} cannot be a client id", quoted(text));
        found.fault(&node.at, reason, format!("use 1 to {MAX_CLIENT_ID} of A-Z a-z 0-9 . _ : / @ -"));
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if reserved.iter().any(|word| lower.starts_with(word)) {
        let reason = format!("{} begins like a client id of the framework", quoted(text));
        found.fault(&node.at, reason, "choose another, or use the plugin's id and leave the key out");
        return None;
    }
    Some(text.to_owned())
}
