//! `operators`: every operator's account; and what the operations on accounts answer alike.

use chassis::{Permit, Reply, Request};
use envelope::payload::account::OperatorsResponse;
use envelope::{ErrorBody, ErrorCode, Timestamp};

use crate::accounts::Account;
use crate::accounts::rules::{Author, Refusal};
use crate::keeper::{AccountError, Keeper};

pub(crate) fn handle(keeper: &Keeper) -> Reply {
    Reply::now(&OperatorsResponse { operators: keeper.accounts().iter().map(Account::shown).collect() })
}

/// Who asks, with which request.
pub(super) fn author(permit: &Permit, request: &Request) -> Author {
    Author { who: permit.principal().to_string(), request_id: request.id.clone(), at: Timestamp::now() }
}

pub(super) fn body(error: AccountError) -> ErrorBody {
    match error {
        AccountError::Refused(refusal) => {
            let code = match refusal {
                Refusal::NameTaken { .. } => ErrorCode::NameTaken,
                Refusal::Unknown(_) => ErrorCode::UnknownOperator,
                Refusal::LastAdmin { .. } => ErrorCode::LastAdmin,
                Refusal::First(_) => ErrorCode::Forbidden,
                Refusal::Password { .. } | Refusal::Nothing(_) => ErrorCode::BadRequest,
            };
            ErrorBody::new(code, refusal.to_string())
        }
        AccountError::Pass(error) => super::unavailable(
            &error,
            "The change is written down, and is made at the broker as soon as that can be changed; ask for \
             operators to see whether it still waits.",
        ),
        error @ (AccountError::Store(_) | AccountError::Seal(_)) => {
            tracing::error!(error = telemetry::chain(&error), "an account cannot be kept");
            ErrorBody::new(
                ErrorCode::Internal,
                format!("Nothing was changed: {}. See to that, and ask again.", telemetry::chain(&error)),
            )
        }
    }
}
