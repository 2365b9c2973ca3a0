//! What a forwarder carries, and what it does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use forwarder::{Arguments, Bounds, Forwarder, Protocol, Route, Subnets, Target};
use testkit::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

const SOON: Duration = Duration::from_secs(20);

fn here() -> Subnets {
    Subnets::Only(vec![(Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0))])
}

struct Running {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A forwarder to a port of this machine.
async fn forward(protocol: Protocol, port: u16, bounds: Bounds, subnets: Subnets) -> Running {
    let routes = vec![Route { protocol, listen: 0, port }];
    let arguments = Arguments { to: "localhost".into(), routes };
    let target = Target::new("localhost", subnets);
    let forwarder = Forwarder::listen(&arguments, target, bounds).await.expect("a free port");
    let (_, address) = forwarder.addresses().next().expect("one route");
    let task = tokio::spawn(forwarder.run()).abort_handle();
    Running { address: (Ipv4Addr::LOCALHOST, address.port()).into(), task }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it happens in time")
}

#[tokio::test]
async fn each_side_can_say_that_it_has_said_everything_while_the_other_goes_on() {
    let (plugin, port) = listen().await;
    let running = forward(Protocol::Tcp, port, Bounds::default(), here()).await;
    let mut client = TcpStream::connect(running.address).await.expect("it listens");
    let question = vec![7; 3 << 20];
    let sends = async {
        client.write_all(&question).await.expect("it is taken");
        client.shutdown().await.expect("half of it is closed");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("the answer comes after that");
        answer
    };
    let answers = async {
        let (mut stream, _) = plugin.accept().await.expect("it is connected");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("everything comes");
        stream.write_all(format!("{} bytes", heard.len()).as_bytes()).await.expect("it is taken");
    };
    let (answer, ()) = soon(async { tokio::join!(sends, answers) }).await;
    assert_eq!(answer, format!("{} bytes", 3 << 20).as_bytes());
}

#[tokio::test]
async fn a_plugin_that_does_not_run_is_an_end_and_one_that_comes_back_is_found() {
    let (plugin, port) = listen().await;
    drop(plugin);
    let running = forward(Protocol::Tcp, port, Bounds::default(), here()).await;
    let mut client = TcpStream::connect(running.address).await.expect("it listens");
    let ended = soon(client.read(&mut [0])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let plugin = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the same port");
    let _client = TcpStream::connect(running.address).await.expect("it listens");
    soon(plugin.accept()).await.expect("it is connected");
}

#[tokio::test]
async fn nobody_is_connected_to_what_lies_on_no_network_of_the_forwarder() {
    let (plugin, port) = listen().await;
    let running = forward(Protocol::Tcp, port, Bounds::default(), Subnets::Only(vec![])).await;
    let mut client = TcpStream::connect(running.address).await.expect("it listens");
    let ended = soon(client.read(&mut [0])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let reached = tokio::time::timeout(Duration::ZERO, plugin.accept()).await;
    assert!(reached.is_err(), "the plugin's port was connected to");
}

#[tokio::test]
async fn connections_that_say_nothing_make_room_for_one_that_does() {
    let (plugin, port) = listen().await;
    let bounds = Bounds { connections: 4, ..Bounds::default() };
    let running = forward(Protocol::Tcp, port, bounds, here()).await;
    tokio::spawn(async move {
        // Echoes; a connection that ends is forgotten.
        while let Ok((mut stream, _)) = plugin.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    async fn echo(client: &mut TcpStream) {
        client.write_all(b"x").await.expect("it is taken");
        let mut byte = [0];
        soon(client.read_exact(&mut byte)).await.expect("it comes back");
    }
    let mut works = TcpStream::connect(running.address).await.expect("it listens");
    echo(&mut works).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(running.address).await.expect("it listens");
        echo(&mut client).await;
        silent.push(client);
        echo(&mut works).await;
    }
    for (index, client) in silent.iter_mut().enumerate().take(16) {
        let ended = soon(client.read(&mut [0])).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "connection {index} is still open");
    }
    echo(&mut works).await;
}

#[tokio::test]
async fn datagrams_find_the_plugin_and_their_way_back_to_each_client() {
    let plugin = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = plugin.local_addr().expect("an address").port();
    let running = forward(Protocol::Udp, port, Bounds::default(), here()).await;
    tokio::spawn(async move {
        let mut datagram = vec![0; 65_535];
        while let Ok((length, from)) = plugin.recv_from(&mut datagram).await {
            let _ = plugin.send_to(&datagram[..length], from).await;
        }
    });
    let mut clients = Vec::new();
    for n in 0..5_u8 {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        client.connect(running.address).await.expect("an address");
        client.send(&vec![n; 1000 * (usize::from(n) + 1)]).await.expect("it is sent");
        clients.push(client);
    }
    for (n, client) in clients.iter().enumerate() {
        let mut answer = vec![0; 65_535];
        let length = soon(client.recv(&mut answer)).await.expect("an answer");
        assert_eq!(&answer[..length], vec![u8::try_from(n).expect("small"); 1000 * (n + 1)]);
    }
}

#[tokio::test]
async fn udp_clients_are_bounded_and_forgotten_when_they_are_idle() {
    let plugin = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = plugin.local_addr().expect("an address").port();
    let bounds = Bounds { clients: 2, idle: Duration::from_millis(1), ..Bounds::default() };
    let running = forward(Protocol::Udp, port, bounds, here()).await;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    client.connect(running.address).await.expect("an address");
    let seen_from = async || {
        client.send(b"x").await.expect("it is sent");
        soon(plugin.recv_from(&mut [0; 10])).await.expect("it comes").1
    };
    let first = seen_from().await;
    // Once its way was idle for long enough it has another.
    eventually(SOON, || async {
        let now = seen_from().await;
        if now == first { Err("it is remembered") } else { Ok(()) }
    })
    .await;
    let mut others = Vec::new();
    for _ in 0..20 {
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        other.connect(running.address).await.expect("an address");
        other.send(b"y").await.expect("it is sent");
        soon(plugin.recv_from(&mut [0; 10])).await.expect("each gets through");
        others.push(other);
    }
}

fn program() -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_bigskies-forwarder"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_program_ends_at_once_when_it_is_told_to() {
    let mut child = program().args(["--to", "localhost", "--tcp", "0:80"]).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = soon(lines.next_line()).await.expect("readable").expect("a line");
    let address: SocketAddr = line.split('/').next().and_then(|a| a.parse().ok()).expect("its address");
    let _open = TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.expect("it listens");
    let id = child.id().expect("it runs").to_string();
    let killed = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(killed.expect("kill runs").success());
    let status = soon(child.wait()).await.expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn the_program_refuses_arguments_that_cannot_be_meant_and_ports_that_are_taken() {
    let output = program().args(["--to", "x"]).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: bigskies-forwarder"));
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port");
    let route = format!("{}:80", taken.local_addr().expect("an address").port());
    let output = program().args(["--to", "x", "--tcp", &route]).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(1));
}
