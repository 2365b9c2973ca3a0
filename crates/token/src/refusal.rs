//! Why a token is refused.

use envelope::id::StartId;

/// A part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first part: how the token is signed.
    Header,
    /// The second part: what it says.
    Claims,
    /// The third part.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}

/// Why a token is refused: a sentence for people, [`Refusal::code`] for programs.
///
/// What it quotes comes from the token, so it is cut short and control characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The verifier has not heard of the keys or the revocations yet.
    #[error(
        "tokens cannot be verified yet: the security coordinator's {what} have not arrived; try again when it is healthy"
    )]
    NotReady {
        /// What is missing: `keys` or `revocations`.
        what: &'static str,
    },
    /// Longer than [`crate::MAX_BYTES`].
    #[error("the token has {bytes} bytes, {max} are allowed; send the token from the plugin's token topic as it is", max = crate::MAX_BYTES)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not `header.claims.signature`.
    #[error(
        "the token is not three parts joined by dots; send the token from the plugin's token topic as it is"
    )]
    NotThreeParts,
    /// Not base64url without padding in its one canonical form (RFC 7515 section 2).
    #[error(
        "the token's {part} is not canonical base64url without padding; send the token as it was received"
    )]
    Encoding {
        /// Where.
        part: Part,
    },
    /// Not one JSON object.
    #[error("the token's {part} is not a JSON object")]
    Malformed {
        /// Where.
        part: Part,
    },
    /// A member stands twice (RFC 7515 section 4, RFC 7519 section 4).
    #[error("the token's {part} has the member {name:?} twice")]
    Duplicate {
        /// Where.
        part: Part,
        /// Which member.
        name: String,
    },
    /// Not the one algorithm that the project signs with.
    #[error("the token is signed with algorithm {found:?}; only \"EdDSA\" is accepted")]
    Algorithm {
        /// What the header says.
        found: String,
    },
    /// Not an access token (RFC 8725 section 3.11).
    #[error("the token's type is {found:?}; only {want:?} is accepted", want = crate::TYPE)]
    Type {
        /// What the header says.
        found: String,
    },
    /// Demands extensions (RFC 7515 section 4.1.11); none is implemented.
    #[error("the token's header demands extensions (`crit`); none is accepted")]
    Critical,
    /// Brings a key or the place of one; keys come from the security coordinator only.
    #[error(
        "the token's header brings a key of its own (`{member}`); only the security coordinator's keys count"
    )]
    EmbeddedKey {
        /// The member of the header.
        member: &'static str,
    },
    /// The header names no key.
    #[error("the token's header names no key (`kid`)")]
    NoKid,
    /// The header names a key that is not in the key set.
    #[error(
        "the token is signed with key {kid:?}, which is not among the security coordinator's; ask for a new token"
    )]
    UnknownKey {
        /// The key.
        kid: String,
    },
    /// The key is in a state in which it verifies nothing.
    #[error(
        "the token is signed with key {kid:?}, which is neither next, active nor retiring; ask for a new token"
    )]
    KeyState {
        /// The key.
        kid: String,
    },
    /// The signature is not that of the key over header and claims.
    #[error("the token's signature is wrong: it was changed, or signed by somebody else")]
    Signature,
    /// A claim is missing (RFC 9068 section 2.2).
    #[error("the token has no claim `{name}`")]
    MissingClaim {
        /// Which.
        name: &'static str,
    },
    /// A claim is not what it must be.
    #[error("the token's claim `{name}` is not {want}")]
    ClaimForm {
        /// Which.
        name: &'static str,
        /// What it must be.
        want: &'static str,
    },
    /// Issued by somebody else.
    #[error("the token was issued by {found:?}, not by {want:?}", want = crate::ISSUER)]
    Issuer {
        /// What `iss` says.
        found: String,
    },
    /// Meant for somebody else.
    #[error("the token's audience is not {want:?} alone", want = crate::AUDIENCE)]
    Audience,
    /// Speaks for another than the one who sent it.
    #[error("the token speaks for {found:?}, not for {want:?}; a plugin can use its own token only")]
    Subject {
        /// What `sub` says.
        found: String,
        /// Who sent it.
        want: String,
    },
    /// The client is not the plugin that the token speaks for.
    #[error("the token's client is {found:?}, not the plugin {want:?}")]
    Client {
        /// What `client_id` says.
        found: String,
        /// The plugin.
        want: String,
    },
    /// Lives longer than any token may, or ends before it begins.
    #[error("the token lives for {seconds} s; 1 to {max} are accepted", max = crate::MAX_LIFETIME_SECONDS)]
    Lifetime {
        /// From `iat` to `exp`.
        seconds: i64,
    },
    /// `iat` lies ahead.
    #[error("the token was issued {ahead} s ahead of this machine's time; check the clocks")]
    IssuedAhead {
        /// How far, in seconds.
        ahead: i64,
    },
    /// `nbf` lies ahead.
    #[error("the token is not valid for another {ahead} s; check the clocks")]
    NotYetValid {
        /// How far, in seconds.
        ahead: i64,
    },
    /// `exp` is past.
    #[error("the token expired {ago} s ago; use the one that the token topic carries now")]
    Expired {
        /// How long, in seconds.
        ago: i64,
    },
    /// The plugin's start that the token belongs to is over.
    #[error(
        "the token belongs to start {sid}, whose tokens are revoked; use the one that the token topic carries now"
    )]
    RevokedSid {
        /// The start.
        sid: StartId,
    },
    /// The token itself is revoked.
    #[error("the token {jti:?} is revoked; use the one that the token topic carries now")]
    RevokedJti {
        /// The token's id.
        jti: String,
    },
}

impl Refusal {
    /// A short name that stays the same for ever, for answers, audit records and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotReady { .. } => "verifier_not_ready",
            Self::TooLarge { .. } => "too_large",
            Self::NotThreeParts => "not_three_parts",
            Self::Encoding { .. } => "encoding",
            Self::Malformed { .. } => "malformed",
            Self::Duplicate { .. } => "duplicate_member",
            Self::Algorithm { .. } => "algorithm",
            Self::Type { .. } => "type",
            Self::Critical => "critical",
            Self::EmbeddedKey { .. } => "embedded_key",
            Self::NoKid => "kid_missing",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyState { .. } => "key_state",
            Self::Signature => "signature",
            Self::MissingClaim { .. } => "claim_missing",
            Self::ClaimForm { .. } => "claim_form",
            Self::Issuer { .. } => "issuer",
            Self::Audience => "audience",
            Self::Subject { .. } => "subject",
            Self::Client { .. } => "client",
            Self::Lifetime { .. } => "lifetime",
            Self::IssuedAhead { .. } => "issued_ahead",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::RevokedSid { .. } => "revoked_sid",
            Self::RevokedJti { .. } => "revoked_jti",
        }
    }

    /// Whether the same token may be accepted later without anybody doing anything: keys or
    /// revocations are still on their way.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotReady { .. } | Self::UnknownKey { .. })
    }
}

/// The beginning of a text out of a token, short enough for a log line.
pub(crate) fn excerpt(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_cut_short_and_escaped() {
        let kid = excerpt(&format!("\u{1b}[2J\n{}", "é".repeat(500)));
        let shown = Refusal::UnknownKey { kid }.to_string();
        assert!(shown.chars().count() < 250, "{shown}");
        assert!(!shown.contains(['\u{1b}', '\n']), "{shown:?}");
    }
}
