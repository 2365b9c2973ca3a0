//! The generated parts of `docs/operations.md`.

use envelope::operation::Callers;
use envelope::principal::Principal;
use envelope::topic::RequestTopic;
use envelope::{Coordinator, ErrorCode, Operation, OperatorName, OperatorRole, PluginId};
use serde_json::Value;

use crate::examples;
use crate::schemas::{meanings, pretty};
use crate::topics::{self, Party, Retained, Topic};

/// The document.
pub const PATH: &str = "docs/operations.md";

/// Its generated parts, by the names of their marks.
pub fn blocks() -> [(&'static str, String); 4] {
    [
        ("topics", topic_table()),
        ("permissions", permission_table()),
        ("operations", operations()),
        ("errors", error_table()),
    ]
}

/// The document about security.
pub const SECURITY: &str = "docs/security.md";

/// Its generated part, by the name of its mark.
pub fn rating() -> (&'static str, String) {
    ("rating", manifest::rating::table())
}

fn topic_table() -> String {
    let mut table =
        String::from("| topic | who writes | who may read | retained | what |\n|---|---|---|---|---|\n");
    for topic in topics::all() {
        let retained = match topic.retained {
            Retained::Yes => "yes",
            Retained::No => "no",
            Retained::Plugins => "its choice",
        };
        let what = match &topic.schema {
            Some(schema) => format!("{} [{schema}](../schemas/{schema}.schema.json)", topic.what),
            None => topic.what.clone(),
        };
        let row =
            [format!("`{}`", topic.topic), names(&topic.writers), readers(&topic), retained.to_owned(), what];
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    table
}

fn readers(topic: &Topic) -> String {
    let readers = topic.readers();
    // Commands to the broker itself reach no client.
    if readers.is_empty() { Party::Broker.name() } else { names(&readers) }
}

fn names(parties: &[Party]) -> String {
    if Coordinator::ALL.iter().all(|c| parties.contains(&Party::Coordinator(*c))) {
        let others = parties.iter().filter(|p| !matches!(p, Party::Coordinator(_))).map(|p| p.name());
        return std::iter::once("all coordinators".to_owned()).chain(others).collect::<Vec<_>>().join(", ");
    }
    parties.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ")
}

fn permission_table() -> String {
    let mut table = String::from(
        "| operation | coordinator | operators | a plugin needs | other coordinators |\n|---|---|---|---|---|\n",
    );
    for operation in Operation::ALL {
        let cannot = || "cannot".to_owned();
        let (permission, coordinators) = match operation.callers() {
            Callers::People { permission } => (format!("`{permission}`"), "no".to_owned()),
            Callers::Accounts { .. } => (cannot(), "no".to_owned()),
            Callers::Itself => ("nothing, for itself".to_owned(), "no".to_owned()),
            Callers::Internal(c) => (cannot(), format!("the {c} coordinator alone")),
        };
        let name = operation.unique_name();
        let to = if operation.is_common() { "each".to_owned() } else { operation.coordinator().to_string() };
        let row = format!(
            "| [`{name}`](#{name}) | {to} | {} | {permission} | {coordinators} |\n",
            roles(operation)
        );
        table.push_str(&row);
    }
    table
}

/// Which operators may ask for it, and where.
fn roles(operation: Operation) -> String {
    let Some(least) = OperatorRole::ALL.into_iter().find(|role| operation.is_open_to(*role)) else {
        return "no".to_owned();
    };
    let and_up = if least == OperatorRole::Admin { "" } else { " and up" };
    let where_ = if operation.is_raw() { "" } else { ", on their own topics only" };
    format!("{least}{and_up}{where_}")
}

fn operations() -> String {
    let meanings = meanings::<Operation>();
    let section = |operation: Operation| {
        let name = operation.unique_name();
        let meaning = meanings.get(name).map(String::as_str).unwrap_or_default();
        format!(
            "### {name}\n\n{meaning}\n\n{}\n\nRequest ([schema](../schemas/{name}.request.schema.json)):\n\n{}\n\n\
             Answer ([schema](../schemas/{name}.response.schema.json)):\n\n{}\n",
            places(operation),
            block(&examples::request(operation)),
            block(&examples::answer(operation)),
        )
    };
    Operation::ALL.map(section).join("\n")
}

/// Where an operation is asked for and answered.
fn places(operation: Operation) -> String {
    let place = |who: &str, caller: Principal| {
        let topic = RequestTopic::new(caller, operation);
        format!("- {who}: `{topic}`, answered on `{}`", topic.response())
    };
    let (user, id) = (OperatorName::parse("USER"), PluginId::parse("ID"));
    let (user, id) = (user.expect("it is a name"), id.expect("it is an id"));
    let (user, plugin) = (Principal::Operator(user), Principal::Plugin(id));
    let places = match operation.callers() {
        Callers::Internal(c) => vec![place(&format!("The {c} coordinator"), Principal::Coordinator(c))],
        Callers::People { permission } => vec![
            place("Operators, without a name", Principal::Unnamed),
            place("An operator by name", user),
            place(&format!("A plugin with `{permission}`"), plugin),
        ],
        Callers::Accounts { .. } => vec![place("An operator by name", user)],
        Callers::Itself => vec![place("A plugin about itself, without a token", plugin)],
    };
    let text = places.join("\n").replace("USER", "{user}").replace("ID", "{id}");
    if operation.is_common() {
        format!("{text}\n\nThe other two coordinators answer under their own names in the same way.")
    } else {
        text
    }
}

fn block(value: &Value) -> String {
    format!("```json\n{}```", pretty(value))
}

fn error_table() -> String {
    let mut table = String::from("| code | meaning | what to do |\n|---|---|---|\n");
    for code in ErrorCode::ALL {
        table.push_str(&format!("| `{code}` | {} | {} |\n", code.meaning(), advice(*code)));
    }
    table
}

/// What whoever gets this code can do.
fn advice(code: ErrorCode) -> &'static str {
    use ErrorCode as C;
    match code {
        C::BadRequest => {
            "Correct the field that the message names; the operation's request schema says what is read."
        }
        C::UnknownOperation => "Use one of the operations that the message lists for this coordinator.",
        C::NoSuchOperation => {
            "Look at `operations`, which tells those that run and the last 1,000 that have ended, with their ids."
        }
        C::UnknownPlugin => "Look at `list`. Ids are compared byte for byte, capitals included.",
        C::Conflict => "Give each request an id of its own; only a repeat of the same request may repeat it.",
        C::Expired => "Send it again if it is still wanted, with a later `expires_at` if it may wait.",
        C::Forbidden => {
            "Ask for what `details` names in the manifest's `permissions` and have an operator approve it; \
                         approvals themselves are taken on an operator's own topic only."
        }
        C::TokenInvalid => {
            "Use the token that is on the plugin's token topic now; `details.reason` says what is wrong with this one."
        }
        C::ReplyRefused => "Leave the response topic out, or name one inside your own response space.",
        C::Busy => "Wait for the end of the operation that `details.operation_id` names, then ask again.",
        C::InvalidPhase => {
            "Look at the plugin's state; bring it to a phase in which the operation makes sense."
        }
        C::Cancelled => "Nothing, if the other request was meant; otherwise ask again.",
        C::TimedOut => {
            "Look at the step that the message names and at the coordinator's health, then ask again."
        }
        C::ManifestMissing => "Give the manifest in one of the three ways that the message names.",
        C::ManifestInvalid => {
            "Correct every fault in `details.faults`: each has its place, its reason and what to write instead."
        }
        C::ManifestMismatch => {
            "Build the image again from one `plugin.json`, and name that plugin's id in the request."
        }
        C::ApprovalRequired => {
            "Read `details.grants`. If they are right, send the request again with `approve` set to \
                                `details.approve`, on an operator's own topic."
        }
        C::ApprovalChanged => "Read the new list in `details.grants`, and approve its digest instead.",
        C::RolledBack => {
            "Nothing is to be done for the plugin, which runs as before. Read `details.failure.log_tail` for why the new \
                        version did not get ready, and update again with one that does."
        }
        C::AlreadyInstalled => {
            "Use `update`, which replaces the image and keeps data, configuration and grants."
        }
        C::NameTaken => {
            "Remove what has the name, or choose another: of an account, or id, alias or client id in a manifest."
        }
        C::UnknownOperator => "Look at `operators`; names are compared byte for byte.",
        C::LastAdmin => "Make another account an admin first, and see that somebody can log in with it.",
        C::UnknownGrant => "Look at `grants`: each has its key.",
        C::ConfigInvalid => {
            "Correct every fault in `details.faults`; the schema is `config_schema` in the plugin's manifest."
        }
        C::TooManyRequests => "Ask less often; what was refused this way was not done.",
        C::DiskFull => {
            "Remove plugins or images that are not needed, or give the disk more room; then ask again."
        }
        C::PortTaken => {
            "Stop the container in `details.container`, or publish another port in `docker.ports`."
        }
        C::ImageNotFound => "Check the name and the tag, and that the image was pushed to this registry.",
        C::ImageRefused => "Build the image for this platform, smaller, or again, as the message says.",
        C::RegistryUnreachable => "Check the registry's address and the network; then ask again.",
        C::RegistryLogin => {
            "Put a login for the registry into the plugin coordinator's `config.json` (`registry_config`)."
        }
        C::StartFailed => {
            "Read `details.log_tail` and `details.exit_code`, and correct the image or its configuration."
        }
        C::NotReady => {
            "Read `details.log_tail`; the plugin must report health on its health topic in time, or the manifest \
                        allow more with `start_timeout_seconds`."
        }
        C::DependencyUnavailable => {
            "Look at the coordinators' health; ask again when the one that the message names is back."
        }
        C::EngineUnavailable => "Start the container engine; what was asked for is done when it answers.",
        C::EngineRefused => "The message has the engine's own reason; correct what it names and ask again.",
        C::Internal => "Look into the coordinator's log under the response's correlation id.",
    }
}
