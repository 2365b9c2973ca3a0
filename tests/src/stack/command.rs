//! Programs that are run, with a limit to their time.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

/// Long enough to build a plugin.
const PATIENCE: Duration = Duration::from_secs(600);

/// A program with its arguments.
#[derive(Debug)]
pub struct Run {
    command: Command,
    shown: String,
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Standard output, then standard error.
    pub text: String,
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
}

impl Run {
    /// A program with arguments.
    pub fn new<'a>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut shown = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        for argument in arguments {
            command.arg(argument);
            shown.push(' ');
            shown.push_str(argument);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        Self { command, shown }
    }

    /// `docker` with arguments.
    pub fn docker<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new("docker", arguments)
    }

    /// With these variables beside those of this process.
    #[must_use]
    pub fn env(mut self, variables: &BTreeMap<String, String>) -> Self {
        self.command.envs(variables);
        self
    }

    /// In this folder.
    #[must_use]
    pub fn within(mut self, folder: &std::path::Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end, however it ends.
    ///
    /// # Errors
    /// It cannot be run, or does not end in time.
    pub async fn output(mut self) -> Result<Output> {
        let run = timeout(PATIENCE, self.command.output()).await;
        let run = run.with_context(|| format!("{} did not end within {PATIENCE:?}", self.shown))?;
        let run = run.with_context(|| format!("cannot run {}", self.shown))?;
        let mut text = String::from_utf8_lossy(&run.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&run.stderr));
        Ok(Output { text, code: run.status.code() })
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// It fails: with all that it printed.
    pub async fn ok(mut self) -> Result<String> {
        let run = timeout(PATIENCE, self.command.output()).await;
        let run = run.with_context(|| format!("{} did not end within {PATIENCE:?}", self.shown))?;
        let run = run.with_context(|| format!("cannot run {}", self.shown))?;
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        if run.status.success() {
            return Ok(text);
        }
        bail!("{} failed ({}):\n{text}{}", self.shown, run.status, String::from_utf8_lossy(&run.stderr));
    }

    /// Runs it and returns the lines of its standard output.
    ///
    /// # Errors
    /// As [`Run::ok`].
    pub async fn lines(self) -> Result<Vec<String>> {
        let text = self.ok().await?;
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// Runs it and returns the only line of its standard output.
    ///
    /// # Errors
    /// As [`Run::ok`]; or it is not one line.
    pub async fn line(self) -> Result<String> {
        let shown = self.shown.clone();
        let mut lines = self.lines().await?;
        ensure!(lines.len() == 1, "{shown} printed not one line but {lines:?}");
        Ok(lines.remove(0))
    }
}
