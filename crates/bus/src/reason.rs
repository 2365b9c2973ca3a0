//! The broker's codes and the library's errors, in words for an operator.

use rumqttc::{
    ConnectReturnCode, ConnectionError, DisconnectReasonCode, PubAckReason, StateError, SubscribeReasonCode,
    UnsubAckReason,
};

/// The name of a PUBACK's reason code (MQTT 5, 3.4.2.1).
pub(crate) const fn of_publish(reason: PubAckReason) -> &'static str {
    match reason {
        PubAckReason::Success => "success",
        PubAckReason::NoMatchingSubscribers => "no matching subscribers",
        PubAckReason::UnspecifiedError => "unspecified error",
        PubAckReason::ImplementationSpecificError => "implementation specific error",
        PubAckReason::NotAuthorized => "not authorized",
        PubAckReason::TopicNameInvalid => "topic name invalid",
        PubAckReason::PacketIdentifierInUse => "packet identifier in use",
        PubAckReason::QuotaExceeded => "quota exceeded",
        PubAckReason::PayloadFormatInvalid => "payload format invalid",
    }
}

/// The name of a SUBACK's reason code when it is a refusal (MQTT 5, 3.9.3).
pub(crate) const fn of_subscribe(reason: SubscribeReasonCode) -> Option<&'static str> {
    Some(match reason {
        SubscribeReasonCode::Success(_) => return None,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => "unspecified error",
        SubscribeReasonCode::ImplementationSpecific => "implementation specific error",
        SubscribeReasonCode::NotAuthorized => "not authorized",
        SubscribeReasonCode::TopicFilterInvalid => "topic filter invalid",
        SubscribeReasonCode::PkidInUse => "packet identifier in use",
        SubscribeReasonCode::QuotaExceeded => "quota exceeded",
        SubscribeReasonCode::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
        SubscribeReasonCode::SubscriptionIdNotSupported => "subscription identifiers not supported",
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
    })
}

/// The name of an UNSUBACK's reason code when it is a refusal (MQTT 5, 3.11.3).
pub(crate) const fn of_unsubscribe(reason: UnsubAckReason) -> Option<&'static str> {
    Some(match reason {
        UnsubAckReason::Success | UnsubAckReason::NoSubscriptionExisted => return None,
        UnsubAckReason::UnspecifiedError => "unspecified error",
        UnsubAckReason::ImplementationSpecificError => "implementation specific error",
        UnsubAckReason::NotAuthorized => "not authorized",
        UnsubAckReason::TopicFilterInvalid => "topic filter invalid",
        UnsubAckReason::PacketIdentifierInUse => "packet identifier in use",
    })
}

/// Why there is no connection. `broker` is its `host:port`.
pub(crate) fn of_connection(error: &ConnectionError, broker: &str) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker at {broker} refused the login: {}", of_connect(*code))
        }
        ConnectionError::Timeout(_) => format!("the broker at {broker} did not answer in time"),
        ConnectionError::Io(source) => format!("cannot reach the broker at {broker}: {source}"),
        // The packet is not shown: it is whatever a stranger on that port sent.
        ConnectionError::NotConnAck(_) => {
            format!("what listens at {broker} does not answer like an MQTT 5 broker")
        }
        ConnectionError::MqttState(state) => of_state(state),
        other => other.to_string(),
    }
}

fn of_state(error: &StateError) -> String {
    match error {
        StateError::ServerDisconnect { reason_code, reason_string } => {
            let name = of_disconnect(*reason_code);
            let code = *reason_code as u8;
            match reason_string {
                Some(text) => {
                    format!("the broker ended the connection: {name} (0x{code:02X}): {text}")
                }
                None => format!("the broker ended the connection: {name} (0x{code:02X})"),
            }
        }
        StateError::ConnectionAborted => "the broker closed the connection".to_owned(),
        StateError::AwaitPingResp => "the broker no longer answers pings".to_owned(),
        StateError::Deserialization(source) => match source {
            rumqttc::mqttbytes::Error::Io(source) => format!("the connection broke: {source}"),
            source => {
                format!("the connection broke at a packet that cannot be read or written: {source}")
            }
        },
        other => other.to_string(),
    }
}

const fn of_connect(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::BadUserNamePassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => {
            "not authorized (an unknown or disabled login, a wrong password, or a client id that belongs to another login)"
        }
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            "client identifier not valid"
        }
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => "server unavailable",
        ConnectReturnCode::ServerBusy => "server busy",
        ConnectReturnCode::Banned => "banned",
        ConnectReturnCode::BadAuthenticationMethod => "bad authentication method",
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
            "MQTT 5 not supported"
        }
        ConnectReturnCode::TopicNameInvalid => "topic name of the last will invalid",
        ConnectReturnCode::PacketTooLarge => "packet too large",
        ConnectReturnCode::QuotaExceeded => "quota exceeded",
        ConnectReturnCode::PayloadFormatInvalid => "payload format of the last will invalid",
        ConnectReturnCode::RetainNotSupported => "retained last will not supported",
        ConnectReturnCode::QoSNotSupported => "QoS of the last will not supported",
        ConnectReturnCode::UseAnotherServer => "use another server",
        ConnectReturnCode::ServerMoved => "server moved",
        ConnectReturnCode::ConnectionRateExceeded => "connection rate exceeded",
        ConnectReturnCode::MalformedPacket => "malformed packet",
        ConnectReturnCode::ProtocolError => "protocol error",
        ConnectReturnCode::ImplementationSpecificError => "implementation specific error",
        ConnectReturnCode::UnspecifiedError | ConnectReturnCode::Success => "unspecified error",
    }
}

const fn of_disconnect(code: DisconnectReasonCode) -> &'static str {
    match code {
        DisconnectReasonCode::NormalDisconnection => "normal disconnection",
        DisconnectReasonCode::MalformedPacket => "malformed packet",
        DisconnectReasonCode::ProtocolError => "protocol error",
        DisconnectReasonCode::NotAuthorized => "not authorized",
        DisconnectReasonCode::ServerBusy => "server busy",
        DisconnectReasonCode::ServerShuttingDown => "server shutting down",
        DisconnectReasonCode::KeepAliveTimeout => "keep alive timeout",
        DisconnectReasonCode::SessionTakenOver => "session taken over by another client with this client id",
        DisconnectReasonCode::TopicFilterInvalid => "topic filter invalid",
        DisconnectReasonCode::TopicNameInvalid => "topic name invalid",
        DisconnectReasonCode::ReceiveMaximumExceeded => "receive maximum exceeded",
        DisconnectReasonCode::PacketTooLarge => "packet too large",
        DisconnectReasonCode::MessageRateTooHigh => "message rate too high",
        DisconnectReasonCode::QuotaExceeded => "quota exceeded",
        DisconnectReasonCode::AdministrativeAction => "administrative action",
        DisconnectReasonCode::PayloadFormatInvalid => "payload format invalid",
        DisconnectReasonCode::RetainNotSupported => "retain not supported",
        DisconnectReasonCode::QoSNotSupported => "QoS not supported",
        DisconnectReasonCode::UseAnotherServer => "use another server",
        DisconnectReasonCode::ServerMoved => "server moved",
        DisconnectReasonCode::ConnectionRateExceeded => "connection rate exceeded",
        DisconnectReasonCode::MaximumConnectTime => "maximum connect time",
        _ => "unspecified error",
    }
}

/// Whether the broker (or our own encoder) ended the connection because of something that we sent
/// and would send again.
pub(crate) const fn blames_a_packet(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => matches!(
            reason_code,
            DisconnectReasonCode::MalformedPacket
                | DisconnectReasonCode::ProtocolError
                | DisconnectReasonCode::TopicNameInvalid
                | DisconnectReasonCode::TopicFilterInvalid
                | DisconnectReasonCode::PacketTooLarge
                | DisconnectReasonCode::PayloadFormatInvalid
                | DisconnectReasonCode::RetainNotSupported
                | DisconnectReasonCode::QoSNotSupported
        ),
        ConnectionError::MqttState(StateError::Deserialization(error)) => {
            !matches!(error, rumqttc::mqttbytes::Error::Io(_))
        }
        ConnectionError::MqttState(
            StateError::OutgoingPacketTooLarge { .. } | StateError::InvalidState | StateError::Unsolicited(_),
        )
        | ConnectionError::SessionStateMismatch { .. } => true,
        _ => false,
    }
}
