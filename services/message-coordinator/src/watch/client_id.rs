//! Client ids: text that strangers choose.

use std::fmt;

use aws_lc_rs::digest;

/// Most bytes of an id that are kept.
const KEPT: usize = 256;
/// Most characters of an id that are shown.
const SHOWN: usize = 120;

/// A client id, told apart from every other one, in bounded memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId {
    /// The id, or its beginning.
    text: String,
    /// The digest of the whole, where the text is only its beginning.
    digest: Option<[u8; 16]>,
}

impl ClientId {
    pub(crate) fn new(id: &str) -> Self {
        if id.len() <= KEPT {
            return Self { text: id.to_owned(), digest: None };
        }
        let whole = digest::digest(&digest::SHA256, id.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&whole.as_ref()[..16]);
        let end = (0..=KEPT).rev().find(|at| id.is_char_boundary(*at)).unwrap_or_default();
        Self { text: id[..end].to_owned(), digest: Some(first) }
    }

    /// The whole id, where it is kept.
    pub(crate) fn whole(&self) -> Option<&str> {
        self.digest.is_none().then_some(self.text.as_str())
    }
}

/// For people: shortened, and with what cannot be seen escaped.
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(without_secret(&self.text)))?;
        if without_secret(&self.text).len() < self.text.len() {
            return f.write_str("…");
        }
        if self.digest.is_some() && self.text.chars().count() <= SHOWN { f.write_str("…") } else { Ok(()) }
    }
}

/// A coordinator's id without the part that nobody can guess: who knows it can push the coordinator off the broker.
fn without_secret(id: &str) -> &str {
    let is_secret = |part: &str| part.len() == 32 && part.bytes().all(|b| b.is_ascii_hexdigit());
    match id.rsplit_once('.') {
        Some((rest, last)) if is_secret(last) => &id[..=rest.len()],
        _ => id,
    }
}

/// Hostile text for people: shortened, and with characters escaped that cannot be seen, or turn the reading
/// direction.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN) {
        if matches!(c, '\'' | '"' | '\\') {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_bounded_and_stay_apart() {
        let (one, other) = ("ä".repeat(1000), format!("{}x", "ä".repeat(999)));
        let (one, other) = (ClientId::new(&one), ClientId::new(&other));
        assert_ne!(one, other);
        assert!(one.text.len() <= KEPT && one.whole().is_none());
        assert_ne!(ClientId::new(&one.text), one, "the beginning alone is another id");
        assert!(one.to_string().ends_with('…') && one.to_string().chars().count() == SHOWN + 1);
        assert_eq!(ClientId::new("focuser").whole(), Some("focuser"));
    }

    #[test]
    fn what_makes_a_coordinators_id_hard_to_guess_is_not_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let shown = |id: &str| ClientId::new(id).to_string();
        assert_eq!(shown(&format!("plugin.plugin-1a2b.requests.{secret}")), "plugin.plugin-1a2b.requests.…");
        assert_eq!(shown(&format!("message-1.administration.{secret}")), "message-1.administration.…");
        assert_eq!(shown("focuser"), "focuser");
        assert_eq!(shown("focuser.1.2"), "focuser.1.2");
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(shown("a\u{202e}b\u{7f}\n'☃'"), "a\\u{202e}b\\u{7f}\\n'☃'");
    }
}
