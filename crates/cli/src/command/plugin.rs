//! `plugin …`: one file per command.

mod approving;
mod config;
mod control;
mod file;
mod grants;
mod inspect;
mod install;
mod lifecycle;
mod list;
mod logs;
mod remove;
mod update;

use envelope::Operation;

use super::Context;
use crate::args::Plugin;
use crate::failure::Failure;

pub(super) use list::states_table;

pub(super) async fn run(command: Plugin, context: &Context) -> Result<(), Failure> {
    match command {
        Plugin::Install(args) => install::run(args, context).await,
        Plugin::Start(args) => lifecycle::run(Operation::Start, args.id, context).await,
        Plugin::Stop(args) => lifecycle::run(Operation::Stop, args.id, context).await,
        Plugin::Restart(args) => lifecycle::run(Operation::Restart, args.id, context).await,
        Plugin::Remove(args) => remove::run(args, context).await,
        Plugin::Update(args) => update::run(args, context).await,
        Plugin::Rollback(args) => update::roll_back(args.id, context).await,
        Plugin::Config(args) => config::run(args, context).await,
        Plugin::List => list::run(context).await,
        Plugin::Inspect(args) => inspect::run(args.id, context).await,
        Plugin::Logs(args) => logs::run(args, context).await,
        Plugin::Control(args) => control::run(args, context).await,
        Plugin::Grants(args) => grants::show(args.id, context).await,
        Plugin::Approve(args) => grants::approve(args, context).await,
        Plugin::RevokeGrant(args) => grants::revoke(args, context).await,
    }
}

/// `text` as one word of a POSIX shell (XCU 2.2), for command lines that are told to be repeated.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+:/=@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_whatever_is_in_it() {
        for (text, word) in [
            ("sha256:ab", "sha256:ab"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
