//! `operations`: tells those that run, and those that have ended with what came of them.

use chassis::{Reply, Request};
use envelope::payload::lifecycle::{OperationEntry, OperationsRequest, OperationsResponse};
use envelope::{ErrorBody, ErrorCode};

use super::Refusal;
use crate::context::Context;
use crate::registrations::{Operated, Outcome};

pub(super) async fn handle(ctx: &Context, request: &Request) -> Result<Reply, Refusal> {
    let OperationsRequest { plugin_id, limit } = request.parse()?;
    let limit = limit.unwrap_or(OperationsRequest::DEFAULT_LIMIT);
    if limit > OperationsRequest::MAX_LIMIT {
        let message =
            format!("limit is {limit}; at most {} can be told at once.", OperationsRequest::MAX_LIMIT);
        return Err(ErrorBody::new(ErrorCode::BadRequest, message).into());
    }
    let mut running = ctx.registrations.all_running().await?;
    running.retain(|o| plugin_id.as_ref().is_none_or(|id| o.plugin_id == *id));
    running.sort_by_key(|o| std::cmp::Reverse(o.started_at));
    let running = running.into_iter().map(|operation| Operated { operation, ended_at: None, outcome: None });
    // Those that run are among the newest: what is cut off at the end has ended.
    let more = u32::try_from(running.len()).unwrap_or(u32::MAX);
    let known = ctx.registrations.operations(plugin_id.as_ref(), limit.saturating_add(more)).await?;
    let ended = known.into_iter().filter(|o| o.ended_at.is_some()).take(limit as usize);
    let operations = running.chain(ended).map(entry).collect();
    Ok(Reply::now(&OperationsResponse { operations }))
}

/// An operation as people are told.
pub(super) fn entry(operated: Operated) -> OperationEntry {
    let Operated { operation, ended_at, outcome } = operated;
    let (success, code, message) = match outcome {
        None => (None, None, None),
        Some(Outcome::Success) => (Some(true), None, None),
        Some(Outcome::Failure { code, message }) => (Some(false), Some(code), Some(message)),
    };
    OperationEntry {
        id: operation.id,
        plugin_id: operation.plugin_id,
        operation: operation.work.operation(),
        principal: operation.principal,
        step: operation.step,
        started_at: operation.started_at,
        deadline: ended_at.is_none().then_some(operation.deadline),
        ended_at,
        success,
        code,
        message,
        correlation_id: operation.correlation_id,
    }
}
