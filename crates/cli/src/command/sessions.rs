//! `sessions`: who is connected to the broker.

use envelope::payload::watch::{SessionsRequest, SessionsResponse};
use envelope::{Operation, Timestamp};

use super::Context;
use crate::failure::Failure;
use crate::render::{Ink, Table, ago, clean, ink, shorten};

/// Columns for a client id, which may have 64 KiB.
const CLIENT: usize = 48;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let request = SessionsRequest::default();
    let data = context.ask(Operation::Sessions, &request, "asking the message coordinator").await?;
    context.show(data, |answer| render(answer, Timestamp::now(), context.screen.width()))
}

fn render(answer: &SessionsResponse, now: Timestamp, width: Option<usize>) -> String {
    // The coordinator leaves out what it did not see.
    let known = |text: Option<String>| text.unwrap_or_else(|| ink(Ink::Warn, "unknown"));
    let mut table = Table::new(&["CLIENT ID", "LOGIN", "ADDRESS", "SINCE"]);
    for session in &answer.sessions {
        table.row([
            shorten(&clean(&session.client_id), CLIENT),
            known(session.login.as_deref().map(clean)),
            known(session.address.as_deref().map(clean)),
            // Without ink: the last column of a table has none.
            session.since.map_or_else(|| "unknown".to_owned(), |since| ago(since, now)),
        ]);
    }
    let table =
        if answer.sessions.is_empty() { "No session is known.".to_owned() } else { table.render(width) };
    let gap = match answer.listening_since {
        Some(since) => format!(
            "seen since {} ({since}): who connected before and did nothing since is missing here",
            ago(since, now)
        ),
        None => "the broker's log is not heard at present: this may be old or incomplete".to_owned(),
    };
    let rest = match answer.left_out {
        0 => String::new(),
        more => format!("\n{}", ink(Ink::Warn, &format!("{more} more are left out"))),
    };
    format!("{table}{rest}\n\n{}", ink(Ink::Faint, &gap))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::render::finish;

    fn shown(answer: Value) -> String {
        let now = Timestamp::from_seconds(1_768_521_600);
        finish(&render(&serde_json::from_value(answer).expect("sessions"), now, None), false)
    }

    #[test]
    fn what_was_not_seen_is_unknown() {
        let since = "2026-01-15T22:00:00Z";
        let answer = json!({"listening_since": since, "left_out": 3, "sessions": [
            {"client_id": "focuser", "login": "plugin.focuser", "address": "172.18.0.5:40112", "since": since},
            {"client_id": "v (p2, u'other')\n"},
        ]});
        let expected = "\
CLIENT ID            LOGIN            ADDRESS            SINCE
focuser              plugin.focuser   172.18.0.5:40112   2 h ago
v (p2, u'other')\\n   unknown          unknown            unknown
3 more are left out

seen since 2 h ago (2026-01-15T22:00:00.000Z): who connected before and did nothing since is missing here";
        assert_eq!(shown(answer), expected);
        assert!(
            shown(json!({"sessions": []}))
                .starts_with("No session is known.\n\nthe broker's log is not heard")
        );
    }
}
