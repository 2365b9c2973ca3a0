//! How often each principal may ask: a token bucket for each. What comes over it costs no database write, and
//! little else.
//!
//! Reads no clock: the caller says what time it is.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use envelope::{ErrorBody, ErrorCode, Principal};
use serde_json::json;
use tokio::time::Instant;

use crate::config::RequestSettings;
use crate::rate::{Flood, TokenBucket};

/// How often [`Floods::sweep`] is to be called.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);
/// A principal is told at most this often that it asks too often.
const ANSWERED: Duration = Duration::from_secs(1);
/// What is refused is written to the audit trail at most this often.
const AUDITED: Duration = Duration::from_secs(10);
/// A flood is an event at most this often.
const TOLD: Duration = Duration::from_secs(60);
/// Most principals that are remembered. The broker lets nobody write topics of a principal that it has no
/// login for, so this is never reached but by an installation that is as large.
const MOST: usize = 4096;

/// What a principal may ask, and how often it may go on asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    per_second: u32,
    burst: u32,
}

/// The buckets of all principals.
#[derive(Debug)]
pub(crate) struct Floods {
    settings: RequestSettings,
    buckets: BTreeMap<Principal, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: TokenBucket,
    seen: Instant,
    /// Cloned into each request that waits for its turn.
    in_hand: Arc<()>,
    /// What the last request over the bound asked for.
    operation: String,
    /// Refused since the last record, and since the last event.
    unaudited: u32,
    untold: u64,
    answered: Option<Instant>,
    audited: Option<Instant>,
    told: Option<Instant>,
    flood: Flood,
}

/// Stands for a request that was let in, until it is dropped.
#[derive(Debug)]
pub(crate) struct InHand {
    _one: Arc<()>,
}

/// Whether a request is let in.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is.
    In(InHand),
    /// It is not; to be answered with this, or with nothing when an answer has just been given.
    Over(Option<ErrorBody>),
}

/// What is to be said of a principal that asked too often.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) principal: Principal,
    /// What it asked for last.
    pub(crate) operation: String,
    /// For the audit trail: requests that were refused and are in no record yet.
    pub(crate) refused: u32,
    /// For an event: requests that were refused since the last one.
    pub(crate) event: Option<u64>,
    /// Whether the service is to hear that it does not stop.
    pub(crate) sustained: bool,
}

impl Floods {
    pub(crate) fn new(settings: RequestSettings) -> Self {
        Self { settings, buckets: BTreeMap::new() }
    }

    /// Lets a request of `principal` in, or not.
    pub(crate) fn knock(&mut self, principal: &Principal, operation: &str, now: Instant) -> Admission {
        let rate = self.rate(principal);
        if !self.buckets.contains_key(principal) && self.buckets.len() >= MOST {
            self.forget_one();
        }
        let bucket = self.buckets.entry(principal.clone()).or_insert_with(|| Bucket::full(rate, now));
        bucket.seen = now;
        if bucket.tokens.holds_one(now) && bucket.waiting() < rate.burst as usize {
            bucket.tokens.take_one();
            return Admission::In(InHand { _one: bucket.in_hand.clone() });
        }
        bucket.refuse(operation, now);
        let due = bucket.answered.is_none_or(|at| now.duration_since(at) >= ANSWERED);
        Admission::Over(due.then(|| {
            bucket.answered = Some(now);
            too_many(rate)
        }))
    }

    /// What is to be said now, and forgets principals that have kept quiet. At the `last` call everything is
    /// said that is in no record yet.
    pub(crate) fn sweep(&mut self, now: Instant, last: bool) -> Vec<Report> {
        let mut reports = Vec::new();
        for (principal, bucket) in &mut self.buckets {
            let due =
                |at: Option<Instant>, every| last || at.is_none_or(|at| now.duration_since(at) >= every);
            let mut report = Report {
                principal: principal.clone(),
                operation: bucket.operation.clone(),
                refused: 0,
                event: None,
                sustained: bucket.flood.is_lasting(now),
            };
            if bucket.unaudited > 0 && due(bucket.audited, AUDITED) {
                report.refused = std::mem::take(&mut bucket.unaudited);
                bucket.audited = Some(now);
            }
            if bucket.untold > 0 && due(bucket.told, TOLD) {
                report.event = Some(std::mem::take(&mut bucket.untold));
                bucket.told = Some(now);
            }
            if report.refused > 0 || report.event.is_some() || report.sustained {
                reports.push(report);
            }
        }
        self.buckets.retain(|_, bucket| !bucket.is_idle(now));
        reports
    }

    fn rate(&self, principal: &Principal) -> Rate {
        let s = &self.settings;
        match principal {
            Principal::Plugin(_) => Rate { per_second: s.plugin_per_second, burst: s.plugin_burst },
            _ => Rate { per_second: s.operator_per_second, burst: s.operator_burst },
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.seen).map(|(p, _)| p.clone());
        if let Some(oldest) = oldest {
            self.buckets.remove(&oldest);
        }
    }
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self {
            tokens: TokenBucket::full(rate.per_second, rate.burst, now),
            seen: now,
            in_hand: Arc::default(),
            operation: String::new(),
            unaudited: 0,
            untold: 0,
            answered: None,
            audited: None,
            told: None,
            flood: Flood::default(),
        }
    }

    /// Requests that were let in and wait for their turn, or have it.
    fn waiting(&self) -> usize {
        Arc::strong_count(&self.in_hand) - 1
    }

    fn refuse(&mut self, operation: &str, now: Instant) {
        operation.clone_into(&mut self.operation);
        self.unaudited = self.unaudited.saturating_add(1);
        self.untold = self.untold.saturating_add(1);
        self.flood.over(now);
    }

    /// Whether nothing is lost when it is forgotten: a new bucket would be the same.
    fn is_idle(&self, now: Instant) -> bool {
        let quiet = |at: Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= TOLD);
        self.tokens.is_full(now)
            && self.waiting() == 0
            && self.unaudited == 0
            && self.untold == 0
            && quiet(self.told)
    }
}

fn too_many(rate: Rate) -> ErrorBody {
    let Rate { per_second, burst } = rate;
    ErrorBody::new(
        ErrorCode::TooManyRequests,
        format!(
            "You ask more often than is taken: {per_second} requests a second, and {burst} at once. This request \
             was not carried out, and others that you make now are not even answered. Wait for the answers \
             that are due, then ask less often."
        ),
    )
    .with_details(json!({"per_second": per_second, "burst": burst, "retry_after_seconds": 1}))
}
