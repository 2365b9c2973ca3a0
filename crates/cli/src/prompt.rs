//! Asking whoever sits at the terminal.

use std::io::{self, BufRead, Read};

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::screen::Screen;

/// More than anybody types on one line, in bytes; a terminal hands over no longer ones.
const LONGEST: u64 = 4096;

/// Somebody who can be asked.
pub(crate) trait Ask {
    /// Asks, and waits for a line. What is typed is not shown when `hidden`; no line at all is an empty one.
    async fn line(&mut self, question: &str, hidden: bool) -> Result<String, Failure>;

    /// Says something that needs no answer.
    fn tell(&mut self, text: &str);
}

/// Asks for a yes; whatever is not clearly one is a no.
pub(crate) async fn agrees(asked: &mut impl Ask, question: &str) -> Result<bool, Failure> {
    let answer = asked.line(&format!("{question} [y/N] "), false).await?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// The terminal: questions go to stderr, answers come from stdin.
#[derive(Debug)]
pub(crate) struct Terminal<'a> {
    screen: &'a Screen,
}

impl<'a> Terminal<'a> {
    /// The one that the user sits at, when somebody does and not a program reads the results.
    pub(crate) fn new(screen: &'a Screen) -> Option<Self> {
        (screen.can_ask() && !screen.json).then_some(Self { screen })
    }
}

impl Ask for Terminal<'_> {
    async fn line(&mut self, question: &str, hidden: bool) -> Result<String, Failure> {
        self.screen.ask(question);
        let silence = if hidden { Some(echo::Silence::begin()?) } else { None };
        let line = next_line().await;
        if silence.is_some() || line.is_err() {
            // The line's end was not shown either.
            self.screen.tell("");
        }
        line
    }

    fn tell(&mut self, text: &str) {
        self.screen.tell(text);
    }
}

/// A line of stdin. It is read by a thread of its own, which Ctrl-C need not wait for.
async fn next_line() -> Result<String, Failure> {
    let (sender, line) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().take(LONGEST).read_line(&mut line);
        // Nobody waits for it any more after Ctrl-C.
        let _ = sender.send(read.map(|_| line));
    });
    tokio::select! {
        line = line => {
            let line = line.map_err(|_ended| io::Error::other("standard input cannot be read"))??;
            Ok(line.trim_end_matches(['\r', '\n']).to_owned())
        }
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted { operation: None }),
    }
}

#[cfg(unix)]
mod echo {
    //! A terminal that does not show what is typed.

    use std::io;

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// While this lives, what is typed is not shown.
    pub(super) struct Silence(Termios);

    impl Silence {
        /// Begins it.
        pub(super) fn begin() -> io::Result<Self> {
            let stdin = io::stdin();
            let before = tcgetattr(&stdin)?;
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
            Ok(Self(before))
        }
    }

    impl Drop for Silence {
        fn drop(&mut self) {
            // When the terminal is gone there is nothing to put right.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        }
    }
}

#[cfg(not(unix))]
mod echo {
    //! Terminals that cannot be told not to show what is typed.

    use std::io;

    /// Never.
    pub(super) struct Silence;

    impl Silence {
        /// Refuses: a password must not be seen.
        pub(super) fn begin() -> io::Result<Self> {
            Err(io::Error::other("this terminal shows what is typed: use --password-stdin or --generate"))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Somebody whose answers are known beforehand.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        answers: VecDeque<String>,
        /// Everything that was asked and told.
        pub(crate) heard: Vec<String>,
    }

    impl Script {
        pub(crate) fn new(answers: &[&str]) -> Self {
            Self { answers: answers.iter().map(|a| (*a).to_owned()).collect(), heard: Vec::new() }
        }
    }

    impl Ask for Script {
        async fn line(&mut self, question: &str, hidden: bool) -> Result<String, Failure> {
            self.heard.push(format!("{question}{}", if hidden { "(hidden)" } else { "" }));
            Ok(self.answers.pop_front().unwrap_or_default())
        }

        fn tell(&mut self, text: &str) {
            self.heard.push(text.to_owned());
        }
    }

    #[tokio::test]
    async fn only_a_clear_yes_is_a_yes() {
        for (answer, agreed) in
            [("y", true), (" YES ", true), ("", false), ("n", false), ("yes please", false), ("ja", false)]
        {
            let mut script = Script::new(&[answer]);
            assert_eq!(agrees(&mut script, "Go on?").await.expect("an answer"), agreed, "{answer:?}");
            assert_eq!(script.heard, ["Go on? [y/N] "]);
        }
    }
}
