//! `docs/configuration.md` names every setting with its default, and no other.

use std::collections::BTreeSet;

use chassis::config::Common;
use envelope::Coordinator;
use serde::Serialize;
use serde_json::Value;
use tests::repository::text;

const PATH: &str = "docs/configuration.md";

/// Key, variable and default of a setting.
type Setting = (String, String, String);

fn defaults(prefix: &str, settings: impl Serialize) -> Vec<Setting> {
    fn leaves(key: &str, value: &Value, found: &mut Vec<Setting>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    leaves(&key, value, found);
                }
            }
            value => {
                let variable = format!("BIGSKIES_{}", key.replace('.', "__").to_uppercase());
                let default = match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                found.push((key.to_owned(), variable, default));
            }
        }
    }
    let mut found = Vec::new();
    leaves(prefix, &serde_json::to_value(settings).expect("settings are data"), &mut found);
    found
}

/// The rows of all tables whose first two cells are a key and a variable.
fn rows(document: &str) -> Vec<Setting> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let code = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
        let (key, variable) = (code(cells.first()?)?, code(cells.get(1)?)?);
        if !variable.starts_with("BIGSKIES_") {
            return None;
        }
        let default = code(cells.get(2)?).unwrap_or_default();
        assert!(cells.get(3).is_some_and(|text| !text.is_empty()), "{key} is not described");
        Some((key, variable, default))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn every_setting_is_documented_with_its_default_and_no_other() {
    let section = Coordinator::as_str;
    let mut wanted = defaults("", Common::default());
    wanted.extend(defaults(section(Coordinator::Plugin), plugin_coordinator::settings::Settings::default()));
    wanted.extend(defaults(section(Coordinator::Message), message_coordinator::Settings::default()));
    wanted.extend(defaults(section(Coordinator::Security), security_coordinator::Settings::default()));
    let document = text(PATH).expect("the document is there");
    let documented = rows(&document);
    let (wanted_set, documented_set): (BTreeSet<_>, BTreeSet<_>) =
        (wanted.iter().collect(), documented.iter().collect());
    let missing: Vec<_> = wanted_set.difference(&documented_set).collect();
    let stale: Vec<_> = documented_set.difference(&wanted_set).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nstale: {stale:#?}");
    assert_eq!(documented.len(), documented_set.len(), "a setting is there twice");
}

#[test]
fn a_row_is_read_and_a_heading_is_not() {
    let table =
        "| key | variable | default | what |\n|---|---|---|---|\n| `a.b` | `BIGSKIES_A__B` | | Text. |\n";
    assert_eq!(rows(table), [("a.b".to_owned(), "BIGSKIES_A__B".to_owned(), String::new())]);
}

#[test]
fn every_variable_of_the_compose_file_is_documented() {
    let (compose, document) = (text("docker-compose.yml").expect("readable"), text(PATH).expect("readable"));
    let name = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect()
    };
    let variables: BTreeSet<String> = compose.split("${").skip(1).map(name).collect();
    assert!(variables.contains("BIGSKIES_MQTT_PORT"));
    for variable in variables {
        assert!(document.contains(&format!("| `{variable}` |")), "{variable}");
    }
}
