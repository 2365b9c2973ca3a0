//! What is kept of each token: the terms of its start, and what its claims say.

mod kept;

use std::fmt;
use std::time::Duration;

use envelope::payload::token::{AUDIENCE, Claims, ISSUER, IssueRequest, subject};
use envelope::{PluginId, StartId, Timestamp};
use token::scope::{Scope, ScopeError};
use uuid::Uuid;

pub(crate) use kept::{
    all, count, due, forget_past, latest_expiry, next_due, of_jti, of_plugin, of_start, put, remove,
};

/// What the SDK grants every plugin.
const GRANTED_TO_ALL: &str = "system:read";
/// Longest digest of a manifest, in bytes: the name of an algorithm and 64 bytes in hexadecimal.
const LONGEST_DIGEST: usize = 160;
/// How far ahead of the clock a token may have been issued before the clock must have been set back.
const AHEAD: Duration = Duration::from_secs(2);

/// Why a start cannot have a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TermsError {
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("the manifest's digest is not 1 to {LONGEST_DIGEST} printable ASCII characters without spaces")]
    Digest,
}

/// For whom every token of one start is, and what it permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) plugin_id: PluginId,
    pub(crate) start_id: StartId,
    /// As the claim says it.
    pub(crate) scope: String,
    pub(crate) manifest_digest: String,
}

impl TryFrom<IssueRequest> for Terms {
    type Error = TermsError;

    fn try_from(asked: IssueRequest) -> Result<Self, TermsError> {
        let permissions = asked.scope.iter().map(String::as_str).chain([GRANTED_TO_ALL]);
        let scope = Scope::parse(permissions)?.to_string();
        let digest = &asked.digest;
        if !(1..=LONGEST_DIGEST).contains(&digest.len()) || !digest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TermsError::Digest);
        }
        Ok(Self {
            plugin_id: asked.plugin_id,
            start_id: asked.start_id,
            scope,
            manifest_digest: asked.digest,
        })
    }
}

/// The token that a start has now, as far as it is kept: enough to sign it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) terms: Terms,
    /// Joins the token to the request that the start's first one was issued for.
    pub(crate) correlation_id: String,
    pub(crate) jti: String,
    pub(crate) kid: String,
    /// Seconds since 1970.
    pub(crate) issued_at: i64,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
    /// The latest end of any token of the start, in seconds since 1970.
    pub(crate) latest_expiry: i64,
    pub(crate) refresh_at: Timestamp,
}

/// Why a token is to be followed by the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Two thirds of its life are over.
    Aged,
    /// It has ended: nobody was there to refresh it, or the clock was set forward.
    Expired,
    /// It lies in the future: the clock was set back.
    ClockWentBack,
    /// The key that signed it is not there any more.
    KeyGone,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aged => "two thirds of its life are over",
            Self::Expired => {
                "it had expired: the coordinator was away, the machine slept or its clock was set"
            }
            Self::ClockWentBack => "it was issued ahead of the clock, which was set back",
            Self::KeyGone => "the key that signed it is gone",
        })
    }
}

impl Issued {
    /// A first token under `terms`, to be signed with `kid`.
    pub(crate) fn first(
        terms: Terms,
        correlation_id: &str,
        kid: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Self {
        let id = Uuid::new_v4();
        let issued_at = now.as_seconds();
        let expires_at = now.after(lifetime).as_seconds();
        Self {
            terms,
            correlation_id: correlation_id.to_owned(),
            jti: id.to_string(),
            kid: kid.to_owned(),
            issued_at,
            expires_at,
            latest_expiry: expires_at,
            refresh_at: Timestamp::from_seconds(issued_at).after(refresh_after(lifetime, id)),
        }
    }

    /// The token that follows this one.
    pub(crate) fn next(&self, kid: &str, now: Timestamp, lifetime: Duration) -> Self {
        let next = Self::first(self.terms.clone(), &self.correlation_id, kid, now, lifetime);
        Self { latest_expiry: self.latest_expiry.max(next.expires_at), ..next }
    }

    /// Whether the next token is to be issued.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Due> {
        if Timestamp::from_seconds(self.issued_at) > now.after(AHEAD) {
            Some(Due::ClockWentBack)
        } else if self.expires_at <= now.as_seconds() {
            Some(Due::Expired)
        } else if self.refresh_at <= now {
            Some(Due::Aged)
        } else {
            None
        }
    }

    /// What the token says.
    pub(crate) fn claims(&self) -> Claims {
        Claims {
            iss: ISSUER.to_owned(),
            sub: subject(&self.terms.plugin_id),
            aud: AUDIENCE.to_owned(),
            client_id: self.terms.plugin_id.to_string(),
            sid: self.terms.start_id,
            jti: self.jti.clone(),
            iat: self.issued_at,
            nbf: self.issued_at,
            exp: self.expires_at,
            scope: self.terms.scope.clone(),
            manifest_digest: self.terms.manifest_digest.clone(),
        }
    }
}

/// Two thirds of the lifetime, give or take 5 %, so that plugins that were started together do not refresh
/// together for ever. The randomness is that of the token's id.
fn refresh_after(lifetime: Duration, id: Uuid) -> Duration {
    let [.., a, b] = *id.as_bytes();
    let per_mille = 950 + u32::from(u16::from_be_bytes([a, b]) % 101);
    lifetime * 2 / 3 * per_mille / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(900);

    fn request(scope: &[&str], digest: &str) -> IssueRequest {
        IssueRequest {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            start_id: StartId::new(),
            scope: scope.iter().map(|s| (*s).to_owned()).collect(),
            digest: digest.to_owned(),
        }
    }

    fn issued(now: i64) -> Issued {
        let terms = Terms::try_from(request(&[], "sha256:0")).expect("terms");
        Issued::first(terms, "c", "k", Timestamp::from_seconds(now), LIFETIME)
    }

    #[test]
    fn every_scope_includes_what_all_may_do() {
        let scope = |list: &[&str]| Terms::try_from(request(list, "d")).map(|t| t.scope);
        assert_eq!(scope(&[]).as_deref(), Ok("system:read"));
        assert_eq!(
            scope(&["plugin:control", "system:read", "plugin:control"]).as_deref(),
            Ok("system:read plugin:control")
        );
    }

    #[test]
    fn what_is_no_permission_or_no_digest_is_refused() {
        for (scope, digest) in
            [(["moon:read"], "d"), (["system:read"], ""), (["system:read"], "a b"), (["user:read"], "é")]
        {
            assert!(Terms::try_from(request(&scope, digest)).is_err(), "{scope:?} {digest:?}");
        }
        assert!(Terms::try_from(request(&[], &"x".repeat(161))).is_err());
    }

    #[test]
    fn a_token_is_refreshed_at_two_thirds_of_its_life_give_or_take_five_percent() {
        let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
        for _ in 0..2_000 {
            let after = refresh_after(LIFETIME, Uuid::new_v4());
            (least, most) = (least.min(after), most.max(after));
        }
        assert!(least >= Duration::from_secs(570) && least < Duration::from_secs(580), "{least:?}");
        assert!(most <= Duration::from_secs(630) && most > Duration::from_secs(620), "{most:?}");
    }

    #[test]
    fn a_token_is_due_when_it_aged_expired_or_lies_ahead_of_the_clock() {
        let start = 1_700_000_000;
        let token = issued(start);
        let due = |at: i64| token.due(Timestamp::from_seconds(at));
        let year = 31_536_000;
        for (at, want) in [
            (start, None),
            (start + 569, None),
            (start + 631, Some(Due::Aged)),
            (start + 899, Some(Due::Aged)),
            (start + 900, Some(Due::Expired)),
            (start + year, Some(Due::Expired)),
            (start - 1, None),
            (start - 3, Some(Due::ClockWentBack)),
            (start - 3600, Some(Due::ClockWentBack)),
            (0, Some(Due::ClockWentBack)),
        ] {
            assert_eq!(due(at), want, "{at}");
        }
    }

    #[test]
    fn the_next_token_keeps_the_terms_and_the_latest_end() {
        let first = issued(2_000_000_000);
        let next = first.next("k2", Timestamp::from_seconds(1_000), LIFETIME);
        assert_eq!(next.terms, first.terms);
        assert_eq!((next.issued_at, next.expires_at), (1_000, 1_900));
        assert_eq!(next.latest_expiry, first.expires_at);
        assert_ne!(next.jti, first.jti);
        assert_eq!(next.kid, "k2");
    }
}
