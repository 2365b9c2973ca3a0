//! `soak [--minutes N] [--seed N] [--spare-engine]`: random operations and mischief for so long; see `tests::soak`.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tests::soak::{Length, run};
use tests::stack::Stack;

const USAGE: &str = "usage: soak [--minutes N] [--seed N] [--spare-engine]";

fn main() -> ExitCode {
    match soak() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<bool> {
    let (mut minutes, mut seed, mut spare_engine) = (60, None, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--minutes" => minutes = number(&word, words.next())?,
            "--seed" => seed = Some(number(&word, words.next())?),
            "--spare-engine" => spare_engine = true,
            other => bail!("there is no argument {other:?}; {USAGE}"),
        }
    }
    ensure!((1..=7 * 24 * 60).contains(&minutes), "{minutes} minutes are not from 1 to a week's; {USAGE}");
    let seed = seed.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let length = Length { time: Duration::from_secs(minutes * 60), seed, spare_engine };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let done = async { run(Stack::up().await?, length).await }.await;
        Stack::clear().await?;
        done
    })
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
    word: Option<String>,
) -> Result<T> {
    let word = word.with_context(|| format!("{name} takes a number; {USAGE}"))?;
    word.parse().with_context(|| format!("{name} {word:?} is no number; {USAGE}"))
}
