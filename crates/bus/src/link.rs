//! Whether the connection to the broker is up, as a value that can be watched.

/// State of the connection to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The broker has accepted the connection.
    Up {
        /// Counts the accepted connections of this [`crate::Bus`], from 1.
        epoch: u64,
        /// The broker kept the session: subscriptions and queued messages are still there
        /// (MQTT 5, 3.2.2.1.1).
        session_present: bool,
    },
    /// There is no connection; a new attempt follows by itself.
    Down {
        /// Why, in words for an operator.
        reason: String,
    },
}

impl Link {
    /// Whether the connection is up.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}
