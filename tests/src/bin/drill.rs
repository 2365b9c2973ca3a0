//! `drill [--only PATTERN]... [--list]`: kills at every step of every operation; see `tests::drill`. In the end it does
//! mischief itself and sees that it notices.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use tests::drill::{Ground, Row, goes_unnoticed, rows, run};
use tests::stack::Stack;

/// Plugins that are drilled together.
const TOGETHER: usize = 6;

fn main() -> ExitCode {
    match drill() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drill: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn drill() -> Result<bool> {
    let (mut only, mut list) = (Vec::new(), false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--list" => list = true,
            "--only" => only.extend(words.next()),
            other => {
                anyhow::bail!("there is no argument {other:?}; usage: drill [--only PATTERN]... [--list]")
            }
        }
    }
    let wanted = |row: &Row| only.is_empty() || only.iter().any(|part| row.to_string().contains(part));
    let rows: Vec<Row> = rows().into_iter().filter(wanted).collect();
    ensure!(!rows.is_empty(), "no row has {only:?} in its name; see them with --list");
    if list {
        for row in &rows {
            println!("{row}");
        }
        return Ok(true);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let done = all(&rows).await;
        Stack::clear().await?;
        done
    })
}

async fn all(rows: &[Row]) -> Result<bool> {
    let begin = Instant::now();
    let stack = Stack::up().await?;
    let ground = Ground::prepare(&stack, TOGETHER.min(rows.len())).await?;
    println!("drill: {} rows; the framework is up after {} s", rows.len(), begin.elapsed().as_secs());
    let tally = run(&ground, rows, |report| println!("{report}")).await;
    if !tally.failed.is_empty() {
        println!("\nwhat did not hold:");
        for report in &tally.failed {
            println!("{report}");
        }
    }
    if !tally.missing.is_empty() {
        println!("drill: steps that are in no row: {}", tally.missing.join(", "));
    }
    let unnoticed = goes_unnoticed(&ground).await?;
    match unnoticed.is_empty() {
        true => println!(
            "\ndrill: its own mischief is noticed: a victim that stays dead, a second start, a container too many, another \
             configuration, data that is lost, a grant too few"
        ),
        false => println!("\ndrill: it cannot be believed: {}", unnoticed.join("; ")),
    }
    let (held, failed) = (tally.held, tally.failed.len());
    println!("drill: {held} hold, {failed} do not, of {} in {} s", rows.len(), begin.elapsed().as_secs());
    Ok(failed == 0 && tally.missing.is_empty() && unnoticed.is_empty())
}
