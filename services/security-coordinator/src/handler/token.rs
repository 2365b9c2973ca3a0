//! `token`: a plugin asks for a fresh token of its own. It needs none for that, for it may have none left:
//! its topic proves who it is, and the token goes to the plugin's token topic alone.
//!
//! Whoever asks more often than a token is fresh has the same one published again.

use chassis::{Permit, Reply, Request};
use envelope::payload::token::{TokenMessage, TokenRefreshed, TokenRequest};
use envelope::{ErrorBody, ErrorCode, PluginId, Principal};
use token::SignError;

use super::internal;
use crate::authority::{Authority, Origin};
use crate::{revocations, tokens};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("Plugin {plugin} has no token: it gets one when it is started, until it is stopped.")]
    NotStarted { plugin: PluginId },
    #[error(
        "The tokens of plugin {plugin} were revoked by {by}. It gets one with its next start: stop \
         it and start it."
    )]
    Revoked { plugin: PluginId, by: String },
    #[error("A token is for the plugin that asks on its own topic, and {asker} is none.")]
    NoPlugin { asker: Principal },
    #[error("the kept tokens cannot be read or written")]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<TokenError> for ErrorBody {
    fn from(error: TokenError) -> Self {
        let code = match &error {
            TokenError::NotStarted { .. } | TokenError::Revoked { .. } => ErrorCode::InvalidPhase,
            TokenError::NoPlugin { .. } => ErrorCode::Forbidden,
            TokenError::Store(_) | TokenError::Sign(_) => return internal(&error),
        };
        Self::new(code, error.to_string())
    }
}

pub(crate) async fn handle(
    authority: &Authority,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let TokenRequest {} = request.parse()?;
    let Principal::Plugin(plugin) = permit.principal() else {
        return Err(TokenError::NoPlugin { asker: permit.principal().clone() }.into());
    };
    let message = refresh(authority, plugin, Origin::of(permit, request)).await?;
    let TokenMessage { expires_at, refresh_at, kid, .. } = message;
    Ok(Reply::now(&TokenRefreshed { expires_at, refresh_at, kid }))
}

/// Puts a fresh token on the plugin's topic.
async fn refresh(
    authority: &Authority,
    plugin: &PluginId,
    origin: Origin<'_>,
) -> Result<TokenMessage, TokenError> {
    let mut state = authority.lock().await;
    let now = authority.now();
    let mut tx = authority.begin().await?;
    let Some(kept) = tokens::of_plugin(&mut tx, plugin).await? else {
        return Err(match revocations::held_of(&mut tx, plugin).await? {
            Some((_, by)) => TokenError::Revoked { plugin: plugin.clone(), by },
            None => TokenError::NotStarted { plugin: plugin.clone() },
        });
    };
    if state.has_signed_lately(plugin)
        && kept.due(now).is_none()
        && let Some(token) = state.sign(&kept)?
    {
        return Ok(authority.publish_token(&kept, token));
    }
    let next = kept.next(state.keys.active(), now, authority.lifetime());
    let token = state.sign_new(&next)?;
    tokens::put(&mut tx, &next).await?;
    tx.commit().await?;
    let message = authority.hand_out(&mut state, "refreshed", &next, token, origin);
    authority.changed();
    Ok(message)
}

#[cfg(test)]
mod tests {
    use envelope::StartId;
    use envelope::payload::token::IssueRequest;

    use super::*;
    use crate::authority::testing::{self, Office};
    use crate::handler::issue::issue;
    use crate::handler::revoke::revoke;

    fn plugin() -> PluginId {
        PluginId::parse("focuser").expect("an id")
    }

    async fn started(office: &Office) -> (StartId, TokenMessage) {
        let start_id = StartId::new();
        let asked =
            IssueRequest { plugin_id: plugin(), start_id, scope: Vec::new(), digest: "sha256:0".to_owned() };
        (start_id, issue(&office.authority, asked, testing::origin()).await.expect("issues"))
    }

    async fn ask(office: &Office) -> Result<TokenMessage, TokenError> {
        refresh(&office.authority, &plugin(), testing::origin()).await
    }

    #[tokio::test]
    async fn a_fresh_token_is_signed_at_most_once_in_a_while_and_the_same_published_in_between() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (_, first) = started(&office).await;
        assert_eq!(ask(&office).await.expect("publishes"), first);
        office.authority.lock().await.forget_signed();
        office.clock.advance(20);
        let second = ask(&office).await.expect("signs");
        assert_ne!(second, first);
        assert_eq!(second.expires_at.since(first.expires_at).as_secs(), 20);
        for _ in 0..3 {
            assert_eq!(ask(&office).await.expect("publishes"), second);
        }
    }

    #[tokio::test]
    async fn a_token_that_is_worth_nothing_is_followed_at_once() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (_, first) = started(&office).await;
        office.clock.set(0);
        let second = ask(&office).await.expect("signs");
        assert_ne!(second, first);
        let accepted = office.authority.verifier().introspect(second.token.as_str(), 0);
        assert!(accepted.is_ok(), "{accepted:?}");
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_started_gets_none_and_is_told_why() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let refused = ask(&office).await;
        assert!(matches!(refused, Err(TokenError::NotStarted { .. })), "{refused:?}");
        let (start, _) = started(&office).await;
        revoke(&office.authority, &plugin(), start, testing::origin()).await.expect("ends");
        let refused = ErrorBody::from(ask(&office).await.expect_err("is stopped"));
        assert_eq!(refused.code, ErrorCode::InvalidPhase);
        assert!(refused.message.contains("when it is started"), "{}", refused.message);
    }
}
