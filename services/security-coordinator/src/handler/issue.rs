//! `issue`: the token of one start of a plugin (from the plugin coordinator).
//!
//! Asked again for the same start, also after a crash on either side, the answer is the same token while it
//! is valid. A plugin has one start at a time: a new one ends the tokens of the one before.

use chassis::{Permit, Reply, Request};
use envelope::payload::token::{IssueRequest, IssueResponse, TokenMessage};
use envelope::{ErrorBody, ErrorCode, PluginId, StartId};
use serde_json::json;
use token::SignError;

use super::internal;
use crate::authority::{Authority, Origin};
use crate::revocations;
use crate::tokens::{self, Issued, Terms, TermsError};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("The token cannot be issued: {0}.")]
    Terms(#[from] TermsError),
    #[error(
        "The token would have {bytes} bytes, more than any verifier accepts. Ask for fewer permissions in \
         the manifest."
    )]
    TooLarge { bytes: usize },
    #[error("Start {start} of {plugin} is over, and its tokens are revoked. Make a new start.")]
    Over { plugin: PluginId, start: StartId },
    #[error(
        "The tokens of start {start} of {plugin} were revoked by {by}: it gets none until its next \
         start. Stop the plugin and start it."
    )]
    Revoked { plugin: PluginId, start: StartId, by: String },
    #[error("Start {start} has a token of another plugin. Give each start an id of its own.")]
    OtherPlugin { start: StartId },
    #[error(
        "Start {start} of {plugin} has a token with another scope or digest. Permissions change with a new \
         start only."
    )]
    OtherTerms { plugin: PluginId, start: StartId },
    #[error("the kept tokens cannot be read or written")]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<IssueError> for ErrorBody {
    fn from(error: IssueError) -> Self {
        let code = match &error {
            IssueError::Terms(_) | IssueError::TooLarge { .. } => ErrorCode::BadRequest,
            IssueError::Over { .. } => ErrorCode::InvalidPhase,
            // For the coordinator that asks: the plugin may run on, and only a new start has a token.
            IssueError::Revoked { .. } => {
                return Self::new(ErrorCode::InvalidPhase, error.to_string())
                    .with_details(json!({"reason": "revoked"}));
            }
            IssueError::OtherPlugin { .. } | IssueError::OtherTerms { .. } => ErrorCode::Conflict,
            IssueError::Store(_) | IssueError::Sign(_) => return internal(&error),
        };
        Self::new(code, error.to_string())
    }
}

pub(crate) async fn handle(
    authority: &Authority,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let token = issue(authority, request.parse()?, Origin::of(permit, request)).await?;
    Ok(Reply::now(&IssueResponse { token }))
}

pub(crate) async fn issue(
    authority: &Authority,
    asked: IssueRequest,
    origin: Origin<'_>,
) -> Result<TokenMessage, IssueError> {
    let terms = Terms::try_from(asked)?;
    let (plugin, start) = (terms.plugin_id.clone(), terms.start_id);
    let mut state = authority.lock().await;
    let now = authority.now();
    let mut tx = authority.begin().await?;
    if let Some(listed) = revocations::of_start(&mut tx, start).await? {
        return Err(match listed.revoked_by {
            Some(by) => IssueError::Revoked { plugin, start, by },
            None => IssueError::Over { plugin, start },
        });
    }
    let kept = tokens::of_start(&mut tx, start).await?;
    let issued = match kept {
        Some(kept) if kept.terms.plugin_id != plugin => {
            return Err(IssueError::OtherPlugin { start });
        }
        Some(kept) if kept.terms != terms => return Err(IssueError::OtherTerms { plugin, start }),
        Some(kept) => {
            if kept.due(now).is_none()
                && let Some(token) = state.sign(&kept)?
            {
                // Published again: the one who asks may have seen that it was not there.
                return Ok(authority.publish_token(&kept, token));
            }
            kept.next(state.keys.active(), now, authority.lifetime())
        }
        None => {
            let kid = state.keys.active();
            Issued::first(terms, origin.correlation_id, kid, now, authority.lifetime())
        }
    };
    let token = state.sign_new(&issued)?;
    let bytes = token.as_str().len();
    if bytes > token::MAX_BYTES {
        return Err(IssueError::TooLarge { bytes });
    }

    let older = tokens::of_plugin(&mut tx, &plugin).await?.filter(|o| o.terms.start_id != start);
    if let Some(older) = &older {
        let until = revocations::until(Some(older), now, authority.lifetime());
        revocations::add(&mut tx, older.terms.start_id, &plugin, until).await?;
    }
    tokens::put(&mut tx, &issued).await?;
    revocations::release_all(&mut tx, &plugin).await?;
    let revoked = revocations::list(&mut tx).await?;
    tx.commit().await?;

    if let Some(older) = older {
        authority.publish_revoked(&revoked);
        let cause = format!("start {start} of the plugin took its place");
        let traceparent = origin.traceparent.clone();
        let replaced = Origin { cause, traceparent, ..origin };
        authority.tell_revoked("revoked", &plugin, older.terms.start_id, replaced);
    }
    let message = authority.hand_out(&mut state, "issued", &issued, token, origin);
    authority.changed();
    Ok(message)
}

#[cfg(test)]
mod tests {
    use token::Expect;

    use super::*;
    use crate::authority::testing::{self, Office};
    use crate::handler::revoke::revoke;

    fn request(plugin: &str, start: StartId) -> IssueRequest {
        IssueRequest {
            plugin_id: PluginId::parse(plugin).expect("an id"),
            start_id: start,
            scope: vec!["plugin:control".to_owned()],
            digest: "sha256:0".to_owned(),
        }
    }

    async fn ask(office: &Office, request: IssueRequest) -> Result<TokenMessage, IssueError> {
        issue(&office.authority, request, testing::origin()).await
    }

    fn is_accepted(office: &Office, plugin: &str, message: &TokenMessage) -> bool {
        let plugin = PluginId::parse(plugin).expect("an id");
        let now = office.authority.now().as_seconds();
        let verifier = office.authority.verifier();
        verifier.verify(message.token.as_str(), Expect { plugin: &plugin }, now).is_ok()
    }

    #[tokio::test]
    async fn a_token_says_for_whom_and_what_and_is_accepted() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let start = StartId::new();
        let message = ask(&office, request("focuser", start)).await.expect("issues");
        let now = office.authority.now();
        let plugin = PluginId::parse("focuser").expect("an id");
        let claims = office
            .authority
            .verifier()
            .verify(message.token.as_str(), Expect { plugin: &plugin }, now.as_seconds())
            .expect("is valid");
        assert_eq!((claims.sub.as_str(), claims.sid), ("plugin:focuser", start));
        assert_eq!(claims.scope, "system:read plugin:control");
        assert_eq!(claims.manifest_digest, "sha256:0");
        assert_eq!(message.expires_at.since(now).as_secs(), 900);
        assert!(message.refresh_at < message.expires_at);
    }

    #[tokio::test]
    async fn asked_again_the_answer_is_the_same_token_until_it_is_due() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let start = StartId::new();
        let first = ask(&office, request("focuser", start)).await.expect("issues");
        office.clock.advance(100);
        assert_eq!(ask(&office, request("focuser", start)).await.expect("issues"), first);
        let after = testing::office(&folder).await;
        assert_eq!(ask(&after, request("focuser", start)).await.expect("issues"), first);
        after.clock.advance(901);
        let next = ask(&after, request("focuser", start)).await.expect("issues");
        assert!(next != first && is_accepted(&after, "focuser", &next));
    }

    #[tokio::test]
    async fn a_new_start_ends_the_tokens_of_the_one_before() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (one, two) = (StartId::new(), StartId::new());
        let first = ask(&office, request("focuser", one)).await.expect("issues");
        let other = ask(&office, request("dome", StartId::new())).await.expect("issues");
        let second = ask(&office, request("focuser", two)).await.expect("issues");
        assert!(!is_accepted(&office, "focuser", &first));
        assert!(is_accepted(&office, "focuser", &second) && is_accepted(&office, "dome", &other));
        let again = ask(&office, request("focuser", one)).await;
        assert!(matches!(again, Err(IssueError::Over { .. })), "{again:?}");
        assert!(is_accepted(&office, "focuser", &second));
    }

    #[tokio::test]
    async fn a_start_keeps_its_plugin_and_its_terms() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let start = StartId::new();
        ask(&office, request("focuser", start)).await.expect("issues");
        let other = ask(&office, request("dome", start)).await;
        assert!(matches!(other, Err(IssueError::OtherPlugin { .. })), "{other:?}");
        let wider = IssueRequest { scope: vec!["system:configure".to_owned()], ..request("focuser", start) };
        let wider = ask(&office, wider).await;
        assert!(matches!(wider, Err(IssueError::OtherTerms { .. })), "{wider:?}");
    }

    #[tokio::test]
    async fn a_start_that_was_revoked_before_it_was_issued_gets_no_token() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (plugin, start) = (PluginId::parse("focuser").expect("an id"), StartId::new());
        revoke(&office.authority, &plugin, start, testing::origin()).await.expect("revokes");
        let late = ask(&office, request("focuser", start)).await;
        assert!(matches!(late, Err(IssueError::Over { .. })), "{late:?}");
    }

    #[tokio::test]
    async fn no_token_is_issued_that_verifiers_would_not_look_at() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let id = "x".repeat(64);
        let scope = |count: usize| -> Vec<String> {
            (0..count).map(|n| format!("telescope/{n:0>64}:configure")).collect()
        };
        for count in [40, 60, 63] {
            let asked = IssueRequest { scope: scope(count), ..request(&id, StartId::new()) };
            let fits = match &ask(&office, asked).await {
                Ok(message) => is_accepted(&office, &id, message),
                Err(error) => matches!(error, IssueError::TooLarge { .. }),
            };
            assert!(fits, "{count}");
        }
        let asked = IssueRequest { scope: scope(64), ..request(&id, StartId::new()) };
        assert!(matches!(ask(&office, asked).await, Err(IssueError::Terms(_))));
    }
}
