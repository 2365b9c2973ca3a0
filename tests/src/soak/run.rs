//! A whole soak.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use envelope::PluginId;
use tokio::signal::unix::{SignalKind, signal};

use super::caller::work;
use super::calm::calm;
use super::dice::Dice;
use super::doubt::{self, Tried};
use super::field::Field;
use super::gauge::Gauge;
use super::mischief::{self, Deed};
use super::report::{self, About};
use super::{logs, watch};
use crate::repository::root;
use crate::stack::Stack;

/// Callers who ask at the same time, each with two connections.
const CALLERS: u64 = 4;
/// Time between quiet times.
const STIR: Duration = Duration::from_secs(150);

/// How long, and with which choices.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// How long operations and mischief go on.
    pub time: Duration,
    /// What choices come from.
    pub seed: u64,
    /// Whether the engine is never killed.
    pub spare_engine: bool,
}

/// Goes through a soak; prints its report and leaves it in `.cache/soak-report.md`. Whether nothing was violated, and
/// what must be noticed was.
///
/// # Errors
/// It could not begin.
pub async fn run(stack: Stack, length: Length) -> Result<bool> {
    let Length { time, seed, spare_engine } = length;
    let field = Arc::new(Field::prepare(stack).await?);
    let gauge = Gauge::new(&field.stack).await?;
    let begin = Instant::now();
    println!("soak: {} minutes with the seed {seed}", time.as_secs() / 60);
    let watching = tokio::spawn(watch::watch(Arc::clone(&field), gauge));
    let mut callers = Vec::new();
    for who in 1..=CALLERS {
        callers.push(tokio::spawn(work(Arc::clone(&field), Dice::new(seed, who))));
    }
    let interrupted = tokio::spawn(interrupted(Arc::clone(&field)));
    let mut trouble = Vec::new();
    let mut dice = Dice::new(seed, 0);
    if let Err(error) = stir(&field, &mut dice, begin + time, spare_engine).await {
        trouble.push(format!("{error:#}"));
    }
    let lasted = begin.elapsed();
    let early = field.ends();
    field.end();
    interrupted.abort();
    for caller in callers {
        match caller.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => trouble.push(format!("{error:#}")),
            Err(error) => trouble.push(format!("a caller ended: {error}")),
        }
    }
    if let Err(error) = calm(&field, &mut dice).await {
        trouble.push(format!("{error:#}"));
    }
    watching.await.context("nobody watched")?.read(&field).await;
    let violated = !field.book.pages().violations.is_empty();
    if violated && let Err(error) = logs::save(&field.stack).await {
        trouble.push(format!("logs were not saved: {error:#}"));
    }
    let tried: Tried = match doubt::goes_unnoticed(&field).await {
        Ok(tried) => tried,
        Err(error) => {
            trouble.push(format!("whether it would notice was not tried: {error:#}"));
            Vec::new()
        }
    };
    let about = About { seed, lasted, interrupted: early, tried: &tried, trouble: &trouble };
    let text = report::text(&field.book.pages(), &about);
    println!("\n{text}");
    let file = root().join(".cache/soak-report.md");
    std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(!violated && trouble.is_empty() && tried.iter().all(|(_, noticed)| *noticed))
}

/// Mischief, and quiet times, until the end.
async fn stir(field: &Field, dice: &mut Dice, end: Instant, spare_engine: bool) -> Result<()> {
    let plugins: Vec<PluginId> = field.subjects.iter().map(|subject| subject.id.clone()).collect();
    let left = || end.saturating_duration_since(Instant::now());
    let mut quiet = Instant::now();
    while !field.ends() && !left().is_zero() {
        field.pause(dice.seconds(15, 45).min(left())).await;
        let deeds = Deed::choose(dice, &plugins, spare_engine);
        if field.ends() || left().is_zero() {
            break;
        }
        mischief::go(field, &deeds).await;
        if quiet.elapsed() > STIR && !field.ends() && !left().is_zero() {
            calm(field, dice).await?;
            quiet = Instant::now();
        }
    }
    Ok(())
}

/// Ends the field when somebody wants this process to end.
async fn interrupted(field: Arc<Field>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("soak: ends early; what goes on is waited for");
    field.end();
}
