//! MQTT 3.1.1.

use rumqttc_v4::mqttbytes::QoS;
use rumqttc_v4::{
    AsyncClient, Broker, Event, EventLoop, Incoming, LastWill, MqttOptions, NetworkOptions, PublishOptions,
    SubscribeReasonCode,
};
use tokio::sync::mpsc;

use super::{Client, ClientOptions, Handle, MAX_PACKET, Message, Publish, Refusal, refusal};

pub(super) async fn connect(options: &ClientOptions) -> Result<Client, Refusal> {
    let (handle, mut events) = AsyncClient::builder(mqtt_options(options)).capacity(64).build();
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let connack = loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(connack))) => break connack,
            Ok(_) => {}
            Err(error) => return Err(refusal(error)),
        }
    };
    let (sender, inbox) = mpsc::unbounded_channel();
    Ok(Client {
        handle: Handle::V3(handle),
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
    mqtt.set_clean_session(options.clean);
    let limit = MAX_PACKET as usize;
    mqtt.set_max_packet_size(limit, limit);
    if let Some((topic, payload)) = &options.will {
        mqtt.set_last_will(LastWill::new(topic, payload.to_vec(), QoS::AtLeastOnce, false));
    }
    mqtt
}

async fn run(mut events: EventLoop, sender: mpsc::UnboundedSender<Message>) -> String {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                // Nobody reads any more when this fails, which is the reader's business.
                let _ = sender.send(Message {
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload: publish.payload,
                    qos: publish.qos as u8,
                    retain: publish.retain,
                    dup: publish.dup,
                    ..Message::default()
                });
            }
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

pub(super) async fn publish(client: &AsyncClient, message: Publish) -> Result<u8, Refusal> {
    let options = PublishOptions::new(qos(message.qos)).retain(message.retain);
    let notice = client.publish_tracked(message.topic, message.payload, options).await.map_err(refusal)?;
    notice.wait_async().await.map_err(refusal)?;
    Ok(0)
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
