//! Points: every call of a port is one, with a number. What becomes of it the seed decides: it is late, it fails
//! before or after its effect, or the coordinator is killed there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock;

/// A sequence of numbers that its seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of 0 to `below` - 1.
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.next() % below.max(1)
    }

    /// True in so many of 10,000 cases.
    pub(super) fn is(&mut self, of_10_000: u64) -> bool {
        self.below(10_000) < of_10_000
    }

    pub(super) fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let len = u64::try_from(of.len()).expect("a short list");
        &of[usize::try_from(self.below(len)).expect("a short list")]
    }

    /// Up to so long, in milliseconds.
    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).expect("not for ages");
        Duration::from_millis(self.below(millis + 1))
    }
}

/// How often what happens, of 10,000 points.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) crashes: u64,
    pub(super) failures: u64,
    pub(super) late: u64,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    KilledBefore,
    KilledAfter,
    Fails,
    /// It has its effect, and the caller is told that it failed.
    LosesAnswer,
}

/// How a call failed: without an effect, or with one that the caller is not told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Before,
    After,
}

/// All points of a run.
#[derive(Clone)]
pub(super) struct Points {
    inner: Arc<Mutex<Inner>>,
    ended: Arc<Notify>,
}

struct Inner {
    chance: Chance,
    weather: Weather,
    count: u64,
    /// Differs when anything happened in another order.
    fingerprint: u64,
    broken: Option<String>,
    /// What happened, when it is wanted.
    story: Option<Vec<String>>,
}

impl Points {
    pub(super) fn new(seed: u64, told: bool) -> Self {
        let inner = Inner {
            chance: Chance::new(seed),
            weather: Weather::default(),
            count: 0,
            fingerprint: 0,
            broken: None,
            story: told.then(Vec::new),
        };
        Self { inner: Arc::new(Mutex::new(inner)), ended: Arc::new(Notify::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets chance decide.
    pub(super) fn chance<T>(&self, decide: impl FnOnce(&mut Chance) -> T) -> T {
        decide(&mut self.lock().chance)
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// Tells what happens, when that is wanted.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        let mut inner = self.lock();
        let number = inner.count;
        if let Some(story) = &mut inner.story {
            story.push(format!("{} #{number:<5} {}", clock::now(), what()));
        }
    }

    /// What happened, line by line.
    pub(super) fn story(&self) -> Vec<String> {
        self.lock().story.clone().unwrap_or_default()
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.lock().fingerprint
    }

    /// Something is not as it must be: nothing more is done.
    pub(super) fn breaks(&self, what: String) {
        self.tell(|| format!("BROKEN: {what}"));
        self.lock().broken.get_or_insert(what);
        self.ended.notify_one();
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Waits until the coordinator is killed, or something is broken.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Kills the coordinator here: this never comes back.
    async fn kill(&self, point: &str, on: &str) {
        self.tell(|| format!("{point} {on}: KILLED"));
        self.ended.notify_one();
        std::future::pending::<()>().await;
    }

    fn arrive(&self, point: &str, on: &str) -> (Fate, Option<Duration>) {
        let mut inner = self.lock();
        inner.count += 1;
        let (now, mut hash) = (clock::now().as_millis(), inner.fingerprint);
        for byte in point.bytes().chain(on.bytes()).chain(now.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.fingerprint = hash;
        let weather = inner.weather;
        let chance = &mut inner.chance;
        let late = chance.is(weather.late).then(|| match chance.below(20) {
            0 => chance.up_to(Duration::from_secs(40)),
            1..4 => chance.up_to(Duration::from_secs(2)),
            _ => chance.up_to(Duration::from_millis(20)),
        });
        let fate = match (chance.is(weather.crashes), chance.is(weather.failures), chance.below(2)) {
            (true, _, 0) => Fate::KilledBefore,
            (true, ..) => Fate::KilledAfter,
            (false, true, 0) => Fate::Fails,
            (false, true, _) => Fate::LosesAnswer,
            (false, false, _) => Fate::Good,
        };
        (fate, late)
    }

    /// One call of a port. `after` looks at what there is once it has had its effect.
    pub(super) async fn call<T, E>(
        &self,
        point: &'static str,
        on: &str,
        fails: impl Fn(Failure) -> E,
        effect: impl Future<Output = Result<T, E>>,
        after: impl FnOnce(),
    ) -> Result<T, E> {
        let passage = self.before(point, on).await;
        if passage.fate == Fate::Fails {
            return Err(fails(Failure::Before));
        }
        let result = effect.await;
        after();
        self.after(point, on, &passage).await.map_err(fails)?;
        result
    }

    /// The first half of a call.
    pub(super) async fn before(&self, point: &str, on: &str) -> Passage {
        let (fate, late) = self.arrive(point, on);
        self.tell(|| match (fate, late) {
            (Fate::Good, None) => format!("{point} {on}"),
            (Fate::Good, Some(late)) => format!("{point} {on}: {} ms late", late.as_millis()),
            (fate, _) => format!("{point} {on}: {fate:?}"),
        });
        let late = match late {
            Some(late) if self.chance(|c| c.below(2)) == 0 => {
                tokio::time::sleep(late).await;
                None
            }
            late => late,
        };
        if fate == Fate::KilledBefore {
            self.kill(point, on).await;
        }
        Passage { fate, late }
    }

    /// The second half of a call that had its effect.
    ///
    /// # Errors
    /// Its answer is lost.
    pub(super) async fn after(&self, point: &str, on: &str, passage: &Passage) -> Result<(), Failure> {
        if passage.fate == Fate::KilledAfter {
            self.kill(point, on).await;
        }
        if let Some(late) = passage.late {
            tokio::time::sleep(late).await;
        }
        if passage.fate == Fate::LosesAnswer { Err(Failure::After) } else { Ok(()) }
    }
}

/// What was decided of a call at its beginning.
#[derive(Debug)]
pub(super) struct Passage {
    fate: Fate,
    late: Option<Duration>,
}

impl Passage {
    pub(super) fn fails(&self) -> bool {
        self.fate == Fate::Fails
    }
}
