//! What a registry asks for with 401 (RFC 7235 section 4.1, RFC 6750 section 3).

/// How a registry wants to be spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from another place.
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For whom; sent along.
        service: Option<String>,
    },
}

impl Challenge {
    /// The first challenge of a header that we can meet.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim_start().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        for (name, value) in Parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
        }
        realm.map(|realm| Self::Bearer { realm, service })
    }
}

/// `name="value", name=value …`
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', ',', '\t']);
        let (name, rest) = rest.split_once('=')?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find([',', ' ']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        self.0 = rest;
        Some((name.trim(), value))
    }
}

/// The inside of a quoted string, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_known_registries_are_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(str::to_owned),
        };
        assert_eq!(
            Challenge::parse(hub),
            Some(bearer("https://auth.docker.io/token", Some("registry.docker.io")))
        );
        assert_eq!(
            Challenge::parse("bearer realm=https://a/b , service=x"),
            Some(bearer("https://a/b", Some("x")))
        );
        assert_eq!(Challenge::parse(r#"Bearer realm="a\"b""#), Some(bearer("a\"b", None)));
        for basic in [r#"Basic realm="Registry Realm""#, "basic", "BASIC realm=x"] {
            assert_eq!(Challenge::parse(basic), Some(Challenge::Basic));
        }
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for header in [
            "",
            "Bearer",
            "Bearer service=x",
            "Bearer realm=\"open",
            "Bearer realm",
            "Digest realm=x",
            "Bearer \"",
            "Bearer realm=\"\\",
        ] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }
}
