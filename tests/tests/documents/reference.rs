//! `docs/operations.md` and the topic graph.

use std::collections::BTreeSet;

use acl::explain::Action;
use envelope::{ErrorCode, Operation, PluginId};
use tests::repository::{RepositoryError, hold, hold_block, root, text};
use tests::topics::{self, Party};
use tests::{graph, reference};

#[test]
fn the_reference_is_generated_from_the_types() -> Result<(), RepositoryError> {
    for (name, block) in reference::blocks() {
        hold_block(reference::PATH, name, &block)?;
    }
    Ok(())
}

#[test]
fn the_rules_of_the_security_rating_are_those_of_the_code() -> Result<(), RepositoryError> {
    let (name, block) = reference::rating();
    hold_block(reference::SECURITY, name, &block)
}

#[test]
fn every_operation_and_every_error_code_is_in_the_reference() {
    let document = text(reference::PATH).expect("the document is there");
    for operation in Operation::ALL {
        assert!(document.contains(&format!("\n### {}\n", operation.unique_name())), "{operation}");
    }
    for code in ErrorCode::ALL {
        assert!(document.contains(&format!("\n| `{code}` | ")), "{code}");
    }
}

#[test]
fn the_topic_graph_is_generated_from_the_types() -> Result<(), RepositoryError> {
    hold(graph::PATH, &graph::text())
}

#[test]
fn the_topic_graph_links_nodes_that_are_there_and_leaves_none_alone() {
    let model = graph::model();
    assert_eq!(model["class"], "GraphLinksModel");
    let texts = |list: &str, key: &str| -> Vec<String> {
        let items = model[list].as_array().expect("a list");
        items.iter().map(|item| item[key].as_str().expect("a text").to_owned()).collect()
    };
    let nodes = texts("nodeDataArray", "key");
    let known: BTreeSet<&String> = nodes.iter().collect();
    assert_eq!(known.len(), nodes.len(), "a key is there twice");
    let ends: BTreeSet<String> =
        texts("linkDataArray", "from").into_iter().chain(texts("linkDataArray", "to")).collect();
    assert_eq!(ends.iter().collect::<BTreeSet<_>>(), known);
}

#[test]
fn whoever_is_said_to_write_a_topic_can_and_nobody_else() {
    for topic in topics::all() {
        for party in Party::ALL.into_iter().filter(|party| *party != Party::Broker) {
            let tidies = topic.tidied() && party == Party::Coordinator(envelope::Coordinator::Plugin);
            let may = party.may(Action::Publish, &topic.concrete);
            let writes = topic.writers.contains(&party);
            assert!(may == writes || tidies, "{}: the {} {may} {writes}", topic.topic, party.name());
        }
    }
}

#[test]
fn every_topic_that_is_written_by_a_client_has_somebody_who_may_read_it() {
    for topic in topics::all() {
        assert!(!topic.readers().is_empty() || topic.topic.starts_with("$CONTROL"), "{}", topic.topic);
    }
}

#[test]
fn a_plugin_that_declares_nothing_can_do_nothing_on_the_topics_of_another() {
    let stranger = PluginId::parse("stranger").expect("an id");
    for topic in topics::all().into_iter().filter(|topic| topic.topic.contains("{id}")) {
        for action in [Action::Publish, Action::Subscribe, Action::Receive] {
            assert!(!topics::plugin_may(&stranger, action, &topic.concrete), "{} {action:?}", topic.topic);
        }
    }
}

#[test]
fn everything_that_a_document_points_to_is_there() {
    let decisions = std::fs::read_dir(root().join("docs/decisions")).expect("the folder is there");
    let decisions = decisions.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/operations.md",
        "docs/plugin-author.md",
        "docs/reliability.md",
        "docs/security.md",
        "docs/configuration.md",
        "schemas/README.md",
    ];
    let others = others.into_iter().map(str::to_owned);
    for path in others.chain(decisions.map(|name| format!("docs/decisions/{name}"))) {
        let document = text(&path).expect("the document is there");
        let folder = root().join(&path).parent().expect("a folder").to_owned();
        for link in document.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let elsewhere = link.is_empty() || link.contains("://");
            assert!(elsewhere || folder.join(link).exists(), "{path}: {link} leads nowhere");
        }
        for named in document.split('`').skip(1).step_by(2) {
            let ours = ["crates/", "services/", "deploy/", "schemas/", "tests/", "docs/"];
            let is_path =
                ours.iter().any(|top| named.starts_with(top)) && !named.contains([' ', '*', '{', '<']);
            assert!(!is_path || root().join(named).exists(), "{path}: there is no {named}");
        }
    }
}
