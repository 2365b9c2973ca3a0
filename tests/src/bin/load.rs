//! `load [--minutes N] [--plugins N] [--cycles N] [--interval SECONDS] [--plant silent|lost]`: a thousand plugins say
//! their health each second; see `tests::load`. With `--plant` one of them is ill, and it must be noticed: then it
//! fails.

use std::fs;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use tests::load::{Fault, Options, Report, run};
use tests::repository::root;
use tests::stack::Stack;

const USAGE: &str =
    "usage: load [--minutes N] [--plugins N] [--cycles N] [--interval SECONDS] [--plant silent|lost]";

fn main() -> ExitCode {
    match load() {
        Ok(report) if report.faults().is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load() -> Result<Report> {
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        // In a task of its own: what panics in it must not leave the framework behind.
        let done = tokio::spawn(async move {
            let stack = Stack::up().await?;
            run(&stack, &options).await
        });
        let done = done.await;
        Stack::clear().await?;
        done.context("it came to an end of its own")?
    })?;
    println!("\n{report}");
    let file = root().join(".cache/load-report.md");
    fs::create_dir_all(root().join(".cache"))?;
    fs::write(&file, report.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(report)
}

fn options() -> Result<Options> {
    let (mut options, mut words) = (Options::default(), std::env::args().skip(1));
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} takes a value; {USAGE}"))?;
        match word.as_str() {
            "--minutes" => options.minutes = number(&word, &value)?,
            "--plugins" => options.plugins = number(&word, &value)?,
            "--cycles" => options.cycles = number(&word, &value)?,
            "--interval" => options.interval = number(&word, &value)?,
            "--plant" => options.plant = Some(fault(&value)?),
            _ => bail!("there is no argument {word:?}; {USAGE}"),
        }
    }
    Ok(options)
}

fn number<T: FromStr>(word: &str, value: &str) -> Result<T> {
    value.parse().ok().with_context(|| format!("{word} takes a number, and {value:?} is none; {USAGE}"))
}

fn fault(name: &str) -> Result<Fault> {
    match name {
        "silent" => Ok(Fault::Silent),
        "lost" => Ok(Fault::Lost),
        _ => bail!("there is no fault {name:?}; {USAGE}"),
    }
}
