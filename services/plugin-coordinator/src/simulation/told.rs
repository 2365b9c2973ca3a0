//! What requests are answered with: one outcome, which stays, and which is as it says.

use std::sync::Arc;

use envelope::{Answer, ErrorCode, Operation};
use serde_json::Value;

use super::engine_keeps::{self, Keeps};
use super::world::{Accepted, State, World};
use crate::record::Record;
use crate::registrations::fake::Tables;

/// One outcome for each request, which stays; an operation that has ended has one.
///
/// # Errors
/// What is not so.
pub(super) fn answers(world: &World, tables: &Tables, state: &mut State) -> Result<(), String> {
    for (request, before) in &state.seen.answers {
        match tables.answers.get(request) {
            None => return Err(format!("the answer of request {request} is gone")),
            Some(now) if Arc::ptr_eq(now, before) || now == before => {}
            Some(now) => return Err(format!("request {request} was answered {before:?} and then {now:?}")),
        }
    }
    if state.seen.answers.len() != tables.answers.len() {
        for (request, answer) in &tables.answers {
            if state.seen.answers.insert(request.clone(), answer.clone()).is_none() {
                new(world, tables, state, request, answer)?;
            }
        }
    }
    for operation in &tables.operations {
        let request = &operation.operation.request_id;
        let answer = tables.answers.get(request);
        match (&operation.outcome, answer) {
            (None, None) => {}
            // Whoever asked was told that the database failed, which had recorded it nevertheless.
            (_, Some(answer)) if is_internal(answer) => {}
            (None, Some(answer)) => {
                return Err(format!("request {request} is answered {answer:?}, and its operation runs"));
            }
            (Some(_), None) => {
                return Err(format!("the operation of request {request} ended without an answer"));
            }
            (Some(outcome), Some(answer)) if *outcome == answer.as_ref().into() => {}
            (Some(outcome), Some(answer)) => {
                return Err(format!("request {request} ended with {outcome:?} and was answered {answer:?}"));
            }
        }
    }
    Ok(())
}

/// Whether somebody is told of a fault of the coordinator's own, or of its store.
pub(super) fn is_internal(answer: &Answer) -> bool {
    matches!(answer, Answer::Failure(body) if body.code == ErrorCode::Internal)
}

fn new(world: &World, tables: &Tables, state: &State, request: &str, answer: &Answer) -> Result<(), String> {
    if is_internal(answer) && !state.excused.contains(request) {
        return Err(format!("request {request} is answered {answer:?}, and the store did not fail it"));
    }
    let Some(asked) = state.accepted.iter().find(|accepted| accepted.id == request) else { return Ok(()) };
    let Answer::Success(said) = answer else { return Ok(()) };
    let record = tables.plugins.get(&asked.plugin).map(Arc::as_ref);
    holds(world, &state.seen.keeps, asked, said, record).map_err(|what| {
        format!("request {request} ({} {}) succeeded, and {what}", asked.operation, asked.plugin)
    })
}

/// Whether a success says what is: whoever is told can rely on it.
fn holds(
    world: &World,
    keeps: &Keeps,
    asked: &Accepted,
    said: &Value,
    record: Option<&Record>,
) -> Result<(), String> {
    match (asked.operation, record) {
        (Operation::RevokeGrant | Operation::Approve | Operation::Config, Some(record))
            if record.is_outdated() =>
        {
            Err("what is different from now on is not in what runs".into())
        }
        (Operation::Config, Some(record)) => is_configured(asked, record),
        (Operation::Install | Operation::Update | Operation::Rollback, Some(record)) => {
            is_of_the_digest(said, record)?;
            let brings = said["changed"] == true && !asked.payload["config"].is_null();
            if brings { is_configured(asked, record) } else { Ok(()) }
        }
        (Operation::Remove, None) => engine_keeps::as_said(world, keeps, &asked.plugin, &asked.payload, said),
        (Operation::Remove, Some(_)) => Err("it is installed".into()),
        _ => Ok(()),
    }
}

fn is_configured(asked: &Accepted, record: &Record) -> Result<(), String> {
    let wanted = Some(&asked.payload["config"]).filter(|config| !config.is_null());
    match record.release.config.as_ref() {
        found if found == wanted => Ok(()),
        found => Err(format!("its configuration is {found:?}, and not {wanted:?}")),
    }
}

fn is_of_the_digest(said: &Value, record: &Record) -> Result<(), String> {
    if said["digest"] == record.release.digest {
        return Ok(());
    }
    Err(format!("it is of the image {}, and not {}", record.release.digest, said["digest"]))
}
