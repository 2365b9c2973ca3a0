//! `completions`: a script that completes the command line in a shell.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::failure::Failure;

pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "bigskies", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
