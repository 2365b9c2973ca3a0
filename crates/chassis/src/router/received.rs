//! A delivery as the journal takes it, or why it is none.

use std::time::Duration;

use aws_lc_rs::digest;
use bus::Delivery;
use envelope::message::{DecodeError, Incoming as Decoded, decode};
use envelope::topic::RequestTopic;
use envelope::{Envelope, ErrorBody, ErrorCode, Timestamp};
use serde_json::Value;
use store::Received;

use super::{fresh, shortened};
use crate::audit;
use crate::service::without_values;

/// How long a request is valid that says nothing about it, while nobody takes it.
pub(super) const VALID: Duration = Duration::from_secs(60);
/// Levels of nesting that are decoded.
const MAX_DEPTH: usize = 127;

/// A request that is to be recorded.
pub(super) struct Parcel {
    pub(super) received: Received,
    /// The plugin or account that it is about.
    pub(super) target: Option<String>,
}

/// Why a request is not recorded, with as much as is known of it.
pub(super) struct Returned {
    pub(super) error: ErrorBody,
    pub(super) correlation_id: String,
    pub(super) target: Option<String>,
}

/// What the door needs to know of a request, or what the caller is told at once. `away` is set while the
/// request may have waited in the broker for as long as we were away; `held` is how long it waited here, because it could
/// not be recorded.
pub(super) fn receive(
    topic: &RequestTopic,
    delivery: &Delivery,
    away: Option<Duration>,
    held: Duration,
    now: Timestamp,
) -> Result<Parcel, Box<Returned>> {
    let decoded = decode(&delivery.payload).map_err(|e| {
        let error = bad_request(&e, &delivery.payload);
        Box::new(Returned { error, correlation_id: loose_correlation(delivery), target: None })
    })?;
    let (envelope, payload) = match &decoded {
        Decoded::Enveloped(envelope) => (Some(envelope), &envelope.payload),
        Decoded::Raw(payload) => (None, payload),
    };
    let request_id = envelope.map(|e| e.id.clone());
    let correlation_id = envelope
        .and_then(|e| e.correlation_id.clone())
        .or(request_id.clone())
        .unwrap_or_else(|| loose_correlation(delivery));
    let target = audit::target(payload).map(str::to_owned);
    let Some(expires_at) = valid_until(envelope.map(|e| &**e), delivery.expiry, away, held, now) else {
        return Err(Box::new(Returned { error: expired(), correlation_id, target }));
    };
    let reply_to = delivery.response_topic.as_ref().or(envelope.and_then(|e| e.reply_to.as_ref()));
    if let Some(aimed) = reply_to
        && !(topic.may_answer_on(aimed) && bus::is_topic(aimed))
    {
        return Err(Box::new(Returned { error: reply_refused(topic, aimed), correlation_id, target }));
    }
    let traceparent = delivery
        .user_properties
        .iter()
        .find(|(name, _)| name == telemetry::TRACEPARENT)
        .map(|(_, value)| value.clone())
        .or(envelope.and_then(|e| e.traceparent.clone()));
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(delivery.topic.as_bytes());
    hash.update(&[0]);
    hash.update(&delivery.payload);
    let content_hash = hash.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let received = Received {
        id: fresh(),
        principal: topic.caller.to_string(),
        correlation_id,
        request_id,
        content_hash,
        redelivery: delivery.dup,
        topic: delivery.topic.clone(),
        body: delivery.payload.to_vec(),
        response_topic: reply_to.cloned().unwrap_or_else(|| topic.response()),
        correlation_data: delivery.correlation_data.as_ref().map(|d| d.to_vec()),
        traceparent: traceparent.filter(|t| t.len() <= 64 && t.bytes().all(|b| b.is_ascii_graphic())),
        received_at: now,
        expires_at,
    };
    Ok(Parcel { received, target })
}

/// Until when a request may be begun; none when that is over. What it says itself counts first, then what is left of
/// its message's expiry, then [`VALID`]: from when it came, or from its own time where it may have waited before. Its
/// own time is its caller's clock, and one that is ahead makes it valid for no longer.
fn valid_until(
    envelope: Option<&Envelope<Value>>,
    expiry: Option<Duration>,
    away: Option<Duration>,
    held: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let left = match (envelope.and_then(|e| e.expires_at), expiry) {
        (Some(at), _) => return (at >= now).then_some(at),
        (None, Some(left)) => left.checked_sub(held),
        (None, None) => {
            let since_it_came = VALID.checked_sub(held).filter(|_| away.is_none());
            since_it_came.or_else(|| VALID.checked_sub(now.since(envelope?.timestamp)))
        }
    };
    left.map(|left| now.after(left))
}

/// For how long a request that was recorded by an earlier life may be begun.
pub(super) struct Validity {
    /// What it says itself.
    pub(super) until: Option<Timestamp>,
    /// When it was recorded.
    pub(super) came: Timestamp,
    /// What was found then; none where an earlier version recorded it.
    pub(super) expires: Option<Timestamp>,
}

impl Validity {
    /// Whether that is over. A request that says nothing itself, and came at a time that has not come yet, lay for
    /// nobody knows how long: the clock was put back.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        match self.until {
            Some(at) => at < now,
            None => now < self.came || self.expires.unwrap_or(self.came.after(VALID)) < now,
        }
    }
}

/// The correlation id that an answer to this request carries, however little of it can be read.
pub(super) fn correlation(delivery: &Delivery) -> String {
    match decode(&delivery.payload) {
        Ok(Decoded::Enveloped(envelope)) => envelope.correlation_id.unwrap_or(envelope.id),
        _ => loose_correlation(delivery),
    }
}

/// A correlation id for a request that names none in an envelope: the MQTT 5 correlation data where it is
/// short text, else a new one.
fn loose_correlation(delivery: &Delivery) -> String {
    delivery
        .correlation_data
        .as_ref()
        .filter(|d| !d.is_empty() && d.len() <= 128 && d.iter().all(u8::is_ascii_graphic))
        .and_then(|d| String::from_utf8(d.to_vec()).ok())
        .unwrap_or_else(fresh)
}

pub(super) fn bad_request(error: &DecodeError, bytes: &[u8]) -> ErrorBody {
    let reason = match error {
        DecodeError::NotJson(_) if is_too_deep(bytes) => format!(
            "it is nested deeper than {MAX_DEPTH} levels, which are the most that are taken; make it flatter"
        ),
        DecodeError::BadEnvelope(e) => {
            let reason = without_values(e);
            format!("it has a \"type\" and a \"payload\" and yet is no envelope: {reason}")
        }
        other => other.to_string(),
    };
    ErrorBody::new(ErrorCode::BadRequest, format!("The request cannot be read: {reason}."))
}

/// Whether JSON's arrays and objects lie deeper in each other than is decoded.
fn is_too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

pub(super) fn expired() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Expired,
        "The request had waited for longer than it was valid, and was not carried out. Send it again if it \
         is still wanted.",
    )
}

/// The same of one that was recorded, and whose outcome, if it had one, ended with the life that recorded it.
pub(super) fn lay() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Expired,
        "The coordinator ended before it had answered the request, which is not carried out now: it is valid no \
         longer. See whether anything came of it before, and send it again if it is still wanted.",
    )
}

pub(super) fn conflict() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Conflict,
        "Another request with this id and other content came before. Give each request an id of its own; only \
         a repeat of the same request may repeat it.",
    )
}

/// Never answered: a retained message is nobody's request now, and comes again with every subscription.
pub(super) fn retained() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::BadRequest,
        "The request was retained, and was ignored: it would be carried out again at each reconnect. Publish \
         requests without the retain flag.",
    )
}

fn reply_refused(topic: &RequestTopic, aimed: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::ReplyRefused,
        format!(
            "The answer cannot go to {:?}: a response topic must lie in your own response space, such as {}. \
             Leave it out to have the answer there.",
            shortened(aimed),
            topic.response()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_nested_too_deep_is_told_so_and_not_that_it_is_no_json() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(decode(nested(MAX_DEPTH).as_bytes()).is_ok());
        let text = nested(MAX_DEPTH + 1);
        let error = decode(text.as_bytes()).expect_err("too deep");
        assert!(bad_request(&error, text.as_bytes()).message.contains("127 levels"));
        let brackets = format!("{{\"a\":\"\\\"{}\"", "[".repeat(500));
        let error = decode(brackets.as_bytes()).expect_err("no JSON");
        assert!(bad_request(&error, brackets.as_bytes()).message.contains("not JSON"));
    }

    fn asked(payload: &str, expiry: Option<Duration>) -> (RequestTopic, Delivery) {
        let name = "bigskies/operator/ann/request/plugin/stop";
        let mut delivery = Delivery::new(name, payload.to_owned());
        delivery.expiry = expiry;
        (RequestTopic::parse(name).expect("a request's topic"), delivery)
    }

    #[test]
    fn a_request_grows_old_wherever_it_waits() {
        let now = Timestamp::now();
        let stamped = |age: Duration| {
            let at = Timestamp::from_millis(now.as_millis() - i64::try_from(age.as_millis()).expect("short"));
            format!(r#"{{"type":"request","payload":{{}},"id":"1","source":"s","timestamp":"{at}"}}"#)
        };
        let (none, short, long) = (Duration::ZERO, VALID / 2, VALID * 2);
        let bare = || "{}".to_owned();
        for (payload, expiry, away, held, taken) in [
            (bare(), None, None, none, true),
            (bare(), None, Some(long), none, false),
            (bare(), None, None, short, true),
            (bare(), None, None, long, false),
            (stamped(short), None, Some(long), none, true),
            (stamped(long), None, Some(long), none, false),
            (stamped(long), None, None, none, true),
            (stamped(long), None, None, long, false),
            (bare(), Some(long), Some(long), short, true),
            (bare(), Some(short), None, long, false),
        ] {
            let (topic, delivery) = asked(&payload, expiry);
            let parcel = receive(&topic, &delivery, away, held, now);
            let told = format!("{payload} {expiry:?} {away:?} {held:?}");
            match parcel {
                Ok(_) => assert!(taken, "{told}"),
                Err(returned) => assert!(!taken && returned.error.code == ErrorCode::Expired, "{told}"),
            }
        }
    }

    #[test]
    fn until_when_a_request_is_valid_is_found_when_it_comes() {
        let now = Timestamp::from_seconds(1_000_000);
        let at = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
        let stamped = |seconds: i64| format!(r#""id":"1","source":"s","timestamp":"{}""#, at(seconds));
        let envelope = |rest: String| format!(r#"{{"type":"request","payload":{{}},{rest}}}"#);
        let says = |seconds: i64| envelope(format!(r#"{},"expires_at":"{}""#, stamped(0), at(seconds)));
        let seconds = |s: u64| Duration::from_secs(s);
        let (bare, none) = ("{}".to_owned(), Duration::ZERO);
        for (payload, expiry, away, held, until) in [
            (bare.clone(), None, None, none, 60),
            (bare.clone(), None, None, seconds(20), 40),
            (bare.clone(), Some(seconds(7200)), None, seconds(20), 7180),
            (bare, Some(seconds(5)), Some(seconds(7200)), none, 5),
            (says(3600), Some(seconds(5)), Some(seconds(7200)), seconds(90), 3600),
            // Its caller's clock counts where it may have waited, and no further than ours.
            (envelope(stamped(-3600)), None, None, none, 60),
            (envelope(stamped(-20)), None, Some(seconds(90)), none, 40),
            (envelope(stamped(-20)), None, None, seconds(90), 40),
            (envelope(stamped(3600)), None, Some(seconds(90)), none, 60),
        ] {
            let (topic, delivery) = asked(&payload, expiry);
            let parcel = receive(&topic, &delivery, away, held, now).ok().expect("it is taken");
            assert_eq!(parcel.received.expires_at, at(until), "{payload} {expiry:?} {away:?} {held:?}");
        }
    }

    #[test]
    fn what_lies_recorded_grows_old_as_what_waits_does() {
        let at = Timestamp::from_seconds;
        let came = at(1000);
        for (until, expires, now, is_over) in [
            (None, Some(at(1060)), 1060, false),
            (None, Some(at(1060)), 1061, true),
            (None, Some(at(1000 + 7200)), 2000, false),
            // Of an earlier version.
            (None, None, 1060, false),
            (None, None, 1061, true),
            // The clock was put back.
            (None, Some(at(1060)), 999, true),
            (Some(at(1600)), Some(at(1600)), 999, false),
            (Some(at(1600)), Some(at(1600)), 1601, true),
        ] {
            let validity = Validity { until, came, expires };
            assert_eq!(validity.is_over(at(now)), is_over, "{until:?} {expires:?} {now}");
        }
    }

    #[test]
    fn an_answer_is_never_owed_that_cannot_be_sent() {
        let (topic, mut delivery) = asked("{}", None);
        let below = |levels: usize| format!("bigskies/operator/ann/response{}", "/a".repeat(levels));
        let receive = |delivery: &Delivery| receive(&topic, delivery, None, Duration::ZERO, Timestamp::now());
        delivery.response_topic = Some(below(10));
        assert!(receive(&delivery).is_ok());
        delivery.response_topic = Some(below(200));
        let returned = receive(&delivery).err().expect("too many levels");
        assert_eq!(returned.error.code, ErrorCode::ReplyRefused);

        delivery.response_topic = None;
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (given, kept) in [(context, true), ("00-\u{1b}[2J", false), (&"0".repeat(65), false)] {
            delivery.user_properties = vec![(telemetry::TRACEPARENT.to_owned(), given.to_owned())];
            let parcel = receive(&delivery).ok().expect("it is taken");
            assert_eq!(parcel.received.traceparent.is_some(), kept, "{given:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_envelope_is_told_without_what_it_says() {
        let text = br#"{"type":"request","payload":{},"id":"1","source":"s","timestamp":"2026-01-16T00:00:00Z","token":{"a":"hunter2"}}"#;
        let error = decode(text).expect_err("the token is no text");
        let told = bad_request(&error, text).message;
        assert!(told.contains("expected a string") && !told.contains("hunter2"), "{told}");
        let text = br#"{"type":"hunter2","payload":{}}"#;
        let error = decode(text).expect_err("no such type");
        let told = bad_request(&error, text).message;
        assert!(told.contains("expected one of") && !told.contains("hunter2"), "{told}");
    }
}
