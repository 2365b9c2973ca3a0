//! What a plugin asks for beyond its own namespace, shown so that it can be judged in one glance, and the
//! decision about it.

use envelope::{Coordinator, ErrorCode, Operation};
use serde_json::Value;

use crate::failure::{Failure, Refusal};
use crate::prompt::{Ask, agrees};
use crate::render::{Fields, Ink, Table, clean, clean_lines, indented, ink};

/// The most that a rating can be: a plugin that needs no trust.
const BEST: u64 = 6;

/// Whether `refusal` is about something that waits for approval.
pub(crate) fn is_needed(refusal: &Refusal) -> bool {
    [ErrorCode::ApprovalRequired, ErrorCode::ApprovalChanged].iter().any(|c| refusal.code == c.as_str())
}

/// A refusal as a coordinator would make it of what waits for approval.
pub(crate) fn pending(message: String, details: Value) -> Refusal {
    Refusal {
        operation: Operation::Approve,
        coordinator: Coordinator::Plugin,
        code: ErrorCode::ApprovalRequired.as_str().to_owned(),
        message,
        details,
        correlation_id: String::new(),
        again: None,
    }
}

/// The digest by which all of it is approved.
pub(crate) fn digest(details: &Value) -> Option<&str> {
    details["approve"].as_str().or_else(|| details["digest"].as_str())
}

/// Shows what is asked for, and asks. The digest of what was approved.
///
/// `asked` is who can be asked, if anybody; `command` makes the command line that approves a digest.
///
/// # Errors
/// When nobody can be asked, or the answer is no.
pub(crate) async fn decide(
    mut refusal: Box<Refusal>,
    asked: Option<&mut impl Ask>,
    question: &str,
    command: impl FnOnce(&str) -> String,
) -> Result<String, Failure> {
    let Some(digest) = digest(&refusal.details).map(str::to_owned) else {
        return Err(Failure::Refused(refusal));
    };
    let Some(asked) = asked else {
        refusal.again = Some(command(&digest));
        return Err(Failure::Refused(refusal));
    };
    asked.tell(&clean(&refusal.message));
    asked.tell(&indented(&list(&refusal.details), "  "));
    if agrees(asked, question).await? { Ok(digest) } else { Err(Failure::NotApproved) }
}

/// The list with risks, rating and digest, or nothing. It is never cut short: whoever approves the digest
/// approves all of it.
pub(crate) fn list(details: &Value) -> String {
    let mut grants: Vec<&Value> =
        details["grants"].as_array().map(|g| g.iter().collect()).unwrap_or_default();
    if grants.is_empty() {
        return String::new();
    }
    grants.sort_by_key(|grant| rank(grant));
    let mut table = Table::new(&["RISK", "WHAT IT ASKS FOR"]);
    for grant in grants {
        table.row([risk(grant["risk"].as_str()), sentence(grant)]);
    }
    let mut fields = Fields::default();
    fields.maybe("Rating", rating_with_reasons(&details["rating"]));
    fields.maybe("Digest", digest(details).map(clean));
    format!("{}\n{}", table.render(None), fields.render()).trim_end().to_owned()
}

/// What can do most harm comes first, and what this program does not know before everything else.
fn rank(grant: &Value) -> u8 {
    match grant["risk"].as_str() {
        Some("low") => 3,
        Some("medium") => 2,
        Some("high") => 1,
        _ => 0,
    }
}

/// A risk in its colour.
pub(crate) fn risk(risk: Option<&str>) -> String {
    let colour = match risk {
        Some("low") => Ink::Faint,
        Some("medium") => Ink::Warn,
        _ => Ink::Bad,
    };
    risk.map_or_else(String::new, |risk| ink(colour, &clean(risk)))
}

/// What a grant means, or else the grant as it came.
fn sentence(grant: &Value) -> String {
    let told = ["sentence", "message", "reason"].iter().find_map(|key| grant[*key].as_str());
    told.or(grant.as_str()).map_or_else(|| clean(&grant.to_string()), clean)
}

/// A rating, with the reasons for it below each other.
fn rating_with_reasons(rating: &Value) -> Option<String> {
    let mut text = rating_in_words(rating["score"].as_u64()?);
    for reason in rating["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("\n{}", clean_lines(reason)));
    }
    Some(text)
}

/// `3 of 6`, and what that means at both ends.
pub(crate) fn rating_in_words(score: u64) -> String {
    let meaning = match score {
        BEST => ": it needs no trust",
        1 => ": it needs as much trust as the operator of the host",
        _ => "",
    };
    format!("{}{meaning}", ink(colour(score), &format!("{score} of {BEST}")))
}

/// `3/6`, or nothing when it is not known.
pub(crate) fn rating_in_short(score: u8) -> String {
    match u64::from(score) {
        score @ 1..=BEST => ink(colour(score), &format!("{score}/{BEST}")),
        _ => String::new(),
    }
}

fn colour(score: u64) -> Ink {
    match score {
        5..=BEST => Ink::Good,
        3..=4 => Ink::Warn,
        _ => Ink::Bad,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Exit;
    use crate::prompt::tests::Script;
    use crate::render::finish;

    fn refusal() -> Box<Refusal> {
        let details = json!({
            "grants": [
                {"key": "port:0.0.0.0:8080/tcp", "risk": "medium", "sentence": "be reached from other machines on 8080/tcp"},
                {"key": "root", "risk": "high", "sentence": "run as root\u{1b}[2J"},
            ],
            "approve": "sha256:ab",
            "rating": {"score": 2, "reasons": ["It runs as root."]},
        });
        Box::new(pending("focuser asks for more than its own namespace.".to_owned(), details))
    }

    #[tokio::test]
    async fn what_is_asked_for_is_shown_worst_first_before_anybody_is_asked() {
        let mut script = Script::new(&["y"]);
        let approved = decide(refusal(), Some(&mut script), "Approve?", |_| String::new()).await;
        assert_eq!(approved.expect("approved"), "sha256:ab");
        let expected = "\
focuser asks for more than its own namespace.
  RISK     WHAT IT ASKS FOR
  high     run as root\\x1b[2J
  medium   be reached from other machines on 8080/tcp
  Rating   2 of 6
           It runs as root.
  Digest   sha256:ab
Approve? [y/N] ";
        assert_eq!(finish(&script.heard.join("\n"), false), expected);
    }

    #[tokio::test]
    async fn no_answer_is_no_approval() {
        for answers in [&[][..], &["n"], &["sha256:ab"]] {
            let mut script = Script::new(answers);
            let failure = decide(refusal(), Some(&mut script), "Approve?", |_| String::new()).await;
            assert_eq!(failure.expect_err("not approved").exit(), Exit::Approval);
        }
    }

    #[tokio::test]
    async fn where_nobody_can_be_asked_the_command_that_approves_is_told() {
        let command = |digest: &str| format!("bigskies plugin approve focuser {digest}");
        let failure = decide(refusal(), None::<&mut Script>, "Approve?", command).await.expect_err("nobody");
        assert_eq!(failure.exit(), Exit::Approval);
        let text = finish(&failure.to_text(), false);
        assert!(text.contains("`bigskies plugin approve focuser sha256:ab`"), "{text}");
    }

    #[tokio::test]
    async fn without_a_digest_there_is_nothing_to_approve() {
        let mut refusal = refusal();
        refusal.details["approve"] = json!(7);
        let mut script = Script::new(&["y"]);
        let failure = decide(refusal, Some(&mut script), "Approve?", |_| String::new()).await;
        assert!(matches!(failure, Err(Failure::Refused(_))));
        assert!(script.heard.is_empty(), "{:?}", script.heard);
    }

    #[test]
    fn what_this_program_does_not_know_stands_first_and_is_shown_as_it_came() {
        let details = json!({"grants": [
            {"risk": "high", "sentence": "s"}, {"risk": "extreme", "kind": "laser"}, "a text",
        ]});
        let expected = "\
RISK      WHAT IT ASKS FOR
extreme   {\"kind\":\"laser\",\"risk\":\"extreme\"}
          a text
high      s";
        assert_eq!(finish(&list(&details), false), expected);
        assert_eq!(list(&json!({"grants": 7})), "");
    }

    #[test]
    fn a_rating_is_told_in_six() {
        let words = |score| finish(&rating_in_words(score), false);
        assert_eq!(words(6), "6 of 6: it needs no trust");
        assert_eq!(words(4), "4 of 6");
        assert_eq!(finish(&rating_in_short(3), false), "3/6");
        assert_eq!((rating_in_short(0), rating_in_short(7)), (String::new(), String::new()));
    }
}
