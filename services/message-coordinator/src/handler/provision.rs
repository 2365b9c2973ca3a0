//! `provision`: makes the login of one start of a plugin, with the rights of the acknowledged generation.
//! Asked again for the same start it answers the same; a new start replaces the login of an earlier one.

use chassis::{Permit, Reply, Request};
use envelope::payload::login::ProvisionRequest;
use envelope::{ErrorBody, ErrorCode};
use serde_json::json;

use crate::keeper::{Keeper, ProvisionError};
use crate::report::Cause;

pub(crate) async fn handle(keeper: &Keeper, permit: &Permit, request: &Request) -> Result<Reply, ErrorBody> {
    let asked: ProvisionRequest = request.parse()?;
    match keeper.provision(&asked, &Cause::request(permit, request)).await {
        Ok(response) => Ok(Reply::now(&response)),
        Err(error) => Err(body(&asked, error)),
    }
}

fn body(asked: &ProvisionRequest, error: ProvisionError) -> ErrorBody {
    let (id, generation) = (&asked.plugin_id, asked.generation);
    match error {
        ProvisionError::NotAcknowledged => ErrorBody::new(
            ErrorCode::DependencyUnavailable,
            format!(
                "The broker does not have the rights of the plugin {id} in its generation {generation} yet. \
                 Wait until they are acknowledged, and ask again."
            ),
        ),
        ProvisionError::Refused(reasons) => ErrorBody::new(
            ErrorCode::Forbidden,
            format!("The rights that the plugin {id} asks for are refused. {}", reasons.join(" ")),
        )
        .with_details(json!({"reasons": reasons})),
        ProvisionError::Over => ErrorBody::new(
            ErrorCode::Conflict,
            format!(
                "The start {} of the plugin {id} has ended, or was provisioned for another generation. Begin a \
                 new start.",
                asked.start_id
            ),
        ),
        ProvisionError::Pass(error) => super::unavailable(&error, "Ask again for the same start."),
        error @ (ProvisionError::Random(_) | ProvisionError::Seal(_)) => {
            tracing::error!(error = telemetry::chain(&error), "a login cannot be made");
            ErrorBody::new(ErrorCode::Internal, format!("The login cannot be made: {error}."))
        }
    }
}
