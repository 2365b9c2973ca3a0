//! `operator …`: the accounts of operators.

mod password;

use envelope::payload::account::{
    AddOperatorRequest, ChangeOperatorRequest, OperatorAccount, OperatorRemoved, OperatorsRequest,
    OperatorsResponse, RemoveOperatorRequest,
};
use envelope::principal::operator_login;
use envelope::{Operation, OperatorName, OperatorRole, Timestamp};
use serde_json::Value;

use self::password::Chosen;
use super::Context;
use crate::args::{AddOperator, Operator, SetOperator};
use crate::failure::Failure;
use crate::prompt::Terminal;
use crate::render::{Fields, Ink, Table, ago, clean, indented, ink};
use crate::request::{self, Request};
use crate::session::Session;

const WAITING: &str = "asking the message coordinator";

pub(super) async fn run(command: Operator, context: &Context) -> Result<(), Failure> {
    match command {
        Operator::List => list(context).await,
        Operator::Add(args) => add(args, context).await,
        Operator::Set(args) => set(args, context).await,
        Operator::Remove(args) => remove(args.name, context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let data = context.ask(Operation::Operators, &OperatorsRequest {}, WAITING).await?;
    context.show(data, |answer: &OperatorsResponse| {
        table(&answer.operators, Timestamp::now(), context.screen.width())
    })
}

fn table(accounts: &[OperatorAccount], now: Timestamp, width: Option<usize>) -> String {
    let mut table = Table::new(&["OPERATOR", "ROLE", "STATE", "MADE", "BY"]);
    for account in accounts {
        table.row([
            account.name.to_string(),
            role(account.role),
            state(account),
            account.created_at.map_or_else(|| "at the beginning".to_owned(), |at| ago(at, now)),
            account.created_by.as_deref().map(clean).unwrap_or_default(),
        ]);
    }
    table.render(width)
}

fn state(account: &OperatorAccount) -> String {
    let state = if account.disabled { ink(Ink::Bad, "disabled") } else { ink(Ink::Good, "enabled") };
    if account.pending { format!("{state}, {}", ink(Ink::Warn, "on its way to the broker")) } else { state }
}

fn role(role: OperatorRole) -> String {
    match role {
        OperatorRole::Admin => ink(Ink::Strong, role.as_str()),
        OperatorRole::Operator | OperatorRole::Viewer => role.as_str().to_owned(),
    }
}

async fn add(args: AddOperator, context: &Context) -> Result<(), Failure> {
    let mut asked = Terminal::new(&context.screen);
    let chosen = password::choose(&args.password, args.name.as_str(), asked.as_mut()).await?;
    let request = AddOperatorRequest { name: args.name, role: args.role, password: chosen.password.clone() };
    let data = context.ask(Operation::AddOperator, &request, WAITING).await?;
    show(data, Some(&chosen), "made", context)
}

async fn set(args: SetOperator, context: &Context) -> Result<(), Failure> {
    let disabled = args.disable.then_some(true).or(args.enable.then_some(false));
    let wanted = args.new_password || args.password.generate || args.password.password_stdin;
    let chosen = if wanted {
        let mut asked = Terminal::new(&context.screen);
        Some(password::choose(&args.password, args.name.as_str(), asked.as_mut()).await?)
    } else {
        None
    };
    let request = ChangeOperatorRequest {
        name: args.name,
        role: args.role,
        password: chosen.as_ref().map(|chosen| chosen.password.clone()),
        disabled,
    };
    let mut session = context.open().await?;
    let own = session.login.operator == request.name;
    if own && disabled == Some(true) {
        session.close().await;
        return Err(Failure::Usage(locked_out(&request.name, "disable")));
    }
    let answer = match &chosen {
        Some(chosen) if own => change_own(session, &request, chosen, context).await,
        _ => {
            let answer = context.ask_on(&mut session, Operation::ChangeOperator, &request, WAITING).await;
            session.close().await;
            answer
        }
    };
    let data = answer?;
    let noted = !data["note"].is_null();
    show(data, chosen.as_ref(), "changed", context)?;
    if own && chosen.is_some() && !noted {
        context
            .screen
            .warn("this is the account that you use: put its new password where your login is from");
    }
    Ok(())
}

/// Changes the password of the account that asks. The broker then ends its connection, perhaps before the
/// answer came: the same request again, with the new password, gets it.
async fn change_own(
    mut session: Session,
    payload: &ChangeOperatorRequest,
    chosen: &Chosen,
    context: &Context,
) -> Result<Value, Failure> {
    let timeout = context.timeout(Operation::ChangeOperator);
    let operator = session.login.operator.clone();
    let request = Request::new(&operator, Operation::ChangeOperator, payload, timeout)?.cutting_off();
    let answer = request::ask(&mut session, &context.screen, &request, timeout, WAITING).await;
    let mut login = session.login.clone();
    session.close().await;
    if !matches!(answer, Err(Failure::CutOff { .. } | Failure::Broker(_))) {
        return answer;
    }
    login.password = chosen.password.expose().into();
    "the password that was just set".clone_into(&mut login.origin);
    let mut session = Session::open(login).await?;
    let answer = request::ask(&mut session, &context.screen, &request, timeout, WAITING).await;
    session.close().await;
    answer
}

async fn remove(name: OperatorName, context: &Context) -> Result<(), Failure> {
    let mut session = context.open().await?;
    let answer = if session.login.operator == name {
        Err(Failure::Usage(locked_out(&name, "remove")))
    } else {
        let request = RemoveOperatorRequest { name };
        context.ask_on(&mut session, Operation::RemoveOperator, &request, WAITING).await
    };
    session.close().await;
    context.show(answer?, |removed: &OperatorRemoved| format!("{} is removed", removed.name))
}

/// Who removed or disabled the own account would not even hear that it was done.
fn locked_out(name: &OperatorName, verb: &str) -> String {
    format!("{name} is the account that you use: let another admin {verb} it")
}

/// Shows an account after a change, and its password when nobody knows it yet.
fn show(mut data: Value, chosen: Option<&Chosen>, verb: &str, context: &Context) -> Result<(), Failure> {
    let secret = chosen.filter(|chosen| chosen.generated).map(|chosen| chosen.password.expose());
    if let (Some(secret), Some(fields)) = (secret, data.as_object_mut()) {
        fields.insert("password".to_owned(), secret.into());
    }
    context.show(data, |account| render(account, secret, verb))?;
    if secret.is_some() {
        context.screen.note("the password is shown this once and kept nowhere else");
    }
    Ok(())
}

fn render(account: &OperatorAccount, secret: Option<&str>, verb: &str) -> String {
    let mut fields = Fields::default();
    fields
        .add("Login", operator_login(&account.name))
        .add("Role", role(account.role))
        .add("State", state(account))
        .maybe("Password", secret.map(clean))
        .maybe("Note", account.note.as_deref().map(clean));
    let title = format!("{} is {}", account.name, ink(Ink::Good, verb));
    format!("{title}\n{}", indented(&fields.render(), "  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::finish;

    fn account(name: &str) -> OperatorAccount {
        OperatorAccount {
            name: OperatorName::parse(name).expect("a name"),
            role: OperatorRole::Viewer,
            disabled: false,
            created_at: None,
            created_by: None,
            pending: false,
            note: None,
        }
    }

    #[test]
    fn accounts_are_listed_with_what_is_known_of_them() {
        let first = OperatorAccount { role: OperatorRole::Admin, ..account("operator") };
        let now = Timestamp::from_seconds(1_768_521_600);
        let ann = OperatorAccount {
            disabled: true,
            pending: true,
            created_at: Some(Timestamp::from_seconds(1_768_521_600 - 300)),
            created_by: Some("operator:operator\u{7}".to_owned()),
            ..account("ann")
        };
        let expected = "\
OPERATOR   ROLE     STATE                                MADE               BY
ann        viewer   disabled, on its way to the broker   5 min ago          operator:operator\\x07
operator   admin    enabled                              at the beginning";
        assert_eq!(finish(&table(&[ann, first], now, None), false), expected);
    }

    #[test]
    fn a_generated_password_is_part_of_what_is_told() {
        let expected = "\
ann is made
  Login      operator.ann
  Role       viewer
  State      enabled
  Password   AbC_
  Note       ask ann to log in";
        let ann = OperatorAccount { note: Some("ask ann to log in".to_owned()), ..account("ann") };
        assert_eq!(finish(&render(&ann, Some("AbC_"), "made"), false), expected);
        assert!(!render(&account("ann"), None, "made").contains("Password"));
    }
}
