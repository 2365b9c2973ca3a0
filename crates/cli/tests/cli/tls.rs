//! Encrypted connections: which broker is trusted, and what is said when it is not.

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use serde_json::json;
use testkit::Broker;

use crate::stage::{Stage, end, success};

const CA: &str = ".bigskies/ca.pem";

#[tokio::test]
async fn with_the_brokers_ca_every_command_works_encrypted() {
    let stage = Stage::encrypted().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    for host in ["127.0.0.1", "localhost"] {
        let child = stage.spawn(&["plugin", "list", "--host", host, "--tls-ca", CA]);
        let asked = plugin.asked(Operation::List).await;
        plugin.answer(&asked, success(json!({"plugins": []}))).await;
        assert_eq!(end(child).await.code, 0);
    }
    let ended = stage.run(&["status", "--tls-ca", CA]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn a_broker_that_another_ca_vouches_for_is_not_trusted() {
    let stage = Stage::encrypted().await;
    let another = Broker::open().tls().await;
    stage.file("other.pem", another.ca_pem().expect("it is encrypted"));
    let ended = stage.run(&["status", "--tls-ca", "other.pem"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("not signed by one in other.pem"), "{ended:?}");
}

#[tokio::test]
async fn a_broker_with_another_name_is_not_trusted() {
    let stage = Stage::encrypted().await;
    // Another name of this machine, which the certificate does not have.
    let ended = stage.run(&["status", "--host", "127.0.0.2", "--tls-ca", CA]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("cannot reach the broker at 127.0.0.2"), "{ended:?}");
    let ended = stage.run(&["status", "--host", "0.0.0.0", "--tls-ca", CA]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("certificate is for another name than 0.0.0.0"), "{ended:?}");
}

#[tokio::test]
async fn a_file_without_certificates_is_told() {
    let stage = Stage::encrypted().await;
    stage.file("empty.pem", "not a certificate\n");
    let ended = stage.run(&["status", "--tls-ca", "empty.pem"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("empty.pem must hold one or more certificates"), "{ended:?}");
    let ended = stage.run(&["status", "--tls-ca", "none.pem"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("could not read the CA certificates none.pem"), "{ended:?}");
}

#[tokio::test]
async fn a_listener_that_does_not_encrypt_is_told() {
    let stage = Stage::new().await;
    let another = Broker::open().tls().await;
    stage.file("ca.pem", another.ca_pem().expect("it is encrypted"));
    let ended = stage.run(&["status", "--tls-ca", "ca.pem"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("speaks TLS"), "{ended:?}");
}

#[tokio::test]
async fn an_encrypted_listener_is_told_from_a_broker_that_is_not_there() {
    let stage = Stage::encrypted().await;
    let ended = stage.run(&["status"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("is an encrypted listener, name its CA's certificate: --tls-ca"), "{ended:?}");
}
