//! What may need an operator's approval: asked for, shown, decided, and asked for again with the approval.

use envelope::Operation;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::approval;
use crate::failure::Failure;
use crate::prompt::Terminal;

/// A request that can carry an approval.
pub(super) trait Approvable: Serialize {
    /// Approves exactly what was listed under this digest.
    fn approve(&mut self, digest: String);
}

/// Asks for `operation` until it is done, or what it asks for is not approved. Where nobody can be asked, the
/// failure has the command line that approves it.
pub(super) async fn ask(
    context: &Context,
    operation: Operation,
    request: &mut impl Approvable,
    waiting: &str,
    question: &str,
) -> Result<Value, Failure> {
    loop {
        match context.ask(operation, request, waiting).await {
            // When it asks for something else after it was approved, that is shown and asked about too.
            Err(Failure::Refused(refusal)) if approval::is_needed(&refusal) => {
                let mut asked = Terminal::new(&context.screen);
                let command = |digest: &str| again(std::env::args(), digest);
                request.approve(approval::decide(refusal, asked.as_mut(), question, command).await?);
            }
            answer => return answer,
        }
    }
}

/// The command line that was typed, with the approval of `digest`.
fn again(typed: impl Iterator<Item = String>, digest: &str) -> String {
    let approve = "--approve";
    let mut words = Vec::new();
    let mut typed = typed.peekable();
    while let Some(word) = typed.next_if(|word| word != "--") {
        if word == approve {
            typed.next();
        } else if !word.starts_with("--approve=") {
            words.push(word);
        }
    }
    words.extend([approve.to_owned(), digest.to_owned()]);
    words.extend(typed);
    words.iter().map(|word| super::shell_word(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_repeat_is_the_one_that_was_typed() {
        let typed = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>().into_iter();
        for (line, repeated) in [
            (
                "bigskies|plugin|install|r/i:1|--id|focuser",
                "bigskies plugin install r/i:1 --id focuser --approve d",
            ),
            ("bigskies|plugin|install|--approve|old|r/i:1", "bigskies plugin install r/i:1 --approve d"),
            ("bigskies|plugin|install|--approve=old|r/i:1", "bigskies plugin install r/i:1 --approve d"),
            (
                "bigskies|plugin|install|--config|my file|--|r/i:1",
                "bigskies plugin install --config 'my file' --approve d -- r/i:1",
            ),
        ] {
            assert_eq!(again(typed(line), "d"), repeated);
        }
    }
}
