//! A plugin that needs no internet: its published ports answer, and it has no way out.

use std::time::Duration;

use envelope::Operation;
use serde_json::json;
use testkit::{eventually, free_port};
use tests::stack::command::{Output, Run};
use tests::stack::engine;
use tests::stack::image_of;
use tests::stack::images::Script;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::runner::Case;
use super::world::{Shared, World, id, minimal};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    crate::beside![a_plugin_without_internet_answers_on_its_ports_and_has_no_way_out]
}

/// What a program of ours says that sees the network as this container does.
async fn beside(container: &str, command: &str) -> Output {
    let network = format!("container:{container}");
    let image = image_of("tools");
    let run = ["run", "--rm", "--network", &network, &image, "sh", "-c", command];
    Run::docker(run).output().await.expect("the engine runs it")
}

/// What is answered on a port of this machine.
async fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The address of a service on the network of the coordinators.
async fn address(world: &World, service: &str) -> String {
    let container = engine::inspect(&world.stack.container(service)).await.expect("the engine answers");
    let network = format!("{}_control", world.stack.project);
    let address = &container.expect("it runs")["NetworkSettings"]["Networks"][&network]["IPAddress"];
    address.as_str().expect("it is on that network").to_owned()
}

async fn a_plugin_without_internet_answers_on_its_ports_and_has_no_way_out(world: Shared) {
    let id = id("has-a-page");
    let port = free_port();
    let mut manifest = minimal(&id);
    manifest["docker"] = json!({"ports": [format!("{port}:8080")], "volumes": ["page:/page"]});
    let healthy = include_str!("../../src/stack/images/healthy.sh");
    let script = format!("echo clear skies >/page/page\nbusybox httpd -p 8080 -h /page\n{healthy}");
    let image = Script::new(id.as_str(), &script).label(manifest);
    let source = image.push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let answer = eventually(PATIENCE, || async { get(port).await.map_err(|e| e.to_string()) }).await;
    assert!(answer.ends_with("clear skies\n"), "{answer}");

    let container = world.running(&id).await;
    let networks = container["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    assert_eq!(networks.keys().collect::<Vec<_>>(), [&world.stack.project], "it is on another network");
    let container = container["Id"].as_str().expect("it has an id").to_owned();
    let reached = beside(&container, "busybox nc -w 5 mqtt-broker 1883 </dev/null").await;
    assert_eq!(reached.code, Some(0), "the broker cannot be reached: {}", reached.text);
    // Something listens there, as this machine sees it.
    let registry = address(&world, "registry").await;
    TcpStream::connect((registry.as_str(), 5000)).await.expect("the registry answers this machine");
    let host = TcpListener::bind(("0.0.0.0", 0)).await.expect("a port is free");
    let host_port = host.local_addr().expect("it listens").port();
    let gateway = "$(busybox ip route | busybox awk '/^default/ { print $3 }')";
    let outside =
        ["169.254.169.254 80", "1.1.1.1 443", &format!("{registry} 5000"), &format!("{gateway} {host_port}")];
    let tries =
        outside.map(|out| format!("busybox nc -w 3 {out} </dev/null && echo reached {out} &\n")).concat();
    let tried = beside(&container, &format!("{tries}wait\necho tried all")).await;
    assert!(tried.text.contains("tried all") && !tried.text.contains("reached"), "{}", tried.text);

    let forwarders = world.stack.containers_of(&id, "forwarder").await.expect("the engine answers");
    assert_eq!(forwarders.len(), 1, "one container carries its ports");
    operator.ask_about(Operation::Stop, &id).await.data();
    assert!(!world.has_container(&id).await, "a container is left of it");
    assert!(get(port).await.is_err(), "the port still answers");
    world.remove(&mut operator, &id, &source).await;
}
