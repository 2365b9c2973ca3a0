//! `plugin grants`, `approve`, `revoke-grant`: what a plugin may do beyond its own topics.

use envelope::payload::grant::{ApproveRequest, GrantState, GrantStatus, Grants, RevokeGrantRequest};
use envelope::payload::lifecycle::PluginRequest;
use envelope::{Operation, PluginId, Timestamp};
use serde_json::Value;

use super::Context;
use crate::approval;
use crate::args::{Approve, RevokeGrant};
use crate::failure::Failure;
use crate::prompt::Terminal;
use crate::render::{Ink, Table, ago, clean, indented, ink};

const WAITING: &str = "asking the plugin coordinator";
const QUESTION: &str = "Approve all of it?";

pub(super) async fn show(plugin_id: PluginId, context: &Context) -> Result<(), Failure> {
    let data = context.ask(Operation::Grants, &PluginRequest { plugin_id }, WAITING).await?;
    context.show(data, |grants| render(grants, Timestamp::now()))
}

pub(super) async fn approve(args: Approve, context: &Context) -> Result<(), Failure> {
    let Approve { id, digest } = args;
    let mut digest = match digest {
        Some(digest) => digest,
        None => match pending(&id, context).await? {
            Some(digest) => digest,
            None => return Ok(()),
        },
    };
    loop {
        let request = ApproveRequest { plugin_id: id.clone(), approve: digest };
        match context.ask(Operation::Approve, &request, &format!("approve {id}")).await {
            Ok(data) => return context.show(data, |grants| render(grants, Timestamp::now())),
            // It asks for something else by now: that can be judged too.
            Err(Failure::Refused(refusal)) if approval::is_needed(&refusal) => {
                let mut asked = Terminal::new(&context.screen);
                let command = |digest: &str| command(&id, digest);
                digest = approval::decide(refusal, asked.as_mut(), QUESTION, command).await?;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Shows what waits for approval, and asks. The digest of what was approved; none when nothing waits.
async fn pending(id: &PluginId, context: &Context) -> Result<Option<String>, Failure> {
    let request = PluginRequest { plugin_id: id.clone() };
    let mut data = context.ask(Operation::Grants, &request, WAITING).await?;
    let details = data["pending"].take();
    if details.is_null() {
        return context.show(data, |_: &Value| format!("Nothing of {id} waits for approval.")).map(|()| None);
    }
    let message = format!("{id} asks for more than its own namespace, and that waits for approval.");
    let refusal = Box::new(approval::pending(message, details));
    let mut asked = Terminal::new(&context.screen);
    approval::decide(refusal, asked.as_mut(), QUESTION, |digest| command(id, digest)).await.map(Some)
}

fn command(id: &PluginId, digest: &str) -> String {
    format!("bigskies plugin approve {id} {}", super::shell_word(digest))
}

pub(super) async fn revoke(args: RevokeGrant, context: &Context) -> Result<(), Failure> {
    let RevokeGrant { id, grant } = args;
    let waiting = format!("take {} back from {id}", clean(&grant));
    let request = RevokeGrantRequest { plugin_id: id, grant };
    let data = context.ask(Operation::RevokeGrant, &request, &waiting).await?;
    context.show(data, |grants| render(grants, Timestamp::now()))
}

fn render(grants: &Grants, now: Timestamp) -> String {
    let id = &grants.plugin_id;
    let mut text = format!("{id}  rating {}", approval::rating_in_words(u64::from(grants.rating.score)));
    for reason in &grants.rating.reasons {
        text.push_str(&format!("\n  {}", clean(reason)));
    }
    if grants.grants.is_empty() {
        text.push_str("\n\nIt may do nothing beyond its own topics.");
    } else {
        // Never cut short: what a grant means is the point of it.
        text.push_str(&format!("\n\n{}", table(&grants.grants, now).render(None)));
    }
    if let Some(pending) = &grants.pending {
        // It was decoded from JSON.
        let details = serde_json::to_value(pending).unwrap_or_default();
        text.push_str(&format!(
            "\n\n{}\n{}\n  to approve it: bigskies plugin approve {id}",
            ink(Ink::Warn, "Waiting for approval:"),
            indented(&approval::list(&details), "  ")
        ));
    }
    text
}

/// The grants, each with its key for `revoke-grant`.
pub(super) fn table(grants: &[GrantStatus], now: Timestamp) -> Table {
    let mut table = Table::new(&["RISK", "STATE", "WHO", "WHEN", "GRANT", "WHAT IT MEANS"]);
    for GrantStatus { entry, state } in grants {
        let (word, by, at) = match state {
            GrantState::Approved { by, at } => (ink(Ink::Good, "approved"), by, at),
            GrantState::Revoked { by, at } => (ink(Ink::Bad, "revoked"), by, at),
        };
        table.row([
            approval::risk(Some(entry.risk.as_str())),
            word,
            clean(by),
            ago(*at, now),
            clean(&entry.key),
            clean(&entry.sentence),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::finish;

    fn grants(pending: Value) -> Grants {
        serde_json::from_value(json!({
            "plugin_id": "focuser",
            "grants": [
                {"key": "publish:bigskies/plugin/mount/control/slew", "sentence": "tell mount to slew", "risk": "high",
                    "grant": {}, "state": "approved", "by": "operator:ann\u{7}", "at": "2026-01-16T00:00:00Z"},
                {"key": "device:/dev/ttyUSB0", "sentence": "use the device /dev/ttyUSB0", "risk": "medium",
                    "grant": {}, "state": "revoked", "by": "operator:bob", "at": "2026-01-16T01:00:00Z"},
            ],
            "rating": {"score": 3, "reasons": ["It moves the hardware of another plugin."]},
            "pending": pending,
        }))
        .expect("grants")
    }

    #[test]
    fn grants_are_listed_with_who_approved_them_and_what_waits() {
        let pending = json!({"approve": "sha256:ab", "rating": {"score": 2, "reasons": []}, "grants": [
            {"key": "device:/dev/ttyUSB0", "sentence": "use the device /dev/ttyUSB0", "risk": "medium", "grant": {}}]});
        let expected = "\
focuser  rating 3 of 6
  It moves the hardware of another plugin.

RISK     STATE      WHO                WHEN      GRANT                                        WHAT IT MEANS
high     approved   operator:ann\\x07   3 h ago   publish:bigskies/plugin/mount/control/slew   tell mount to slew
medium   revoked    operator:bob       2 h ago   device:/dev/ttyUSB0                          use the device /dev/ttyUSB0

Waiting for approval:
  RISK     WHAT IT ASKS FOR
  medium   use the device /dev/ttyUSB0
  Rating   2 of 6
  Digest   sha256:ab
  to approve it: bigskies plugin approve focuser";
        let now = "2026-01-16T03:00:00Z".parse().expect("a time");
        let text = finish(&render(&grants(pending), now), false);
        assert_eq!(text, expected);
    }

    #[test]
    fn a_plugin_without_grants_says_so() {
        let mut grants = grants(Value::Null);
        grants.grants.clear();
        grants.rating.score = 6;
        grants.rating.reasons.clear();
        let text = finish(&render(&grants, Timestamp::now()), false);
        assert_eq!(
            text,
            "focuser  rating 6 of 6: it needs no trust\n\nIt may do nothing beyond its own topics."
        );
    }
}
