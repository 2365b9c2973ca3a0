//! `introspect`: what a token is worth now (RFC 7662), by the token or by the plugin that has it.
//!
//! Whoever holds a token may ask what it says. Without one, operators may ask about every plugin and a plugin
//! about itself.

use chassis::{Permit, Reply, Request};
use envelope::payload::token::{Claims, IntrospectRequest, IntrospectResponse, Token};
use envelope::{ErrorBody, ErrorCode, PluginId, Principal};
use token::{Expect, Refusal, SignError};

use super::internal;
use crate::authority::Authority;
use crate::{revocations, tokens};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntrospectError {
    #[error(
        "The request names neither a plugin nor a token. Send {{\"plugin_id\": …}} to be told about the \
         plugin's current token, or {{\"token\": …}}."
    )]
    Nothing,
    #[error(
        "Plugin {asker} may be told about its own token, and about tokens that it holds; the current token \
         of {plugin} is neither."
    )]
    NotYours { asker: PluginId, plugin: PluginId },
    #[error("the kept tokens cannot be read")]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<IntrospectError> for ErrorBody {
    fn from(error: IntrospectError) -> Self {
        match &error {
            IntrospectError::Nothing => Self::new(ErrorCode::BadRequest, error.to_string()),
            IntrospectError::NotYours { .. } => Self::new(ErrorCode::Forbidden, error.to_string()),
            IntrospectError::Store(_) | IntrospectError::Sign(_) => internal(&error),
        }
    }
}

pub(crate) async fn handle(
    authority: &Authority,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let answer = introspect(authority, permit.principal(), request.parse()?).await?;
    Ok(Reply::now(&answer))
}

async fn introspect(
    authority: &Authority,
    asker: &Principal,
    asked: IntrospectRequest,
) -> Result<IntrospectResponse, IntrospectError> {
    let own = match asker {
        Principal::Plugin(id) => Some(id),
        _ => None,
    };
    let IntrospectRequest { plugin_id, token } = asked;
    let (plugin, token) = match (plugin_id, token) {
        (plugin, Some(token)) => (plugin, token),
        (None, None) => match own {
            Some(own) => match current(authority, own).await? {
                Some(token) => (Some(own.clone()), token),
                None => return none(authority, own).await,
            },
            None => return Err(IntrospectError::Nothing),
        },
        (Some(plugin), None) => {
            if let Some(asker) = own.filter(|own| **own != plugin) {
                return Err(IntrospectError::NotYours { asker: asker.clone(), plugin });
            }
            match current(authority, &plugin).await? {
                Some(token) => (Some(plugin), token),
                None => return none(authority, &plugin).await,
            }
        }
    };
    let now = authority.now().as_seconds();
    Ok(answer(match &plugin {
        Some(plugin) => authority.verifier().verify(token.as_str(), Expect { plugin }, now),
        None => authority.verifier().introspect(token.as_str(), now),
    }))
}

/// The token that a plugin has now.
async fn current(authority: &Authority, plugin: &PluginId) -> Result<Option<Token>, IntrospectError> {
    let state = authority.lock().await;
    let mut connection = authority.connection().await?;
    match tokens::of_plugin(&mut connection, plugin).await? {
        Some(issued) => Ok(state.sign(&issued)?),
        None => Ok(None),
    }
}

/// The answer about a plugin that has no token.
async fn none(authority: &Authority, plugin: &PluginId) -> Result<IntrospectResponse, IntrospectError> {
    let mut connection = authority.connection().await?;
    let reason = match revocations::held_of(&mut connection, plugin).await? {
        Some((start, by)) => format!(
            "the tokens of {plugin}'s start {start} were revoked by {by}; it gets one when it is started again"
        ),
        None => format!("{plugin} has no token: it gets one when it is started, until it is stopped"),
    };
    Ok(IntrospectResponse { active: false, claims: None, reason: Some(reason) })
}

fn answer(verdict: Result<Claims, Refusal>) -> IntrospectResponse {
    match verdict {
        Ok(claims) => IntrospectResponse { active: true, claims: Some(claims), reason: None },
        Err(refusal) => IntrospectResponse { active: false, claims: None, reason: Some(refusal.to_string()) },
    }
}

#[cfg(test)]
mod tests {
    use envelope::StartId;
    use envelope::payload::token::{IssueRequest, RevokeTokenRequest};

    use super::*;
    use crate::authority::testing::{self, Office};
    use crate::handler::issue::issue;
    use crate::handler::revoke::revoke;
    use crate::handler::revoke_token::revoke as revoke_token;

    fn plugin(id: &str) -> PluginId {
        PluginId::parse(id).expect("an id")
    }

    async fn started(office: &Office, id: &str) -> (StartId, Token) {
        let start_id = StartId::new();
        let asked = IssueRequest {
            plugin_id: plugin(id),
            start_id,
            scope: Vec::new(),
            digest: "sha256:0".to_owned(),
        };
        let message = issue(&office.authority, asked, testing::origin()).await.expect("issues");
        (start_id, message.token)
    }

    fn about(id: Option<&str>, token: Option<&Token>) -> IntrospectRequest {
        IntrospectRequest { plugin_id: id.map(plugin), token: token.cloned() }
    }

    async fn ask(
        office: &Office,
        asker: &Principal,
        asked: IntrospectRequest,
    ) -> Result<IntrospectResponse, IntrospectError> {
        introspect(&office.authority, asker, asked).await
    }

    #[tokio::test]
    async fn a_plugins_token_is_told_by_its_claims_and_never_itself() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (start, token) = started(&office, "focuser").await;
        for asked in [about(Some("focuser"), None), about(None, Some(&token))] {
            let answer = ask(&office, &Principal::Unnamed, asked).await.expect("answers");
            assert!(answer.active);
            assert_eq!(answer.claims.as_ref().map(|c| c.sid), Some(start));
            let signature = token.as_str().rsplit('.').next().expect("a part");
            let text = serde_json::to_string(&answer).expect("encodes");
            assert!(!text.contains(signature));
        }
    }

    #[tokio::test]
    async fn what_is_not_accepted_is_told_with_its_reason() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (start, token) = started(&office, "focuser").await;
        let reason = async |asked| {
            let answer = ask(&office, &Principal::Unnamed, asked).await.expect("answers");
            assert!(!answer.active && answer.claims.is_none());
            answer.reason.expect("a reason")
        };
        let nonsense = Token::new("nonsense");
        assert!(reason(about(None, Some(&nonsense))).await.contains("three parts"));
        assert!(reason(about(Some("dome"), Some(&token))).await.contains("dome"));
        assert!(reason(about(Some("dome"), None)).await.contains("no token"));
        revoke(&office.authority, &plugin("focuser"), start, testing::origin()).await.expect("ends");
        assert!(reason(about(None, Some(&token))).await.contains("revoked"));
        assert!(reason(about(Some("focuser"), None)).await.contains("no token"));
    }

    #[tokio::test]
    async fn expired_revoked_and_of_a_dropped_key_are_told_apart() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (start, token) = started(&office, "focuser").await;
        let reason = async |asked| {
            let answer = ask(&office, &Principal::Unnamed, asked).await.expect("answers");
            assert!(!answer.active && answer.claims.is_none());
            answer.reason.expect("a reason")
        };
        office.clock.advance(1_000);
        assert!(reason(about(None, Some(&token))).await.contains("expired 100 s ago"));
        office.clock.advance(-5_000);
        assert!(reason(about(None, Some(&token))).await.contains("ahead of this machine's time"));
        office.clock.set(testing::START);
        office.authority.verifier().set_keys(&envelope::payload::token::Jwks::default());
        assert!(reason(about(None, Some(&token))).await.contains("not among the security coordinator's"));
        crate::refresh::restore(&office.authority).await.expect("publishes");

        let asked = RevokeTokenRequest { plugin_id: Some(plugin("focuser")), jti: None };
        revoke_token(&office.authority, asked, "operator:ann", testing::origin()).await.expect("revokes");
        assert!(
            reason(about(None, Some(&token)))
                .await
                .contains(&format!("start {start}, whose tokens are revoked"))
        );
        assert!(reason(about(Some("focuser"), None)).await.contains("revoked by operator:ann"));
        let (_, token) = started(&office, "dome").await;
        let jti = ask(&office, &Principal::Unnamed, about(Some("dome"), None)).await.expect("answers").claims;
        let asked = RevokeTokenRequest { plugin_id: None, jti: jti.map(|c| c.jti) };
        revoke_token(&office.authority, asked, "operator:ann", testing::origin()).await.expect("revokes");
        assert!(reason(about(None, Some(&token))).await.contains("is revoked"));
        assert!(ask(&office, &Principal::Unnamed, about(Some("dome"), None)).await.expect("answers").active);
    }

    #[tokio::test]
    async fn a_plugin_is_told_about_itself_and_about_tokens_that_it_holds() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (_, token) = started(&office, "focuser").await;
        let (itself, other) = (Principal::Plugin(plugin("focuser")), Principal::Plugin(plugin("dome")));
        for (asker, asked) in [
            (&itself, about(None, None)),
            (&itself, about(Some("focuser"), None)),
            (&other, about(None, Some(&token))),
        ] {
            assert!(ask(&office, asker, asked).await.expect("answers").active);
        }
        let refused = ask(&office, &other, about(Some("focuser"), None)).await;
        assert!(matches!(refused, Err(IntrospectError::NotYours { .. })), "{refused:?}");
        let nothing = ask(&office, &Principal::Unnamed, about(None, None)).await;
        assert!(matches!(nothing, Err(IntrospectError::Nothing)), "{nothing:?}");
    }
}
