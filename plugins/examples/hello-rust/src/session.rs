//! The connection to the broker, and the loop around it.
//!
//! One task polls the connection and only forwards what it sees to a bounded inbox: it would block
//! itself for ever if it also published. The other does everything else, and never waits to
//! publish: what does not fit in the queue is dropped and logged.

use std::time::Duration;

use jiff::Timestamp;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Packet, PublishOptions, QoS,
    SubscribeFilterInput, SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::backoff;
use crate::health::INTERVAL;
use crate::log;
use crate::plugin::{Outgoing, Plugin};
use crate::probe;
use crate::settings::Settings;

/// Most messages that wait in either direction.
const QUEUE: usize = 64;
/// Largest message accepted; the broker is told, and keeps larger ones to itself.
const LARGEST_BYTES: u32 = 64 * 1024;
/// Most messages that wait for the broker's acknowledgement. The client keeps a table of this size,
/// which by default has 65,535 places.
const IN_FLIGHT: u16 = 64;
const KEEP_ALIVE_SECONDS: u16 = 15;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the polling task saw.
enum News {
    Connected,
    Subscribed(Vec<SubscribeReasonCode>),
    Message { topic: String, payload: Vec<u8>, retained: bool },
    Refused(String),
    Lost(String),
}

/// Runs the plugin until it is told to stop (SIGTERM or SIGINT).
pub async fn run(settings: Settings) -> Result<(), String> {
    let told = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;

    let mut plugin = Plugin::new(&settings);
    for fault in &settings.faults {
        log::warn("settings are faulty", json!({"fault": fault}));
    }
    let (tell, status) = watch::channel("unhealthy: not connected to the broker yet".to_owned());
    match probe::listen(&settings.id) {
        Ok(listener) => drop(tokio::spawn(probe::serve(listener, status))),
        Err(error) => log::warn("Docker cannot ask for health", json!({"error": error.to_string()})),
    }

    log::info("started", json!({"plugin": settings.id, "host": settings.host, "port": settings.port}));
    let (client, eventloop) = AsyncClient::builder(options(&settings))
        .capacity(QUEUE)
        .try_build()
        .map_err(|error| format!("the settings make no connection: {error}"))?;
    let (inbox, mut news) = mpsc::channel(QUEUE);
    let poller = tokio::spawn(poll(eventloop, inbox));
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connected = false;

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = tick.tick() => {
                if connected {
                    publish(&client, plugin.health(Timestamp::now()));
                }
            }
            Some(event) = news.recv() => match event {
                News::Connected => subscribe(&client, &plugin),
                News::Subscribed(codes) => {
                    connected = true;
                    plugin.on_connect(refused(&plugin, &codes));
                    publish(&client, plugin.health(Timestamp::now()));
                    tick.reset();
                }
                News::Message { topic, payload, retained } => {
                    for outgoing in plugin.on_message(&topic, &payload, retained, Timestamp::now()) {
                        publish(&client, outgoing);
                    }
                }
                News::Refused(reason) => log::warn("the broker refused a message", json!({"reason": reason})),
                News::Lost(error) => {
                    connected = false;
                    log::warn("not connected", json!({"error": error}));
                }
            },
        }
        tell.send_replace(told_to_docker(&plugin, connected));
    }

    log::info("stopping", Value::Null);
    // Nobody listens any more: the polling task ends at its next attempt to forward something.
    drop(news);
    if connected && client.try_disconnect_with_timeout(GOODBYE).is_ok() {
        let _ = timeout(GOODBYE * 2, poller).await;
    }
    log::info("stopped", Value::Null);
    Ok(())
}

fn options(settings: &Settings) -> MqttOptions {
    let mut options = MqttOptions::new(&settings.id, (settings.host.as_str(), settings.port));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_keep_alive(KEEP_ALIVE_SECONDS)
        .set_clean_start(true)
        .set_max_packet_size(Some(LARGEST_BYTES))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT)
        .set_network_options(network);
    if let Some((user, password)) = &settings.login {
        options.set_credentials(user, password.clone());
    }
    options
}

fn subscribe(client: &AsyncClient, plugin: &Plugin) {
    let filters = plugin.topics.filters();
    let filters = filters.map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
    if let Err(error) = client.try_subscribe_many(filters) {
        log::warn("not subscribed", json!({"error": error.to_string()}));
    }
}

fn publish(client: &AsyncClient, outgoing: Outgoing) {
    let Outgoing { topic, message } = outgoing;
    log::debug("publish", json!({"topic": topic}));
    let payload = message.to_string();
    if let Err(error) = client.try_publish(topic.as_str(), payload, PublishOptions::at_least_once()) {
        log::warn("not published", json!({"topic": topic, "error": error.to_string()}));
    }
}

/// The filters that the broker refused, in the order in which they were asked for.
fn refused(plugin: &Plugin, codes: &[SubscribeReasonCode]) -> Vec<String> {
    let filters = plugin.topics.filters();
    let refused: Vec<String> = filters
        .into_iter()
        .zip(codes)
        .filter(|(_, code)| !matches!(code, SubscribeReasonCode::Success(_)))
        .map(|(filter, _)| filter)
        .collect();
    log::info("connected", json!({"refused": refused}));
    refused
}

fn told_to_docker(plugin: &Plugin, connected: bool) -> String {
    if !connected {
        return "unhealthy: not connected to the broker".to_owned();
    }
    let (status, message) = plugin.status(Timestamp::now());
    format!("{}: {message}", json!(status).as_str().unwrap_or_default())
}

/// Polls until the goodbye is said or nobody listens, connecting again and again.
async fn poll(mut eventloop: EventLoop, inbox: mpsc::Sender<News>) {
    let mut failures = 0;
    loop {
        let (news, lost) = match eventloop.poll().await {
            Ok(event) => (sort(event, &mut failures), false),
            Err(ConnectionError::RequestsDone) => return,
            Err(error) => (Some(News::Lost(error.to_string())), true),
        };
        // While the goodbye is under way nobody listens, and there is nobody to connect for.
        let deaf = match news {
            Some(news) => inbox.send(news).await.is_err(),
            None => inbox.is_closed(),
        };
        if lost {
            if deaf {
                return;
            }
            sleep(backoff::delay(failures)).await;
            failures = failures.saturating_add(1);
        }
    }
}

fn sort(event: Event, failures: &mut u32) -> Option<News> {
    let Event::Incoming(packet) = event else {
        return None;
    };
    match packet {
        Packet::ConnAck(_) => {
            *failures = 0;
            Some(News::Connected)
        }
        Packet::SubAck(ack) => Some(News::Subscribed(ack.return_codes)),
        Packet::Publish(message) => Some(News::Message {
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            payload: message.payload.to_vec(),
            retained: message.retain,
        }),
        Packet::PubAck(ack) => {
            use rumqttc::PubAckReason::{NoMatchingSubscribers, Success};
            (!matches!(ack.reason, Success | NoMatchingSubscribers))
                .then(|| News::Refused(format!("{:?}", ack.reason)))
        }
        _ => None,
    }
}
