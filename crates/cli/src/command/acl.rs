//! `acl explain`: may a plugin do that, and by which rule? `acl proof`: is it so at the broker?

use envelope::payload::login::{Access, ExplainRequest, Explanation};
use envelope::payload::watch::{Leak, Proof, ProofRequest, Tried};
use envelope::{Operation, PluginId};
use serde_json::Value;

use super::Context;
use crate::failure::Failure;
use crate::render::{Fields, Ink, clean, indented, ink};

pub(super) async fn explain(
    plugin_id: PluginId,
    access: Access,
    topic: String,
    context: &Context,
) -> Result<(), Failure> {
    let request = ExplainRequest { plugin_id, access, topic };
    let data = context.ask(Operation::Explain, &request, "asking the message coordinator").await?;
    context.show(data, render)
}

fn render(explanation: &Explanation) -> String {
    let (verdict, colour) = if explanation.allowed { ("may", Ink::Good) } else { ("may not", Ink::Bad) };
    let what = match explanation.access {
        Access::Publish => "publish to",
        Access::Subscribe => "subscribe to",
    };
    let mut fields = Fields::default();
    fields
        .maybe("Rule", explanation.rule.as_deref().map(clean))
        .maybe("Role", explanation.role.as_deref().map(clean))
        .add("Reason", clean(&explanation.reason));
    format!(
        "{} {} {what} {}\n{}",
        explanation.plugin_id,
        ink(colour, verdict),
        clean(&explanation.topic),
        indented(&fields.render(), "  ")
    )
}

pub(super) async fn proof(context: &Context) -> Result<(), Failure> {
    let waiting = "trying the ACLs at the broker";
    let data = context.ask(Operation::Proof, &ProofRequest {}, waiting).await?;
    let verdict = verdict(&data);
    context.show(data, render_proof)?;
    verdict
}

/// A proof is one only when it says in so many words that nothing was found.
fn verdict(data: &Value) -> Result<(), Failure> {
    let nothing = |key: &str| data[key].as_array().is_some_and(Vec::is_empty);
    match (nothing("leaks"), nothing("blocked")) {
        (true, true) => Ok(()),
        (false, _) => Err(Failure::Unproven(
            "a plugin could reach what is not its own: the broker's ACLs are not as they must be".to_owned(),
        )),
        (true, false) => Err(Failure::Unproven(
            "what must be possible is not: the broker's ACLs are not as they must be".to_owned(),
        )),
    }
}

fn render_proof(proof: &Proof) -> String {
    let Proof { refused, allowed, leaks, blocked, .. } = proof;
    let mut text = match (leaks.len(), blocked.len()) {
        (0, 0) => format!("{}: every plugin keeps to what is its own", ink(Ink::Good, "no leak")),
        (leaks, 0) => ink(Ink::Bad, &count(leaks, "leak")),
        (0, blocked) => ink(Ink::Bad, &format!("{blocked} blocked")),
        (leaks, blocked) => ink(Ink::Bad, &format!("{}, {blocked} blocked", count(leaks, "leak"))),
    };
    text.push_str(&format!("\n  tried: {refused} refused and {allowed} allowed, as they must be"));
    for (entries, could) in [(leaks, "could"), (blocked, "could not")] {
        for Leak { login, tried, topic } in entries {
            let what = match tried {
                Tried::Publish => "publish to",
                Tried::Subscribe => "subscribe to",
                Tried::Receive => "be sent",
            };
            let line = format!("{} {could} {what} {}", clean(login), clean(topic));
            text.push_str(&format!("\n  {}", ink(Ink::Bad, &line)));
        }
    }
    text
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use envelope::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::render::finish;

    #[test]
    fn the_verdict_comes_first_and_then_the_rule() {
        let explanation = Explanation {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            access: Access::Publish,
            topic: "mount/control/slew".to_owned(),
            allowed: false,
            role: None,
            rule: None,
            reason: "no rule matches, and the default is to deny".to_owned(),
        };
        let expected = "\
focuser may not publish to mount/control/slew
  Reason   no rule matches, and the default is to deny";
        assert_eq!(finish(&render(&explanation), false), expected);
    }

    fn proof(leaks: Vec<Leak>, blocked: Vec<Leak>) -> Proof {
        Proof { at: Timestamp::from_seconds(0), refused: 118, allowed: 12, leaks, blocked }
    }

    fn leak(tried: Tried, topic: &str) -> Leak {
        Leak { login: "plugin.canary".to_owned(), tried, topic: topic.to_owned() }
    }

    #[test]
    fn a_proof_that_held_says_what_was_tried() {
        let expected = "\
no leak: every plugin keeps to what is its own
  tried: 118 refused and 12 allowed, as they must be";
        assert_eq!(finish(&render_proof(&proof(Vec::new(), Vec::new())), false), expected);
    }

    #[test]
    fn every_leak_is_told_with_who_could_do_what_where() {
        let leaks = vec![leak(Tried::Publish, "a/\u{1b}b"), leak(Tried::Receive, "c")];
        let blocked = vec![leak(Tried::Subscribe, "d/#")];
        let expected = "\
2 leaks, 1 blocked
  tried: 118 refused and 12 allowed, as they must be
  plugin.canary could publish to a/\\x1bb
  plugin.canary could be sent c
  plugin.canary could not subscribe to d/#";
        let text = render_proof(&proof(leaks, blocked));
        assert_eq!(finish(&text, false), expected);
        assert!(finish(&text, true).contains("\x1b[31mplugin.canary could publish to"), "{text:?}");
    }

    #[test]
    fn what_does_not_say_that_nothing_was_found_is_no_proof() {
        assert!(verdict(&json!({"leaks": [], "blocked": []})).is_ok());
        for data in [
            json!({"leaks": [{}], "blocked": []}),
            json!({"leaks": [], "blocked": [{}]}),
            json!({"leaks": []}),
            json!({"leaks": null, "blocked": null}),
            json!(null),
        ] {
            assert!(verdict(&data).is_err(), "{data}");
        }
    }
}
