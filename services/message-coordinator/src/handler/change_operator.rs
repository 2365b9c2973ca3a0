//! `change-operator`: gives an account another role or password, or disables or enables it. Whoever is
//! connected with it is disconnected.

use chassis::{Permit, Reply, Request};
use envelope::ErrorBody;
use envelope::payload::account::ChangeOperatorRequest;

use super::operators::{author, body};
use crate::accounts::rules;
use crate::keeper::Keeper;
use crate::report::Cause;

pub(crate) async fn handle(keeper: &Keeper, permit: &Permit, request: &Request) -> Result<Reply, ErrorBody> {
    let asked: ChangeOperatorRequest = request.parse()?;
    let author = author(permit, request);
    let decide = |accounts: &_| rules::change(accounts, &asked, &author);
    let account = keeper.decide(decide, &Cause::request(permit, request)).await.map_err(body)?;
    let mut shown = account.shown();
    shown.note = asked.password.and_then(|_| rules::outdated(&account)).map(str::to_owned);
    Ok(Reply::now(&shown))
}
