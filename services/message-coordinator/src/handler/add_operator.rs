//! `add-operator`: makes an operator's account. The same request asked again finds it made.

use chassis::{Permit, Reply, Request};
use envelope::ErrorBody;
use envelope::payload::account::AddOperatorRequest;

use super::operators::{author, body};
use crate::accounts::rules;
use crate::keeper::Keeper;
use crate::report::Cause;

pub(crate) async fn handle(keeper: &Keeper, permit: &Permit, request: &Request) -> Result<Reply, ErrorBody> {
    let asked: AddOperatorRequest = request.parse()?;
    let author = author(permit, request);
    let decide = |accounts: &_| rules::add(accounts, &asked, &author);
    let account = keeper.decide(decide, &Cause::request(permit, request)).await.map_err(body)?;
    Ok(Reply::now(&account.shown()))
}
