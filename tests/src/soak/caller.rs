//! Who asks for operations, as careful callers do, and what the answers are held to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use envelope::{ErrorCode, Operation};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::book::Fault;
use super::choice::{Ask, Beside, may_be_refused};
use super::dice::Dice;
use super::field::{Field, Subject};
use super::model::{Model, Told};
use crate::stack::listener;
use crate::stack::requester::{Asked, Requester};

/// Longer than the longest deadline of an operation and an outage together.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often of a hundred somebody else asks about the same plugin at the same time.
const CROSSED: u64 = 20;

const ANSWERED: &str = "every request is answered";
const REFUSED: &str = "a refusal is one that something explains";
const FITS: &str = "an answer fits what was asked before";

/// Asks for one operation after the other until the field ends.
///
/// # Errors
/// The broker does not let it in.
pub(super) async fn work(field: Arc<Field>, mut dice: Dice) -> Result<()> {
    let mut pair = (connect(&field).await?, connect(&field).await?);
    while !field.ends() {
        let going = field.going.read().await;
        let subject = &field.subjects[dice.below(field.subjects.len() as u64) as usize];
        if let Ok(mut kept) = subject.model.try_lock()
            && let Some(model) = kept.take()
        {
            *kept = one(&field, subject, model, &mut dice, &mut pair).await;
        }
        drop(going);
        field.pause(dice.seconds(0, 3)).await;
    }
    Ok(())
}

/// Somebody who asks, and waits long enough.
///
/// # Errors
/// The broker does not let it in.
pub(super) async fn connect(field: &Field) -> Result<Requester> {
    let mut requester = Requester::connect(&field.stack).await?;
    requester.patience = PATIENCE;
    Ok(requester)
}

/// One request, sometimes with another in its way. What the plugin should be then; none when nobody can say.
async fn one(
    field: &Field,
    subject: &Subject,
    model: Model,
    dice: &mut Dice,
    (first, second): &mut (Requester, Requester),
) -> Option<Model> {
    let ask = Ask::choose(dice, &model);
    let beside = dice.percent(CROSSED).then(|| (Beside::choose(dice), dice.seconds(0, 2)));
    let since = Instant::now();
    let (told, other) = match beside {
        None => (request(field, first, subject, ask).await, None),
        Some((Beside::Other(other), after)) => {
            let cross = async {
                sleep(after).await;
                request(field, second, subject, other).await
            };
            let (told, crossed) = tokio::join!(request(field, first, subject, ask), cross);
            (told, Some((other, crossed?)))
        }
        Some((Beside::Cancel, after)) => {
            let cross = async {
                sleep(after).await;
                cancel(field, second, subject).await;
            };
            (tokio::join!(request(field, first, subject, ask), cross).0, None)
        }
    };
    let mut asked = vec![(ask, told?)];
    asked.extend(other);
    judge(field, subject, &model, &asked, beside.is_some(), since)
}

/// Whether these answers may be, and what comes of them.
pub(super) fn judge(
    field: &Field,
    subject: &Subject,
    model: &Model,
    asked: &[(Ask, Told)],
    crossed: bool,
    since: Instant,
) -> Option<Model> {
    let (book, id) = (&field.book, &subject.id);
    let outage = book.was_in_trouble(id, since);
    for (ask, told) in asked {
        if let Told::Refused(code) = told {
            book.check(REFUSED, may_be_refused(*code, crossed, outage), || {
                let trouble = if outage { "with something away" } else { "with nothing away" };
                (format!("no {code} for {ask} of {id} {trouble}"), format!("{code} while it {model}"))
            });
        }
    }
    let after = model.after(asked);
    let shown = || asked.iter().map(|(ask, told)| format!("{ask}: {told}")).collect::<Vec<_>>().join(", ");
    book.check(FITS, !after.0.is_empty(), || (format!("what fits {id}: {model}"), shown()));
    (!after.0.is_empty()).then_some(after)
}

/// Asks, and notes how that was answered; none when it was not.
pub(super) async fn request(
    field: &Field,
    requester: &mut Requester,
    subject: &Subject,
    ask: Ask,
) -> Option<Told> {
    let begin = Instant::now();
    let payload = ask.payload(&subject.id, &subject.images);
    let answer = answer(field, requester, ask.operation(), payload, true).await?;
    let Some(told) = Told::read(&answer) else {
        field.book.violated(Fault::new(ANSWERED, "an answer as documented", &answer));
        return None;
    };
    if let Told::Refused(ErrorCode::Internal) = told {
        eprintln!("{ask} of {}: {answer}", subject.id);
    }
    let operation = ask.operation().as_str();
    let mut pages = field.book.pages();
    *pages.answers.entry((operation, told.to_string())).or_default() += 1;
    if let Told::Done { .. } = told {
        pages.latencies.entry(operation).or_default().push(begin.elapsed());
    }
    Some(told)
}

/// Ends whatever runs on the plugin.
async fn cancel(field: &Field, requester: &mut Requester, subject: &Subject) {
    let since = Instant::now();
    let about = json!({"plugin_id": subject.id, "limit": 0});
    let Some(told) = answer(field, requester, Operation::Operations, about, false).await else { return };
    let Some(operation) = told["data"]["operations"][0]["id"].as_str() else { return };
    let payload = json!({"operation_id": operation});
    let Some(told) = answer(field, requester, Operation::Cancel, payload, true).await else { return };
    let Some(told) = Told::read(&told) else {
        return field.book.violated(Fault::new(ANSWERED, "an answer as documented", &told));
    };
    let legitimate = match told {
        Told::Done { .. } => true,
        // It had ended meanwhile.
        Told::Refused(code) => may_be_refused(code, true, field.book.was_in_trouble(&subject.id, since)),
    };
    field
        .book
        .check(REFUSED, legitimate, || ("a cancel that is done or too late".to_owned(), told.to_string()));
    *field.book.pages().answers.entry(("cancel", told.to_string())).or_default() += 1;
}

/// The answer to a request, which is repeated until it comes.
async fn answer(
    field: &Field,
    requester: &mut Requester,
    operation: Operation,
    payload: Value,
    keep: bool,
) -> Option<Value> {
    requester.forget();
    let asked = Asked::new(operation, payload.clone());
    let told = async {
        requester.send(&asked).await?;
        requester.answers(&asked, 1).await
    };
    match told.await {
        Ok(answers) => {
            field.book.held(ANSWERED);
            if keep {
                field.keep(asked);
            }
            answers.first().map(|answer| listener::json(answer)["payload"].clone())
        }
        Err(error) => {
            let seen = format!("{operation} {payload}: {error:#}");
            field.book.violated(Fault::new(ANSWERED, format!("an answer within {PATIENCE:?}"), seen));
            None
        }
    }
}
