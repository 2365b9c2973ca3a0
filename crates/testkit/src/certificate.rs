//! A certificate for a listener on loopback.

/// A certificate that vouches for itself, with its key; both PEM.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
}

impl Certificate {
    /// Makes one for `localhost` and `127.0.0.1`.
    pub(crate) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)
            .unwrap_or_else(|error| panic!("no certificate can be made: {error}"));
        Self { pem: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}
