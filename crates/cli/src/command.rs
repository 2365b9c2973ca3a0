//! The commands, one file each: what they ask for, and how the answer is shown.

mod acl;
mod audit;
mod completions;
mod events;
mod key;
mod operations;
mod operator;
mod plugin;
mod sessions;
mod status;
mod token;

use std::process::ExitCode;
use std::time::Duration;

use envelope::Operation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::{Acl, Args, Command, Common, Key, Token};
use crate::failure::{Exit, Failure};
use crate::login::Login;
use crate::render::clean_lines;
use crate::request::{self, Request};
use crate::screen::Screen;
use crate::session::Session;

/// Runs what was typed.
pub(crate) fn run(args: Args) -> ExitCode {
    let screen = Screen::new(&args.common);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen.fail(&Failure::Output(error));
            return Exit::Failed.into();
        }
    };
    let context = Context { screen, options: args.common };
    match runtime.block_on(dispatch(args.command, &context)) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            let exit = failure.exit();
            if exit != Exit::Done {
                context.screen.fail(&failure);
            }
            exit.into()
        }
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Status => status::run(context).await,
        Command::Plugin(command) => plugin::run(command, context).await,
        Command::Events(events) => events::run(&events, context).await,
        Command::Acl(Acl::Explain { id, access, topic }) => {
            acl::explain(id, access.into(), topic, context).await
        }
        Command::Acl(Acl::Proof) => acl::proof(context).await,
        Command::Operations(args) => operations::list(args, context).await,
        Command::Cancel(args) => operations::cancel(args.operation, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Operator(command) => operator::run(command, context).await,
        Command::Sessions => sessions::run(context).await,
        Command::Token(Token::Show(id)) => token::show(id.id, context).await,
        Command::Token(Token::Revoke(args)) => token::revoke(args, context).await,
        Command::Key(Key::Rotate) => key::rotate(context).await,
        Command::Completions { shell } => completions::run(shell),
    }
}

/// What every command works with.
#[derive(Debug)]
struct Context {
    screen: Screen,
    options: Common,
}

impl Context {
    /// Finds the login and connects.
    async fn open(&self) -> Result<Session, Failure> {
        let folder = std::env::current_dir()?;
        let login = Login::find(&self.options, |name| std::env::var(name).ok(), &folder)?;
        if let Some(path) = &login.exposed {
            let path = path.display();
            self.screen.warn(&format!("other users of this machine can read the login: chmod 600 {path}"));
        }
        Session::open(login).await
    }

    /// Asks for `operation` on a connection of its own, and waits. `waiting` is shown meanwhile.
    async fn ask(
        &self,
        operation: Operation,
        payload: &impl Serialize,
        waiting: &str,
    ) -> Result<Value, Failure> {
        let mut session = self.open().await?;
        let answer = self.ask_on(&mut session, operation, payload, waiting).await;
        session.close().await;
        answer
    }

    /// The same on a connection that is there.
    async fn ask_on(
        &self,
        session: &mut Session,
        operation: Operation,
        payload: &impl Serialize,
        waiting: &str,
    ) -> Result<Value, Failure> {
        let timeout = self.timeout(operation);
        let request = Request::new(&session.login.operator, operation, payload, timeout)?;
        request::ask(session, &self.screen, &request, timeout, waiting).await
    }

    /// The same, where nothing passes or moves on the screen.
    fn calm(&self) -> Self {
        Self { screen: self.screen.calm(), options: self.options.clone() }
    }

    fn timeout(&self, operation: Operation) -> Duration {
        self.options.timeout.unwrap_or_else(|| request::patience(operation))
    }

    /// Shows an answer: its exact data to programs, and to people what `render` makes of it, or the
    /// data again when it is of a later version.
    fn show<T: DeserializeOwned>(
        &self,
        data: Value,
        render: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.screen.json {
            return self.screen.data(&data);
        }
        match serde_json::from_value::<T>(data.clone()) {
            Ok(decoded) => self.screen.say(&render(&decoded)),
            Err(_) => {
                self.screen
                    .warn("the answer is of another version than this program, so it is shown as it came");
                let text = serde_json::to_string_pretty(&data).map_err(std::io::Error::from)?;
                self.screen.say(&clean_lines(&text))
            }
        }
    }
}
