//! A plugin without internet has no way out, and its published ports work all the same.

use std::net::{Ipv4Addr, UdpSocket as StdUdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::InspectContainerOptions;
use envelope::StartId;
use envelope::payload::login::ProvisionResponse;
use manifest::Manifest;
use plugin_coordinator::engine::{Attachment, Container, Engine, NetworkSpec};
use plugin_coordinator::policy::Policy;
use plugin_coordinator::record::Record;
use plugin_coordinator::settings::Settings;
use serde_json::json;
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::push::{Entry, PushedImage, perl};
use crate::subject::{Real, Subject};

const SOON: Duration = Duration::from_secs(60);
const METADATA: &str = "169.254.169.254:80";

/// Tries to get out, tells how it went, then sends back whatever comes by TCP and UDP.
const PROGRAM: &str = r#"
use strict; use IO::Socket::INET; $| = 1; $SIG{TERM} = sub { exit 0 };
for my $to (split / /, $ENV{OUTSIDE}) {
    my $out = IO::Socket::INET->new(PeerAddr => $to, Timeout => 3);
    print "$to ", ($out ? "reached" : "blocked"), "\n";
}
my $tcp = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die "tcp: $!";
my $udp = IO::Socket::INET->new(LocalPort => 53, Proto => 'udp') or die "udp: $!";
print "serves\n";
if (my $child = fork) {
    $SIG{TERM} = sub { kill 'KILL', $child; exit 0 };
    while (1) {
        my $client = $tcp->accept or next;
        while (sysread($client, my $piece, 1000)) { syswrite($client, $piece) }
        close $client;
    }
}
while (1) { my $from = $udp->recv(my $piece, 2000) or next; $udp->send($piece, 0, $from) }
"#;

/// The forwarder's program, static, as its image has it.
async fn forwarder_program() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = tokio::process::Command::new(root.join("deploy/build-programs.sh"))
        .arg("forwarder")
        .env("BIGSKIES_PROFILE", "quick")
        .output()
        .await
        .expect("deploy/build-programs.sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    std::fs::read(folder.join("bigskies-forwarder")).expect("it was built")
}

/// Another machine: a network namespace beside this one, with a server that takes connections.
struct Elsewhere {
    name: String,
    address: String,
    server: tokio::process::Child,
}

/// Takes connections and says nothing.
const SERVER: &str = r#"
use IO::Socket::INET; my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die $!;
while (1) { $server->accept }
"#;

impl Elsewhere {
    fn begin() -> Self {
        let random = uuid::Uuid::new_v4().into_bytes();
        // Addresses for tests of networks (RFC 2544), a /30 of them for each run of this test.
        let address = |last: u8| format!("198.18.{}.{}", random[0], (random[1] & 0xfc) | last);
        let name = format!("bs{:02x}{:02x}{:02x}{:02x}", random[0], random[1], random[2], random[3]);
        let lines = [
            format!("netns add {name}"),
            format!("link add {name} type veth peer name up0 netns {name}"),
            format!("addr add {}/30 dev {name}", address(1)),
            format!("link set {name} up"),
            format!("-n {name} addr add {}/30 dev up0", address(2)),
            format!("-n {name} link set up0 up"),
            format!("-n {name} route add default via {}", address(1)),
        ];
        for line in lines {
            let output = std::process::Command::new("ip").args(line.split(' ')).output();
            let output = output.expect("ip of Debian's package iproute2");
            assert!(
                output.status.success(),
                "this test needs root. ip {line}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let mut server = tokio::process::Command::new("ip");
        server.args(["netns", "exec", &name, "perl", "-e", SERVER]).kill_on_drop(true);
        let server = server.spawn().expect("a server");
        Self { address: format!("{}:80", address(2)), name, server }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.server.start_kill();
        // The link goes with it.
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn free_ports() -> (u16, u16) {
    let tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let udp = StdUdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    (tcp.local_addr().expect("an address").port(), udp.local_addr().expect("an address").port())
}

async fn output_with(real: &Real, container: &str, words: &str) -> String {
    eventually(SOON, || async {
        let tail = real.engine.logs(container, 100, 10_000).await.map_err(|e| e.to_string())?;
        if tail.text.contains(words) { Ok(tail.text) } else { Err(tail.text) }
    })
    .await
}

async fn echoes_over_tcp(port: u16) {
    eventually(SOON, || async {
        let asked = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.write_all(b"over TCP").await?;
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
        if matches!(answer, Ok(Ok(a)) if a == *b"over TCP") { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

async fn echoes_over_udp(port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    socket.connect((Ipv4Addr::LOCALHOST, port)).await.expect("an address");
    eventually(SOON, || async {
        let mut answer = [0; 100];
        let asked = async {
            socket.send(b"over UDP").await?;
            socket.recv(&mut answer).await
        };
        match tokio::time::timeout(Duration::from_secs(2), asked).await {
            Ok(Ok(length)) if answer[..length] == *b"over UDP" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn inspect(real: &Real, name: &str) -> Container {
    real.engine.inspect(name).await.expect("an answer").expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_without_internet_has_no_way_out_and_its_published_ports_answer() {
    Real::test(|real| async move {
        let program = forwarder_program().await;
        let config = json!({"Entrypoint": ["/bigskies-forwarder"], "Labels": {"run": real.run()}});
        let entries = vec![Entry::Program("/bigskies-forwarder".into(), program)];
        let forwarder = real.push("forwarder", &PushedImage { config, with_shell: false, entries }).await;
        let config = json!({"Cmd": ["/usr/bin/perl", "-e", PROGRAM], "User": "1000:1000", "Labels": {"run": real.run()}});
        let image = real.push("plugin", &PushedImage { config, with_shell: false, entries: perl() }).await;
        for image in [&forwarder, &image] {
            real.engine.pull(image, None, &mut |_| {}).await.expect("the pull works");
        }

        let settings = Settings { network: real.name("net"), forwarder_image: forwarder.to_string(), ..Settings::default() };
        let policy = Policy::new(settings, real.run().to_owned());
        for network in [policy.inside(), policy.outside()] {
            real.engine.ensure_network(&network).await.expect("a network");
        }
        let elsewhere = Elsewhere::begin();
        let outside = elsewhere.address.clone();
        eventually(SOON, || async { TcpStream::connect(&outside).await.map(drop) }).await;
        let (tcp, udp) = free_ports();
        let id = format!("p{}", &real.run()[real.run().len() - 12..]);
        let document = json!({
            "id": id, "name": "Plugin", "version": "1.0.0",
            "docker": {
                "ports": [format!("{tcp}:80"), format!("{udp}:53/udp")],
                "environment": {"OUTSIDE": format!("{outside} {METADATA}")},
            },
        });
        let manifest: Manifest = serde_json::from_value(document.clone()).expect("no faults");
        let now = "2026-01-01T00:00:00Z";
        let record: Record = serde_json::from_value(json!({
            "id": id, "uid": uuid::Uuid::new_v4(), "generation": 1, "installed_at": now, "desired": {"want": "running"},
            "release": {
                "source": "x", "reference": image.to_string(), "digest": image.digest(), "manifest": document,
                "manifest_source": "label", "warnings": [], "grants": [], "uid": 1000, "gid": 1000,
            },
            "standing": {"phase": "starting", "reason": null, "since": now, "cause": "x", "correlation_id": "x"},
        }))
        .expect("a record");
        let start = StartId::new();
        let login = ProvisionResponse { start_id: start, username: "u".into(), password: "p".into() };
        let plugin = policy.container(&record, &manifest, start, &login);
        let forwards = policy.forwarder(&record, &manifest, start).expect("there are ports and no internet");
        for spec in [&plugin, &forwards] {
            real.engine.create(spec).await.expect("a container");
        }
        real.engine.start(&forwards.name).await.expect("the forwarder starts");
        real.engine.start(&plugin.name).await.expect("the plugin starts");

        let told = output_with(&real, &plugin.name, "serves").await;
        for to in [outside.as_str(), METADATA] {
            assert!(told.contains(&format!("{to} blocked\n")), "{told}");
        }
        for name in [&plugin.name, &forwards.name] {
            let found = real.docker.inspect_container(name, None::<InspectContainerOptions>).await;
            let host = found.expect("it is there").host_config.expect("a host configuration");
            assert_eq!(host.dns, Some(vec!["127.0.0.1".to_owned()]), "names are asked of nobody outside");
        }
        let seen = inspect(&real, &plugin.name).await;
        assert_eq!(seen.networks.into_keys().collect::<Vec<_>>(), [real.name("net")]);
        assert_eq!(seen.ports, []);
        echoes_over_tcp(tcp).await;
        echoes_over_udp(udp).await;

        // Its container ends and comes back, as it does in a restart: the forwarder finds it again.
        real.engine.kill(&plugin.name).await.expect("it is killed");
        real.engine.start(&plugin.name).await.expect("it starts again");
        echoes_over_tcp(tcp).await;
        echoes_over_udp(udp).await;

        // The same program on a network with a way out does reach that address: it is the network that blocks.
        let open = NetworkSpec { name: real.name("open"), internal: false, masquerade: true, icc: false, labels: real.labels("open") };
        real.engine.ensure_network(&open).await.expect("a network");
        let mut control = real.spec("control", &image.to_string());
        control.env.insert("OUTSIDE".into(), outside.clone());
        control.networks = vec![Attachment { network: open.name, aliases: vec![] }];
        real.engine.create(&control).await.expect("a container");
        real.engine.start(&control.name).await.expect("it starts");
        let told = output_with(&real, &control.name, "serves").await;
        assert!(told.contains(&format!("{outside} reached\n")), "{told}");

        let ended = real.engine.stop(&forwards.name, Duration::from_secs(20)).await.expect("an answer");
        assert_eq!(ended.map(|exit| exit.code), Some(0), "the forwarder obeys SIGTERM");
    })
    .await;
}
