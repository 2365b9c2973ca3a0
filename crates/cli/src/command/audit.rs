//! `audit`: who asked for what, and what came of it, from the records of all coordinators.

use envelope::payload::audit::{AuditRecord, AuditRequest, AuditResult};
use envelope::{Coordinator, Operation, Timestamp};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Context;
use crate::args::Audit;
use crate::failure::Failure;
use crate::render::{Ink, Table, clean, ink, shorten};
use crate::request::{self, Request};

/// Columns for what a caller wrote into a topic or a request.
const FREE: usize = 40;

pub(super) async fn run(args: Audit, context: &Context) -> Result<(), Failure> {
    let limit = args.limit;
    let request = AuditRequest {
        principal: args.principal,
        operation: args.operation,
        target: args.plugin.map(|id| id.to_string()),
        correlation_id: args.correlation,
        since: args.since,
        before: None,
        limit: Some(limit),
    };
    let (context, request, chosen) = (&context.calm(), &request, args.coordinator);
    let answer = |coordinator: Coordinator| async move {
        if chosen.is_some_and(|chosen| chosen != coordinator) {
            return None;
        }
        Some((coordinator, ask(coordinator, request, context).await))
    };
    let [plugin, message, security] = Coordinator::ALL;
    let answers = tokio::join!(answer(plugin), answer(message), answer(security));
    let mut records = Records::new(limit);
    for (coordinator, answer) in [answers.0, answers.1, answers.2].into_iter().flatten() {
        records.take(coordinator, answer);
    }
    records.show(context)
}

/// Asks on a connection of its own, so that nobody waits for one who does not answer.
async fn ask(coordinator: Coordinator, request: &AuditRequest, context: &Context) -> Result<Value, Failure> {
    let timeout = context.timeout(Operation::Audit);
    let mut session = context.open().await?;
    let request = Request::to(coordinator, &session.login.operator, Operation::Audit, request, timeout)?;
    let answer = request::ask(&mut session, &context.screen, &request, timeout, "").await;
    session.close().await;
    answer
}

/// The records of all that answered.
#[derive(Debug)]
struct Records {
    limit: usize,
    /// As they came, each with its coordinator.
    records: Vec<Value>,
    /// Whether there are older ones that match.
    more: bool,
    answered: bool,
    missing: Vec<(Coordinator, Failure)>,
}

impl Records {
    fn new(limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, records: Vec::new(), more: false, answered: false, missing: Vec::new() }
    }

    fn take(&mut self, coordinator: Coordinator, answer: Result<Value, Failure>) {
        match answer {
            Ok(mut answer) => {
                self.answered = true;
                self.more |= answer["more"] == true;
                let records = answer["records"].as_array_mut().map(std::mem::take).unwrap_or_default();
                for mut record in records {
                    if let Some(fields) = record.as_object_mut() {
                        fields.insert("coordinator".to_owned(), coordinator.as_str().into());
                    }
                    self.records.push(record);
                }
            }
            Err(failure) => self.missing.push((coordinator, failure)),
        }
    }

    /// Newest first, no more than were asked for.
    fn merge(&mut self) {
        let at = |record: &Value| record["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        // Stable: what one coordinator put into its order keeps it.
        self.records.sort_by_key(|record| std::cmp::Reverse(at(record)));
        if self.records.len() > self.limit {
            self.records.truncate(self.limit);
            self.more = true;
        }
    }

    fn show(mut self, context: &Context) -> Result<(), Failure> {
        self.merge();
        if self.answered {
            if context.screen.json {
                context.screen.data(&self.to_json())?;
            } else {
                context.screen.say(&self.render(&TimeZone::system(), context.screen.width()))?;
            }
        }
        // The last one is told, and decides the exit code, as the failure that it is.
        let last = self.missing.pop();
        for (coordinator, failure) in &self.missing {
            context.screen.warn(&format!(
                "the records of the {coordinator} coordinator are missing: {}",
                clean(&failure.to_string())
            ));
        }
        last.map_or(Ok(()), |(_, failure)| Err(failure))
    }

    fn to_json(&self) -> Value {
        let missing: Vec<Value> = self
            .missing
            .iter()
            .map(|(coordinator, failure)| {
                let mut told = failure.to_json();
                json!({ "coordinator": coordinator, "error": told["error"].take() })
            })
            .collect();
        json!({ "records": self.records, "more": self.more, "missing": missing })
    }

    fn render(&self, zone: &TimeZone, width: Option<usize>) -> String {
        if self.records.is_empty() {
            return "No record fits.".to_owned();
        }
        let mut table = Table::new(&["TIME", "COORDINATOR", "WHO", "OPERATION", "ON", "RESULT", "WHY"]);
        for record in &self.records {
            let coordinator = record["coordinator"].as_str().unwrap_or_default();
            match serde_json::from_value::<AuditRecord>(record.clone()) {
                Ok(record) => table.row(row(&record, coordinator, zone)),
                // Of a later version: shown rather than left out.
                Err(_) => table.row(
                    ["?".to_owned(), coordinator.to_owned()]
                        .into_iter()
                        .chain(std::iter::repeat_n(String::new(), 4).chain([clean(&record.to_string())])),
                ),
            }
        }
        let mut text = table.render(width);
        if self.more {
            let older = "there are older ones: --limit shows more, --since and the others choose";
            text.push_str(&format!("\n\n{}", ink(Ink::Faint, older)));
        }
        text
    }
}

fn row(record: &AuditRecord, coordinator: &str, zone: &TimeZone) -> [String; 7] {
    let time = jiff::Timestamp::from_millisecond(record.at.as_millis())
        .map(|time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default();
    let (word, colour) = match record.result {
        AuditResult::Accepted => ("accepted", Ink::Warn),
        AuditResult::Done => ("done", Ink::Good),
        AuditResult::Failed => ("failed", Ink::Bad),
        AuditResult::Refused => ("refused", Ink::Bad),
    };
    let times = if record.times > 1 { format!(" x{}", record.times) } else { String::new() };
    let why = match (record.code, &record.message) {
        (Some(code), Some(message)) => format!("{code}: {}", clean(message)),
        (Some(code), None) => code.to_string(),
        (None, message) => message.as_deref().map(clean).unwrap_or_default(),
    };
    [
        time,
        coordinator.to_owned(),
        clean(&record.principal),
        shorten(&clean(&record.operation), FREE),
        record.target.as_deref().map(|target| shorten(&clean(target), FREE)).unwrap_or_default(),
        format!("{}{times}", ink(colour, word)),
        why,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::finish;

    fn record(at: &str, changes: Value) -> Value {
        let mut record = json!({"id": 1, "at": at, "principal": "operator:ann", "operation": "start",
            "target": "focuser", "result": "done", "correlation_id": "c", "times": 1});
        if let (Some(record), Value::Object(changes)) = (record.as_object_mut(), changes) {
            record.extend(changes);
        }
        record
    }

    fn merged(limit: u32) -> Records {
        let mut records = Records::new(limit);
        let refused = json!({"principal": "plugin:mount", "operation": "install\u{7}", "target": "x", "result": "refused",
            "code": "forbidden", "message": "mount lacks plugin:configure.", "times": 12});
        records.take(
            Coordinator::Plugin,
            Ok(json!({"coordinator": "plugin", "more": false, "records": [
                record("2026-01-16T21:05:09Z", json!({})), record("2026-01-16T21:00:00Z", refused)]})),
        );
        let explained = json!({"operation": "explain", "result": "accepted"});
        records
            .take(Coordinator::Message, Ok(json!({"records": [record("2026-01-16T21:03:00Z", explained)]})));
        records.merge();
        records
    }

    #[test]
    fn records_of_all_are_merged_by_time_newest_first() {
        let expected = "\
TIME                  COORDINATOR   WHO            OPERATION     ON        RESULT        WHY
2026-01-16 21:05:09   plugin        operator:ann   start         focuser   done
2026-01-16 21:03:00   message       operator:ann   explain       focuser   accepted
2026-01-16 21:00:00   plugin        plugin:mount   install\\x07   x         refused x12   forbidden: mount lacks plugin:configure.";
        assert_eq!(finish(&merged(10).render(&TimeZone::UTC, None), false), expected);
    }

    #[test]
    fn more_than_was_asked_for_is_left_out_and_told() {
        let records = merged(2);
        let data = records.to_json();
        assert_eq!(data["records"].as_array().map(Vec::len), Some(2));
        assert_eq!((&data["records"][0]["coordinator"], &data["more"]), (&json!("plugin"), &json!(true)));
        assert!(records.render(&TimeZone::UTC, None).contains("older ones"));
    }

    #[test]
    fn a_coordinator_that_does_not_answer_is_named_beside_the_records_of_the_others() {
        let mut records = merged(10);
        let (coordinator, operation) = (Coordinator::Security, Operation::Audit);
        records.take(coordinator, Err(Failure::NobodyListens { coordinator, operation }));
        let missing = &records.to_json()["missing"][0];
        assert_eq!(missing["coordinator"], "security");
        assert_eq!(missing["error"]["code"], "nobody_listens");
    }

    #[test]
    fn a_record_of_a_later_version_is_shown_as_it_came() {
        let mut records = Records::new(10);
        let answer = json!({"records": [record("2026-01-16T21:05:09Z", json!({"result": "dreamt"})), 7]});
        records.take(Coordinator::Plugin, Ok(answer));
        let text = records.render(&TimeZone::UTC, None);
        assert!(text.contains("\"result\":\"dreamt\"") && text.contains("   7"), "{text}");
    }
}
