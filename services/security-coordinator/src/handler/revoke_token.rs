//! `revoke`, from an operator's account: all tokens of a plugin, or a single one.
//!
//! A plugin whose tokens are revoked gets none under the start that it has now, whoever asks, until it is
//! started again. A single token is followed by another at once. Done already is done.

use chassis::{Permit, Reply, Request};
use envelope::payload::token::{RevokeTokenRequest, TokensRevoked};
use envelope::{ErrorBody, ErrorCode, PluginId};
use token::SignError;

use super::{PUBLISHED, internal};
use crate::authority::{Authority, Origin};
use crate::{revocations, tokens};

/// Longest id of a token that is looked for.
const LONGEST_JTI: usize = 64;

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeTokenError {
    #[error(
        "The request must name either a plugin or a token. Send {{\"plugin_id\": …}} to revoke all tokens of \
         a plugin, or {{\"jti\": …}} to revoke one."
    )]
    NotOne,
    #[error(
        "Plugin {plugin} has no token to revoke: it is not started. Its earlier tokens are refused already."
    )]
    NoToken { plugin: PluginId },
    #[error(
        "No token with the id {jti:?} was issued that can still be valid. `introspect` tells the id (`jti`) \
         of a plugin's current token."
    )]
    UnknownToken { jti: String },
    #[error("the kept tokens cannot be read or written")]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<RevokeTokenError> for ErrorBody {
    fn from(error: RevokeTokenError) -> Self {
        let code = match &error {
            RevokeTokenError::NotOne | RevokeTokenError::UnknownToken { .. } => ErrorCode::BadRequest,
            RevokeTokenError::NoToken { .. } => ErrorCode::InvalidPhase,
            RevokeTokenError::Store(_) | RevokeTokenError::Sign(_) => return internal(&error),
        };
        Self::new(code, error.to_string())
    }
}

pub(crate) async fn handle(
    authority: &Authority,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let by = permit.principal().to_string();
    let answer = revoke(authority, request.parse()?, &by, Origin::of(permit, request)).await?;
    // The answer says that it is done, so the broker should have the list by then.
    authority.is_published(PUBLISHED).await;
    Ok(Reply::now(&answer))
}

/// Revokes what is asked for in the name of `by`.
pub(crate) async fn revoke(
    authority: &Authority,
    asked: RevokeTokenRequest,
    by: &str,
    origin: Origin<'_>,
) -> Result<TokensRevoked, RevokeTokenError> {
    match asked {
        RevokeTokenRequest { plugin_id: Some(plugin), jti: None } => all(authority, plugin, by, origin).await,
        RevokeTokenRequest { plugin_id: None, jti: Some(jti) } => one(authority, &jti, origin).await,
        _ => Err(RevokeTokenError::NotOne),
    }
}

async fn all(
    authority: &Authority,
    plugin: PluginId,
    by: &str,
    origin: Origin<'_>,
) -> Result<TokensRevoked, RevokeTokenError> {
    let _state = authority.lock().await;
    let mut tx = authority.begin().await?;
    let Some(issued) = tokens::of_plugin(&mut tx, &plugin).await? else {
        return match revocations::held_of(&mut tx, &plugin).await? {
            Some((sid, _)) => Ok(TokensRevoked { plugin_id: plugin, sid: Some(sid), jti: None }),
            None => Err(RevokeTokenError::NoToken { plugin }),
        };
    };
    let start = issued.terms.start_id;
    let until = revocations::until(Some(&issued), authority.now(), authority.lifetime());
    revocations::add(&mut tx, start, &plugin, until).await?;
    revocations::hold(&mut tx, start, by).await?;
    tokens::remove(&mut tx, start).await?;
    let revoked = revocations::list(&mut tx).await?;
    tx.commit().await?;

    authority.publish_revoked(&revoked);
    authority.clear_token(&plugin);
    authority.tell_revoked("revoked", &plugin, start, origin);
    authority.changed();
    Ok(TokensRevoked { plugin_id: plugin, sid: Some(start), jti: None })
}

async fn one(
    authority: &Authority,
    jti: &str,
    origin: Origin<'_>,
) -> Result<TokensRevoked, RevokeTokenError> {
    let unknown = || RevokeTokenError::UnknownToken { jti: jti.chars().take(LONGEST_JTI).collect() };
    if jti.len() > LONGEST_JTI {
        return Err(unknown());
    }
    let mut state = authority.lock().await;
    let now = authority.now();
    let mut tx = authority.begin().await?;
    let meant = tokens::of_jti(&mut tx, jti).await?.ok_or_else(unknown)?;
    let (plugin, start) = (meant.plugin_id, meant.start_id);
    let answer = TokensRevoked { plugin_id: plugin.clone(), sid: None, jti: Some(jti.to_owned()) };
    let is_over = revocations::of_start(&mut tx, start).await?.is_some();
    if is_over || revocations::has_token(&mut tx, jti).await? {
        return Ok(answer);
    }
    let until = revocations::token_until(meant.expires_at, now, authority.lifetime());
    revocations::add_token(&mut tx, jti, &plugin, until).await?;
    let mut next = None;
    if let Some(current) = tokens::of_start(&mut tx, start).await?.filter(|current| current.jti == jti) {
        let issued = current.next(state.keys.active(), now, authority.lifetime());
        let token = state.sign_new(&issued)?;
        tokens::put(&mut tx, &issued).await?;
        next = Some((issued, token));
    }
    let revoked = revocations::list(&mut tx).await?;
    tx.commit().await?;

    authority.publish_revoked(&revoked);
    let again = Origin { cause: origin.cause.clone(), traceparent: origin.traceparent.clone(), ..origin };
    authority.tell_token_revoked(&plugin, start, jti, origin);
    if let Some((issued, token)) = next {
        authority.hand_out(&mut state, "refreshed", &issued, token, again);
    }
    authority.changed();
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use envelope::StartId;
    use envelope::payload::token::{IssueRequest, TokenMessage};
    use token::{Expect, Refusal};

    use super::*;
    use crate::authority::testing::{self, Office};
    use crate::handler::issue::{IssueError, issue};
    use crate::handler::revoke::revoke as end;
    use crate::refresh;
    use crate::tokens::Issued;

    fn plugin() -> PluginId {
        PluginId::parse("focuser").expect("an id")
    }

    async fn start(office: &Office, start_id: StartId) -> Result<TokenMessage, IssueError> {
        let asked =
            IssueRequest { plugin_id: plugin(), start_id, scope: Vec::new(), digest: "sha256:0".to_owned() };
        issue(&office.authority, asked, testing::origin()).await
    }

    async fn current(office: &Office) -> Option<Issued> {
        let mut connection = office.authority.connection().await.expect("connects");
        tokens::of_plugin(&mut connection, &plugin()).await.expect("reads")
    }

    fn verdict(office: &Office, message: &TokenMessage) -> Result<(), Refusal> {
        let now = office.authority.now().as_seconds();
        let want = Expect { plugin: &plugin() };
        office.authority.verifier().verify(message.token.as_str(), want, now).map(|_| ())
    }

    async fn ask(office: &Office, asked: RevokeTokenRequest) -> Result<TokensRevoked, RevokeTokenError> {
        revoke(&office.authority, asked, "operator:ann", testing::origin()).await
    }

    fn of_plugin() -> RevokeTokenRequest {
        RevokeTokenRequest { plugin_id: Some(plugin()), jti: None }
    }

    fn of_token(jti: &str) -> RevokeTokenRequest {
        RevokeTokenRequest { plugin_id: None, jti: Some(jti.to_owned()) }
    }

    #[tokio::test]
    async fn a_revoked_plugin_gets_no_token_under_the_same_start_however_late_it_is_asked() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let sid = StartId::new();
        let token = start(&office, sid).await.expect("issues");
        let answer = ask(&office, of_plugin()).await.expect("revokes");
        assert_eq!((answer.sid, answer.jti), (Some(sid), None));
        assert_eq!(verdict(&office, &token), Err(Refusal::RevokedSid { sid }));
        // Long after every token has expired the plugin coordinator still asks for the start that runs.
        for later in [300, 3_600, 86_400 * 30] {
            office.clock.advance(later);
            office.authority.lock().await.trust_the_clock();
            refresh::pass(&office.authority).await.expect("passes");
            let error = start(&office, sid).await.expect_err("is revoked");
            assert!(matches!(&error, IssueError::Revoked { by, .. } if by == "operator:ann"), "{error:?}");
            assert_eq!(current(&office).await, None);
            assert_eq!(ask(&office, of_plugin()).await.expect("is done already").sid, Some(sid));
        }
        let next = start(&office, StartId::new()).await.expect("starts again");
        assert_eq!(verdict(&office, &next), Ok(()));
    }

    #[tokio::test]
    async fn a_revoked_start_is_forgotten_when_it_is_over_and_its_tokens_have_expired() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let listed = async || {
            let mut connection = office.authority.connection().await.expect("connects");
            revocations::list(&mut connection).await.expect("reads").sids.len()
        };
        for stopped in [true, false] {
            let sid = StartId::new();
            start(&office, sid).await.expect("issues");
            ask(&office, of_plugin()).await.expect("revokes");
            let next = StartId::new();
            if stopped {
                end(&office.authority, &plugin(), sid, testing::origin()).await.expect("ends");
            } else {
                start(&office, next).await.expect("takes its place");
                end(&office.authority, &plugin(), next, testing::origin()).await.expect("ends");
            }
            office.clock.advance(2_000);
            office.authority.lock().await.trust_the_clock();
            refresh::pass(&office.authority).await.expect("passes");
            assert_eq!(listed().await, 0, "{stopped}");
        }
    }

    #[tokio::test]
    async fn a_single_token_is_refused_and_followed_by_another_at_once() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let sid = StartId::new();
        let first = start(&office, sid).await.expect("issues");
        let jti = current(&office).await.expect("has a token").jti;
        for _ in 0..2 {
            let answer = ask(&office, of_token(&jti)).await.expect("revokes, or is done already");
            assert_eq!((answer.plugin_id, answer.sid), (plugin(), None));
            assert_eq!(verdict(&office, &first), Err(Refusal::RevokedJti { jti: jti.clone() }));
        }
        let second = start(&office, sid).await.expect("asks again");
        assert_ne!(second, first);
        assert_eq!(verdict(&office, &second), Ok(()));
    }

    #[tokio::test]
    async fn a_token_that_was_followed_by_the_next_can_still_be_revoked_alone() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let first = start(&office, StartId::new()).await.expect("issues");
        let jti = current(&office).await.expect("has a token").jti;
        office.clock.advance(700);
        refresh::pass(&office.authority).await.expect("refreshes");
        let second = current(&office).await.expect("has a token");
        assert_ne!(second.jti, jti);
        assert_eq!(verdict(&office, &first), Ok(()));
        ask(&office, of_token(&jti)).await.expect("revokes");
        assert!(verdict(&office, &first).is_err());
        assert_eq!(current(&office).await, Some(second));
        // After it has expired it is refused as that, and forgotten.
        office.clock.advance(2_000);
        office.authority.lock().await.trust_the_clock();
        refresh::pass(&office.authority).await.expect("passes");
        let unknown = ask(&office, of_token(&jti)).await;
        assert!(matches!(unknown, Err(RevokeTokenError::UnknownToken { .. })), "{unknown:?}");
    }

    #[tokio::test]
    async fn what_names_nothing_or_two_things_or_something_unknown_is_refused_with_what_to_do() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let both = RevokeTokenRequest { plugin_id: Some(plugin()), jti: Some("x".to_owned()) };
        for (asked, code, word) in [
            (RevokeTokenRequest::default(), ErrorCode::BadRequest, "either"),
            (both, ErrorCode::BadRequest, "either"),
            (of_plugin(), ErrorCode::InvalidPhase, "not started"),
            (of_token("x"), ErrorCode::BadRequest, "introspect"),
            (of_token(&"x".repeat(100_000)), ErrorCode::BadRequest, "introspect"),
            (of_token("'; DROP TABLE tokens; --\u{1b}[2J"), ErrorCode::BadRequest, "introspect"),
        ] {
            let body = ErrorBody::from(ask(&office, asked).await.expect_err("refused"));
            assert_eq!(body.code, code);
            assert!(body.message.contains(word) && body.message.len() < 400, "{}", body.message);
            assert!(!body.message.contains('\u{1b}'));
        }
    }
}
