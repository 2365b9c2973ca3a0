//! The listener for other machines: encrypted, and trusted by the certificate in the operator's folder.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::stack::Stack;
use tests::stack::command::{Output, Run};

use super::runner::Case;
use super::world::Shared;

pub fn cases() -> Vec<Case> {
    crate::beside![the_command_line_asks_encrypted_with_the_installations_certificate_and_not_without]
}

/// The command line with the operator's login, at the encrypted listener.
pub fn encrypted<'a>(stack: &Stack, arguments: impl IntoIterator<Item = &'a str>) -> Run {
    let (user, password) = stack.operator();
    let environment = BTreeMap::from([
        ("MQTT_HOST".to_owned(), "127.0.0.1".to_owned()),
        ("MQTT_PORT".to_owned(), stack.tls_port.to_string()),
        ("MQTT_USERNAME".to_owned(), user),
        ("MQTT_PASSWORD".to_owned(), password),
    ]);
    stack.command_line(arguments).env(&environment)
}

/// Asks for the plugins by TLS, trusting the installation's own authority.
pub async fn list(stack: &Stack) -> Output {
    let authority = stack.operator_folder().join("ca.crt").display().to_string();
    encrypted(stack, ["--json", "plugin", "list", "--tls-ca", &authority]).output().await.expect("it runs")
}

async fn the_command_line_asks_encrypted_with_the_installations_certificate_and_not_without(world: Shared) {
    let listed = list(&world.stack).await;
    assert_eq!(listed.code, Some(0), "{}", listed.text);
    let listed: Value = serde_json::from_str(&listed.text).expect("JSON");
    assert!(listed["plugins"].is_array(), "{listed:#}");

    let without = encrypted(&world.stack, ["plugin", "list"]).output().await.expect("it runs");
    assert_eq!(without.code, Some(3), "{}", without.text);
    assert!(without.text.contains("--tls-ca"), "{}", without.text);
    let other = world.stack.folder().join("other-ca.pem");
    let another = testkit::Broker::open().tls().await;
    std::fs::write(&other, another.ca_pem().expect("it is encrypted")).expect("writable");
    let other = other.display().to_string();
    let wrong =
        encrypted(&world.stack, ["plugin", "list", "--tls-ca", &other]).output().await.expect("it runs");
    assert_eq!(wrong.code, Some(3), "{}", wrong.text);
    assert!(wrong.text.contains("not signed by one in"), "{}", wrong.text);
}
