//! Who may ask for what, and the sentences for those who may not.

use envelope::operation::Callers;
use envelope::topic::RequestTopic;
use envelope::{ErrorBody, ErrorCode, Operation, PluginId, Principal, Timestamp};
use token::scope::{Permission, Scope};
use token::{Expect, Verifier};

use crate::service::Permit;

/// Lets the caller ask for the operation that the topic names, or says why not. The topic proves who the
/// caller is; a plugin must also show a token of its own whose scope covers the operation.
///
/// # Errors
/// `unknown_operation`, `token_invalid` or `forbidden`.
pub(crate) fn authorise(
    topic: &RequestTopic,
    token: Option<&str>,
    verifier: &Verifier,
    now: Timestamp,
) -> Result<Permit, ErrorBody> {
    let operation = topic.known_operation().ok_or_else(|| unknown(topic))?;
    match (&topic.caller, operation.callers()) {
        (Principal::Plugin(plugin), Callers::People { permission }) => {
            let scope = scope_of(plugin, token, verifier, now)?;
            let needed: Permission = permission.parse().map_err(|e| internal(&e))?;
            if !scope.covers(&needed) {
                return Err(lacks(plugin, operation, permission));
            }
        }
        // A plugin without a valid token asks for one this way; the token goes to its own topic alone.
        (Principal::Plugin(_), Callers::Itself) => {}
        // What an operator's account may ask for is decided at the broker, by its role.
        (Principal::Unnamed, Callers::People { .. })
        | (Principal::Operator(_), Callers::People { .. } | Callers::Accounts { .. })
        | (Principal::Coordinator(_), Callers::Internal(_)) => {}
        (_, Callers::Accounts { .. }) => return Err(needs_account(operation)),
        (_, Callers::Itself) => return Err(only_plugins(operation)),
        (_, Callers::Internal(_)) | (Principal::Coordinator(_), Callers::People { .. }) => {
            return Err(unknown(topic));
        }
    }
    Ok(Permit::new(topic.caller.clone(), operation))
}

/// What the plugin's own token allows.
fn scope_of(
    plugin: &PluginId,
    token: Option<&str>,
    verifier: &Verifier,
    now: Timestamp,
) -> Result<Scope, ErrorBody> {
    let Some(token) = token else {
        return Err(ErrorBody::new(
            ErrorCode::TokenInvalid,
            format!(
                "A plugin's request needs the plugin's token. Put the token from {} into the envelope's field \
                 \"token\".",
                envelope::topic::coordinator::token(plugin)
            ),
        ));
    };
    let claims = verifier.verify(token, Expect { plugin }, now.as_seconds()).map_err(|refusal| {
        ErrorBody::new(ErrorCode::TokenInvalid, format!("The token is refused: {refusal}."))
            .with_details(serde_json::json!({"reason": refusal.code()}))
    })?;
    Ok(Scope::granted(&claims))
}

fn lacks(plugin: &PluginId, operation: Operation, permission: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Forbidden,
        format!(
            "Plugin {plugin} may not {operation}: it lacks the permission {permission}. Ask for it in the \
             manifest's \"permissions\", and have an operator approve it."
        ),
    )
    .with_details(serde_json::json!({"missing": permission}))
}

fn needs_account(operation: Operation) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Forbidden,
        format!(
            "{operation} is taken only from an operator's account, on bigskies/operator/{{user}}/request/…, \
             where it is known who asks. Use the bigskies command line."
        ),
    )
}

fn only_plugins(operation: Operation) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Forbidden,
        format!("{operation} is for a plugin about itself, on bigskies/plugin/{{id}}/request/…."),
    )
}

fn unknown(topic: &RequestTopic) -> ErrorBody {
    let known: Vec<&str> =
        Operation::of(topic.coordinator).filter(|o| !o.is_internal()).map(Operation::as_str).collect();
    ErrorBody::new(
        ErrorCode::UnknownOperation,
        format!(
            "The {} coordinator has no operation {:?}. It has: {}.",
            topic.coordinator,
            topic.operation.chars().take(64).collect::<String>(),
            known.join(", ")
        ),
    )
}

/// The answer when the coordinator itself failed.
pub(crate) fn internal(error: &dyn std::error::Error) -> ErrorBody {
    tracing::error!(error = telemetry::chain(error), "a request failed inside the coordinator");
    ErrorBody::new(
        ErrorCode::Internal,
        "The coordinator failed to do it. Its log has the reason, under this correlation id.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(topic: &str) -> ErrorBody {
        let topic = RequestTopic::parse(topic).expect("a request topic");
        authorise(&topic, None, &Verifier::new(), Timestamp::now()).expect_err("refused")
    }

    #[test]
    fn a_plugin_without_a_token_is_told_where_its_token_is() {
        let error = refused("bigskies/plugin/focuser/request/plugin/list");
        assert_eq!(error.code, ErrorCode::TokenInvalid);
        assert!(error.message.contains("bigskies/coordinator/security/plugin/focuser/token"));
    }

    #[test]
    fn an_operation_that_does_not_exist_is_answered_with_those_that_do() {
        let error = refused("bigskies/operator/operator/request/plugin/dance");
        assert_eq!(error.code, ErrorCode::UnknownOperation);
        assert!(error.message.contains("install") && !error.message.contains("provision"));
    }

    #[test]
    fn what_needs_an_account_is_refused_to_everybody_else_with_where_to_ask() {
        for caller in ["coordinator", "plugin/focuser/request"] {
            let error = refused(&format!("bigskies/{caller}/security/rotate"));
            assert_eq!(error.code, ErrorCode::Forbidden, "{caller}");
            assert!(error.message.contains("bigskies/operator/"), "{}", error.message);
        }
    }

    #[test]
    fn a_plugin_asks_for_its_own_token_without_one_and_nobody_else_does() {
        let topic = RequestTopic::parse("bigskies/plugin/focuser/request/security/token").expect("topic");
        assert!(authorise(&topic, None, &Verifier::new(), Timestamp::now()).is_ok());
        assert_eq!(refused("bigskies/operator/operator/request/security/token").code, ErrorCode::Forbidden);
    }

    #[test]
    fn an_operator_needs_no_token() {
        let topic = RequestTopic::parse("bigskies/coordinator/plugin/install").expect("topic");
        let permit = authorise(&topic, None, &Verifier::new(), Timestamp::now()).expect("allowed");
        assert_eq!(permit.operation(), Operation::Install);
        assert_eq!(permit.principal(), &Principal::Unnamed);
    }
}
