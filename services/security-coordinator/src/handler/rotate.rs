//! `rotate`: the next key signs from now on (from an operator's account).
//!
//! Too early is an error that says when, and not a wait: a request outlives neither its caller's patience nor
//! a restart. Asked again for the same request, after a crash, keys move on once.

use chassis::{Permit, Reply, Request};
use envelope::payload::token::{RotateRequest, Rotated};
use envelope::{ErrorBody, ErrorCode};
use serde_json::json;

use super::{PUBLISHED, internal};
use crate::authority::{Authority, Origin, RotateError};

impl From<RotateError> for ErrorBody {
    fn from(error: RotateError) -> Self {
        match &error {
            RotateError::NotYet(not_yet) => Self::new(ErrorCode::TooManyRequests, error.to_string())
                .with_details(json!({"retry_after_seconds": not_yet.retry_after()})),
            RotateError::Keys(_) | RotateError::Store(_) => internal(&error),
        }
    }
}

pub(crate) async fn handle(
    authority: &Authority,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let RotateRequest {} = request.parse()?;
    let answer = rotate(authority, &request.id, Origin::of(permit, request)).await?;
    authority.is_published(PUBLISHED).await;
    Ok(Reply::now(&answer))
}

/// Rotates the keys for request `id`.
pub(crate) async fn rotate(
    authority: &Authority,
    id: &str,
    origin: Origin<'_>,
) -> Result<Rotated, RotateError> {
    let mut state = authority.lock().await;
    if state.keys.was_activated_by(id) {
        return Ok(state.keys.names());
    }
    authority.rotate(&mut state, Some(id), origin).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authority::testing::{self, Office};
    use crate::keys::NotYet;

    async fn ask(office: &Office, id: &str) -> Result<Rotated, RotateError> {
        rotate(&office.authority, id, testing::origin()).await
    }

    async fn announce(office: &Office) {
        office.authority.lock().await.keys.pretend_announced(Duration::from_secs(120));
    }

    #[tokio::test]
    async fn the_next_key_signs_and_the_one_before_still_verifies() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let before = office.authority.lock().await.keys.names();
        announce(&office).await;
        let after = ask(&office, "one").await.expect("rotates");
        assert_eq!(after.active, before.next);
        assert_eq!(after.retiring, std::slice::from_ref(&before.active));
        assert!(![&before.active, &before.next].contains(&&after.next));
        let again = testing::office(&folder).await;
        assert_eq!(again.authority.lock().await.keys.names(), after);
    }

    #[tokio::test]
    async fn too_early_is_refused_with_when_to_ask_again() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let unannounced = ask(&office, "one").await.expect_err("nobody has the next key");
        assert!(matches!(unannounced, RotateError::NotYet(NotYet::Unannounced { .. })), "{unannounced:?}");
        office.authority.lock().await.keys.pretend_announced(Duration::from_secs(60));
        let body = ErrorBody::from(ask(&office, "one").await.expect_err("too early"));
        assert_eq!(body.code, ErrorCode::TooManyRequests);
        assert_eq!(body.details["retry_after_seconds"], 60);
        assert!(body.message.contains("Ask again in 60 s."), "{}", body.message);
        announce(&office).await;
        ask(&office, "two").await.expect("rotates");
        let at_once = ask(&office, "three").await;
        assert!(matches!(at_once, Err(RotateError::NotYet(_))), "{at_once:?}");
    }

    #[tokio::test]
    async fn a_request_that_is_handled_again_after_a_crash_rotates_once() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        announce(&office).await;
        let answer = ask(&office, "one").await.expect("rotates");
        let after = testing::office(&folder).await;
        announce(&after).await;
        assert_eq!(ask(&after, "one").await.expect("is done already"), answer);
        assert_ne!(ask(&after, "two").await.expect("rotates"), answer);
    }
}
