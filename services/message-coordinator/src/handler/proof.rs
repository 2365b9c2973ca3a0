//! `proof`: tries at the broker that no plugin can reach what is not its own, and tells what was found.
//!
//! It is answered when the proof is done, so that nothing else that the same caller asks waits for it. A
//! coordinator that ends before finds the request unanswered at its next start, and proves then.

use chassis::{Replies, Reply, Request};
use envelope::payload::watch::ProofRequest;
use envelope::{Answer, ErrorBody, ErrorCode};

use crate::proof::{Outcome, Prover};

pub(crate) fn handle(prover: &Prover, replies: &Replies, request: &Request) -> Result<Reply, ErrorBody> {
    let ProofRequest {} = request.parse()?;
    let proven = prover.prove();
    let (replies, request) = (replies.clone(), request.clone());
    tokio::spawn(async move {
        let Ok(outcome) = proven.await else { return };
        let (id, correlation) = (request.id, request.correlation_id);
        let fails = |error: &store::Error| {
            tracing::warn!(%error, correlation, "an answer cannot be recorded yet");
        };
        replies.answer_at_last(&id, &answer(outcome), &correlation, request.traceparent, fails).await;
    });
    Ok(Reply::Later)
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Ok(proof) => Answer::Success(serde_json::to_value(proof).expect("payload types have string keys")),
        Err(error) => Answer::Failure(ErrorBody::new(
            ErrorCode::DependencyUnavailable,
            format!(
                "Nothing is proven, one way or the other: {error}. See whether the broker is reachable, and ask \
                 again."
            ),
        )),
    }
}
