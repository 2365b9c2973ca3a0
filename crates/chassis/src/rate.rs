//! How often something may happen, and whether what comes over that goes on: what bounds of requests and of
//! messages are made of.
//!
//! Reads no clock: the caller says what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// A pause that ends a flood.
const PAUSE: Duration = Duration::from_secs(2);
/// For how long a flood must have gone on before that is said, and how long until it is said again.
const LASTING: Duration = Duration::from_secs(10);

/// A token bucket: it holds as much as may come at once, and fills at the rate that may last.
#[derive(Debug)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    tokens: f64,
    seen: Instant,
}

impl TokenBucket {
    /// A full one.
    pub fn full(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { per_second, burst, tokens: f64::from(burst), seen: now }
    }

    /// Whether one more may come now.
    pub fn holds_one(&mut self, now: Instant) -> bool {
        self.tokens = self.filled(now);
        self.seen = now;
        self.tokens >= 1.0
    }

    /// Takes what [`holds_one`](Self::holds_one) has found.
    pub fn take_one(&mut self) {
        self.tokens -= 1.0;
    }

    /// Whether it is as a new one would be.
    pub fn is_full(&self, now: Instant) -> bool {
        self.filled(now) >= f64::from(self.burst)
    }

    fn filled(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.seen).as_secs_f64();
        (self.tokens + since * f64::from(self.per_second)).min(f64::from(self.burst))
    }
}

/// What comes over a bound without a pause.
#[derive(Debug, Default)]
pub struct Flood {
    /// When the first and the last came.
    span: Option<(Instant, Instant)>,
    /// When it was last said that it goes on.
    said: Option<Instant>,
}

impl Flood {
    /// One has come over the bound. Answers whether a flood begins with it.
    pub fn over(&mut self, now: Instant) -> bool {
        let first = self.span.filter(|(_, last)| now.saturating_duration_since(*last) <= PAUSE);
        self.span = Some((first.map_or(now, |(first, _)| first), now));
        first.is_none()
    }

    /// Whether it has gone on for 10 seconds, and nobody was told for as long. Who asks is told.
    pub fn is_lasting(&mut self, now: Instant) -> bool {
        let lasting = self.span.is_some_and(|(first, last)| {
            now.saturating_duration_since(last) <= PAUSE && last.duration_since(first) >= LASTING
        });
        let due = self.said.is_none_or(|at| now.saturating_duration_since(at) >= LASTING);
        if lasting && due {
            self.said = Some(now);
        }
        lasting && due
    }

    /// How long it has gone on.
    pub fn lasts(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }
}
