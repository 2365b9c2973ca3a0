//! MQTT 5.

use std::future::ready;
use std::pin::Pin;

use bytes::Bytes;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::{
    AsyncClient, Broker, ConnectProperties, Event, EventLoop, Incoming, LastWill, MqttOptions,
    NetworkOptions, PersistedAckMode, PersistedSession, PublishOptions, PublishProperties, PublishResult,
    SessionStore, SessionStoreError, SessionStoreKey, SubscribeReasonCode,
};
use tokio::sync::mpsc;

use super::{Client, ClientOptions, Handle, MAX_PACKET, Message, Publish, Refusal, refusal};

/// How long the broker keeps the session of a client that asks for one, in seconds.
const SESSION_EXPIRY: u32 = 3600;
const IN_FLIGHT: u16 = 100;

pub(super) async fn connect(options: &ClientOptions) -> Result<Client, Refusal> {
    let (handle, mut events) = AsyncClient::builder(mqtt_options(options)).capacity(64).build();
    let connack = loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(connack))) => break connack,
            Ok(_) => {}
            Err(error) => return Err(refusal(error)),
        }
    };
    let (sender, inbox) = mpsc::unbounded_channel();
    Ok(Client {
        handle: Handle::V5(handle),
        inbox,
        task: tokio::spawn(run(events, sender)),
        session_present: connack.session_present,
    })
}

fn mqtt_options(options: &ClientOptions) -> MqttOptions {
    let mut mqtt = MqttOptions::new(&options.id, Broker::tcp("127.0.0.1", options.port));
    if let Some((name, password)) = &options.login {
        mqtt.set_credentials(name, password.clone());
    }
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(MAX_PACKET);
    if !options.clean {
        properties.session_expiry_interval = Some(SESSION_EXPIRY);
        mqtt.set_session_store(EmptySession);
    }
    mqtt.set_connect_properties(properties);
    mqtt.set_clean_start(options.clean);
    mqtt.set_outgoing_inflight_upper_limit(IN_FLIGHT);
    if let Some((topic, payload)) = &options.will {
        mqtt.set_last_will(LastWill::new(topic, payload.to_vec(), QoS::AtLeastOnce, false, None));
    }
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_network_options(network);
    mqtt
}

async fn run(mut events: EventLoop, sender: mpsc::UnboundedSender<Message>) -> String {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let properties = publish.properties.unwrap_or_default();
                // Nobody reads any more when this fails, which is the reader's business.
                let _ = sender.send(Message {
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload: publish.payload,
                    qos: publish.qos as u8,
                    retain: publish.retain,
                    dup: publish.dup,
                    response_topic: properties.response_topic,
                    correlation_data: properties.correlation_data,
                    user_properties: properties.user_properties,
                });
            }
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

pub(super) async fn publish(client: &AsyncClient, message: Publish) -> Result<u8, Refusal> {
    let properties = PublishProperties {
        message_expiry_interval: message
            .expiry
            .map(|expiry| u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)),
        response_topic: message.response_topic,
        correlation_data: message.correlation_data,
        user_properties: message.user_properties,
        ..PublishProperties::default()
    };
    let options = PublishOptions::new(qos(message.qos)).retain(message.retain).properties(properties);
    let notice = client
        .publish_tracked(message.topic, Bytes::clone(&message.payload), options)
        .await
        .map_err(refusal)?;
    Ok(match notice.wait_async().await.map_err(refusal)? {
        PublishResult::Qos0Flushed => 0,
        PublishResult::Qos1(puback) => puback.reason as u8,
        PublishResult::Qos2Completed(pubcomp) => pubcomp.reason as u8,
        PublishResult::Qos2PubRecRejected(pubrec) => pubrec.reason as u8,
    })
}

pub(super) async fn subscribe(client: &AsyncClient, filter: &str) -> Result<(), Refusal> {
    let notice = client.subscribe_tracked(filter, QoS::AtLeastOnce).await.map_err(refusal)?;
    let suback = notice.wait_async().await.map_err(refusal)?;
    match suback.return_codes.first() {
        Some(SubscribeReasonCode::Success(_)) => Ok(()),
        other => Err(Refusal(format!("{other:?}"))),
    }
}

const fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// The library resumes a session only with its local half. An earlier client's is not ours, and an
/// empty one is as good, so that a stranger can take over a session.
#[derive(Debug)]
struct EmptySession;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for EmptySession {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        Box::pin(ready(Ok(Some(PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(SESSION_EXPIRY),
            outgoing_inflight_upper_limit: Some(IN_FLIGHT),
            ack_mode: PersistedAckMode::Automatic,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}
