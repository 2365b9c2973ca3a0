//! A wave: rows with the same victim, each on a plugin of its own, and one kill for all.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use envelope::{Operation, PluginId};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::equipment;
use super::found::{self, Found, What};
use super::ground::Ground;
use super::holds::Holds;
use super::subject::{Subject, topic_grant};
use super::table::{Away, Row, Victim, rows};
use super::victim;
use crate::stack::bystander::Sameness;
use crate::stack::ledger::Count;

/// How long a removal may take.
const REMOVES: Duration = Duration::from_secs(90);
/// How long is waited for what cannot come.
const VAIN: Duration = Duration::from_secs(3);
/// How long it may take until a step is reached.
const REACH: Duration = Duration::from_secs(30);

/// What was found of one row.
#[derive(Debug)]
pub struct Report {
    /// The row.
    pub row: Row,
    /// What was found.
    pub found: Found,
    /// How long it took, with what others in its wave took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.found.is_well() { "ok  " } else { "FAIL" };
        let (row, took) = (self.row.to_string(), self.took.as_secs_f64());
        write!(f, "{verdict} {row:<52} {} | {took:.1} s", self.found)
    }
}

/// What the drill does wrong itself, so that it is seen whether it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing.
    None,
    /// Who was killed is not started again.
    StaysDead,
    /// Processes are started once more, and a container is left over.
    Meddles,
    /// Data is taken away, and another configuration is given than the row's.
    Alters,
    /// What the row has given is taken back.
    Revokes,
}

/// Goes through the rows of a wave: they have the same victim, and need the message coordinator or do not.
pub async fn wave(ground: &Ground<'_>, rows: &[Row], mischief: Mischief) -> Vec<Report> {
    let begin = Instant::now();
    let report = |row: &Row, found| Report { row: *row, found, took: begin.elapsed() };
    let Some(first) = rows.first() else { return Vec::new() };
    let all = |error: anyhow::Error| {
        let why = format!("{error:#}");
        rows.iter().map(|row| report(row, Found(vec![(What::Reached, Err(anyhow!(why.clone())))]))).collect()
    };
    match go(ground, rows, first, mischief).await {
        Ok(found) => rows.iter().zip(found).map(|(row, found)| report(row, found)).collect(),
        Err(error) => all(error),
    }
}

async fn go(ground: &Ground<'_>, rows: &[Row], first: &Row, mischief: Mischief) -> Result<Vec<Found>> {
    let (stack, victim) = (ground.stack, first.victim);
    let away = first.scenario.away;
    if away == Away::FromTheBeginning {
        ground.kill(Victim::Message).await?;
    }
    let brought = rows.iter().zip(&ground.images).map(|(row, images)| Subject::bring(stack, *row, images));
    let mut subjects: Vec<Result<Subject>> = join_all(brought).await;
    if away == Away::FromTheRequest {
        ground.kill(Victim::Message).await?;
    }
    let before: Vec<Count> = subjects.iter().map(|s| count(ground, s)).collect();
    let same = ground.bystander.look(stack).await?;
    let points: Vec<(PluginId, String)> =
        subjects.iter().flatten().map(|s| (s.id.clone(), s.row.point())).collect();
    let holds = Holds::set(stack, &points).await?;
    let held = subjects.iter_mut().map(|subject| ask(&holds, subject));
    let held: Vec<Result<()>> = join_all(held).await;

    for subject in subjects.iter_mut().flatten() {
        subject.ran_at_kill = runs(ground, &subject.id).await?;
    }
    if away == Away::Never || victim != Victim::Message {
        ground.kill(victim).await?;
    }
    if mischief != Mischief::StaysDead {
        ground.start(victim).await?;
    }
    if away != Away::Never && victim != Victim::Message {
        ground.start(Victim::Message).await?;
    }
    if victim != Victim::Plugin {
        holds.release(stack).await?;
    }

    if mischief != Mischief::None {
        for subject in subjects.iter_mut().flatten() {
            meddle(ground, subject, mischief).await?;
        }
    }
    let looked = subjects.iter_mut().zip(before).map(|(subject, before)| see(ground, subject, before));
    let mut found: Vec<Found> = join_all(looked).await;
    if mischief == Mischief::StaysDead {
        ground.start(victim).await?;
    }
    let others = others(ground, &same, victim).await;
    let cleared = subjects.iter_mut().map(|subject| clear(ground, subject));
    let cleared = join_all(cleared).await;
    for (((found, held), others), cleared) in found.iter_mut().zip(held).zip(repeat(others)).zip(cleared) {
        if let Err(error) = held {
            found.0.insert(0, (What::Reached, Err(error)));
        }
        let others = others.map_err(|why| anyhow!(why)).map(|()| "others untouched".to_owned());
        found.0.push((What::Others, others));
        if let Err(error) = cleared {
            found.0.push((What::Removed, Err(error)));
        }
    }
    Ok(found)
}

fn repeat(others: Result<()>) -> impl Iterator<Item = Result<(), String>> {
    std::iter::repeat(others.map_err(|error| format!("{error:#}")))
}

async fn runs(ground: &Ground<'_>, id: &PluginId) -> Result<bool> {
    let container = ground.stack.plugin_container(id).await?;
    Ok(container.is_some_and(|container| container["State"]["Running"] == true))
}

fn count(ground: &Ground<'_>, subject: &Result<Subject>) -> Count {
    subject.as_ref().map(|subject| ground.ledger.count(&subject.id)).unwrap_or_default()
}

/// Asks for what the row is about, and waits until the coordinator holds at its point.
async fn ask(holds: &Holds, subject: &mut Result<Subject>) -> Result<()> {
    // What was not brought to where it begins says so itself.
    let Ok(subject) = subject else { return Ok(()) };
    subject.requester.send(&subject.asked).await?;
    if subject.row.scenario.cancelled {
        subject.cancel(REACH).await?;
    }
    holds.reached(&subject.id, &subject.row.point(), REACH).await
}

async fn see(ground: &Ground<'_>, subject: &mut Result<Subject>, before: Count) -> Found {
    match subject {
        Ok(subject) => found::look(ground, subject, before).await,
        Err(error) => {
            let why = anyhow!("it did not come to where the row begins: {error:#}");
            Found(vec![(What::Reached, Err(why))])
        }
    }
}

async fn others(ground: &Ground<'_>, before: &Sameness, victim: Victim) -> Result<()> {
    match victim {
        Victim::Engine => ground.bystander.returned(ground.stack, before).await,
        victim => ground.bystander.untouched(ground.stack, before, victim.is_alone()).await,
    }
}

async fn clear(ground: &Ground<'_>, subject: &mut Result<Subject>) -> Result<()> {
    match subject {
        Ok(subject) => {
            subject.requester.patience = REMOVES;
            found::clear(&mut subject.requester, &subject.id).await?;
            found::clear_data(ground, subject).await
        }
        Err(_) => Ok(()),
    }
}

/// Does what must be noticed.
async fn meddle(ground: &Ground<'_>, subject: &mut Subject, mischief: Mischief) -> Result<()> {
    let id = &subject.id;
    if mischief != Mischief::StaysDead {
        subject.requester.answers(&subject.asked, 1).await?;
    }
    match mischief {
        Mischief::None | Mischief::StaysDead => {}
        Mischief::Meddles => ground.meddle(id).await?,
        Mischief::Alters => {
            equipment::lose_data(ground.stack, id).await?;
            let config = json!({"plugin_id": id, "config": {"of": "mischief"}});
            subject.requester.must(Operation::Config, config).await?;
        }
        Mischief::Revokes => {
            let grant = json!({"plugin_id": id, "grant": topic_grant()});
            subject.requester.must(Operation::RevokeGrant, grant).await?;
        }
    }
    subject.requester.patience = VAIN;
    Ok(())
}

/// The checks that do not notice what they must: none, if the drill can be believed.
///
/// # Errors
/// There is nothing to try it on.
pub async fn goes_unnoticed(ground: &Ground<'_>) -> Result<Vec<String>> {
    let mut unnoticed = Vec::new();
    let mut tried = vec![
        ("start/prepare/before/security", Mischief::StaysDead, &[What::Converged, What::Outcome][..]),
        ("start/begin/before/plugin", Mischief::Meddles, &[What::Left, What::Once, What::Others]),
        ("config/begin/before/plugin", Mischief::Alters, &[What::Equipped, What::Data]),
        ("approve/begin/before/plugin", Mischief::Revokes, &[What::Equipped]),
    ];
    if victim::has_engine() {
        // No process ran before it: a second start cannot be the engine's doing.
        tried.push(("start/begin/before/engine", Mischief::Meddles, &[What::Once]));
    }
    for (name, mischief, must) in tried {
        let row = rows().into_iter().find(|row| row.to_string() == name);
        let row = row.with_context(|| format!("there is no row {name}"))?;
        for report in wave(ground, &[row], mischief).await {
            let missed = must.iter().filter(|what| !report.found.is_wrong(**what));
            unnoticed.extend(missed.map(|what| format!("{mischief:?} is not noticed by {what:?}: {report}")));
        }
    }
    Ok(unnoticed)
}
