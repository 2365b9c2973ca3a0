//! What is done to the framework: its processes are killed, stopped and frozen, and plugins' containers meddled with.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use envelope::PluginId;
use tokio::time::sleep;

use super::book::Fault;
use super::dice::Dice;
use super::field::Field;
use super::watch;
use crate::drill::Victim;
use crate::stack::COORDINATORS;
use crate::stack::command::Run;

/// How long all coordinators may take to be healthy once everything runs again.
pub(super) const RECOVERS: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(300);

const DONE: &str = "mischief can be done, and what was taken away comes back";
const HEALTHY: &str = "all coordinators get healthy again";

/// One thing that is done.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// SIGKILL, and started again at once.
    Kill(Victim),
    /// Stopped or killed, and started again after a while.
    Away { victim: Victim, kindly: bool, time: Duration },
    /// Frozen for a while.
    Freeze(Duration),
    /// Something is done to a plugin's container.
    Container(PluginId, Meddle),
}

/// What is done to a plugin's container behind the framework's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meddle {
    Kill,
    Pause,
    Stop,
    Remove,
}

impl Deed {
    /// Chooses one, and sometimes another that comes at the same time. The engine is spared where that is wanted.
    pub(super) fn choose(dice: &mut Dice, plugins: &[PluginId], spare_engine: bool) -> Vec<Self> {
        let first = Self::one(dice, plugins, spare_engine);
        let second = dice.percent(33).then(|| Self::one(dice, plugins, spare_engine));
        // Whoever is away twice is away once; and without the engine nothing else can be done.
        let second = second.filter(|second| {
            first.touches() != second.touches()
                && [&first, second].iter().all(|deed| deed.touches() != Some(Victim::Engine))
        });
        [Some(first), second].into_iter().flatten().collect()
    }

    fn one(dice: &mut Dice, plugins: &[PluginId], spare_engine: bool) -> Self {
        let victims = [Victim::Plugin, Victim::Message, Victim::Security, Victim::Broker];
        let victim = victims[dice.below(4) as usize];
        let time = dice.seconds(5, 40);
        let kindly = dice.percent(50);
        let plugin = &plugins[dice.below(plugins.len() as u64) as usize];
        let meddle = [Meddle::Kill, Meddle::Pause, Meddle::Stop, Meddle::Remove][dice.below(4) as usize];
        let engine = Self::Away { victim: Victim::Engine, kindly: false, time: dice.seconds(0, 15) };
        match dice.weighted(&[(6, 0), (6, 1), (3, 2), (6, 3), (u64::from(!spare_engine), 4)]) {
            Some(0) => Self::Kill(victim),
            Some(1) => Self::Away { victim, kindly, time },
            Some(2) => Self::Freeze(time),
            Some(4) => engine,
            _ => Self::Container(plugin.clone(), meddle),
        }
    }

    fn touches(&self) -> Option<Victim> {
        match self {
            Self::Kill(victim) | Self::Away { victim, .. } => Some(*victim),
            Self::Freeze(_) => Some(Victim::Broker),
            Self::Container(..) => None,
        }
    }

    /// As it is counted.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Kill(victim) => format!("kill {}", victim.name()),
            Self::Away { victim: Victim::Engine, .. } => "kill engine".to_owned(),
            Self::Away { victim, kindly: true, .. } => format!("stop {} for a while", victim.name()),
            Self::Away { victim, .. } => format!("kill {} for a while", victim.name()),
            Self::Freeze(_) => "freeze broker for a while".to_owned(),
            Self::Container(_, meddle) => format!("{meddle:?} a plugin's container").to_lowercase(),
        }
    }

    async fn carry_out(&self, field: &Field) -> Result<()> {
        let stack = &field.stack;
        match self {
            Self::Kill(victim) => {
                victim.kill(stack).await?;
                victim.start(stack).await
            }
            Self::Away { victim, kindly, time } => {
                match victim.service().filter(|_| *kindly) {
                    Some(service) => drop(Run::docker(["stop", &stack.container(service)]).ok().await?),
                    None => victim.kill(stack).await?,
                }
                sleep(*time).await;
                victim.start(stack).await
            }
            Self::Freeze(time) => {
                let broker = stack.container("mqtt-broker");
                Run::docker(["pause", &broker]).ok().await?;
                sleep(*time).await;
                Run::docker(["unpause", &broker]).ok().await?;
                Ok(())
            }
            Self::Container(id, meddle) => {
                let words: &[&str] = match meddle {
                    Meddle::Kill => &["kill"],
                    Meddle::Pause => &["pause"],
                    Meddle::Stop => &["stop", "--time", "2"],
                    Meddle::Remove => &["rm", "--force"],
                };
                for container in stack.containers_of(id, "plugin").await? {
                    // The framework may be quicker: then there is nothing to meddle with.
                    Run::docker(words.iter().copied().chain([container.as_str()])).output().await?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away { time, .. } | Self::Freeze(time) => {
                write!(f, "{} ({:.1} s)", self.kind(), time.as_secs_f64())
            }
            Self::Container(id, _) => write!(f, "{} ({id})", self.kind()),
            Self::Kill(_) => write!(f, "{}", self.kind()),
        }
    }
}

/// Does these things at the same time, and waits until all coordinators are healthy.
pub(super) async fn go(field: &Field, deeds: &[Deed]) {
    let shown: Vec<String> = deeds.iter().map(Deed::to_string).collect();
    println!("{:>5} s  {}", field.book.now().as_secs(), shown.join(", and "));
    let done = match deeds {
        [one] => one.with_trouble(field).await,
        [one, other] => {
            let (one, other) = tokio::join!(one.with_trouble(field), other.with_trouble(field));
            one.and(other)
        }
        _ => Ok(()),
    };
    match done {
        Ok(()) => field.book.held(DONE),
        Err(error) => field.book.violated(Fault::new(DONE, shown.join(", and "), format!("{error:#}"))),
    }
    let took = recovered(field).await;
    let mut pages = field.book.pages();
    for deed in deeds {
        pages.mischief.entry(deed.kind()).or_default().push(took);
    }
}

impl Deed {
    async fn with_trouble(&self, field: &Field) -> Result<()> {
        let whom = match self {
            Self::Container(id, _) => Some(id.clone()),
            _ => None,
        };
        field.book.trouble(whom.clone());
        let done = if self.touches() == Some(Victim::Engine) {
            let _nobody_asks_it = field.engine.write().await;
            let before = watch::look_at_bystanders(field).await;
            field.engine_kills.fetch_add(1, Ordering::Relaxed);
            let done = self.carry_out(field).await;
            watch::bystanders_return(field, &before).await;
            done
        } else {
            let _asks_the_engine = field.engine.read().await;
            self.carry_out(field).await
        };
        field.book.over(&whom);
        done
    }
}

/// How long all coordinators took to be healthy; none when they were not for too long.
async fn recovered(field: &Field) -> Option<Duration> {
    let begin = Instant::now();
    loop {
        let mut sick = Vec::new();
        for (service, _) in COORDINATORS {
            let said = field.stack.health_of(service).await;
            if said != "healthy" {
                sick.push(format!("{service}: {said}"));
            }
        }
        if sick.is_empty() {
            field.book.held(HEALTHY);
            return Some(begin.elapsed());
        }
        if begin.elapsed() > RECOVERS {
            field.book.violated(Fault::new(HEALTHY, format!("health within {RECOVERS:?}"), sick.join("; ")));
            return None;
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_is_done_sooner_or_later_and_nothing_beside_a_dead_engine() {
        let plugins = [PluginId::parse("one").expect("an id")];
        let (mut dice, mut kinds, mut pairs) = (Dice::new(1, 1), BTreeSet::new(), 0);
        for _ in 0..2000 {
            let deeds = Deed::choose(&mut dice, &plugins, false);
            kinds.extend(deeds.iter().map(Deed::kind));
            pairs += usize::from(deeds.len() == 2);
            let engine = deeds.iter().any(|deed| deed.touches() == Some(Victim::Engine));
            assert!(!engine || deeds.len() == 1, "{deeds:?}");
        }
        assert!(pairs > 100, "{pairs} pairs");
        // Three of each of four services, the frozen broker, the engine, four of a container.
        assert_eq!(kinds.len(), 18, "{kinds:?}");
        let mut spared = (0..2000).flat_map(|_| Deed::choose(&mut dice, &plugins, true));
        assert!(spared.all(|deed| deed.touches() != Some(Victim::Engine)));
    }
}
