//! `remove-operator`: deletes an operator's account, and disconnects whoever is connected with it.

use chassis::{Permit, Reply, Request};
use envelope::ErrorBody;
use envelope::payload::account::{OperatorRemoved, RemoveOperatorRequest};

use super::operators::{author, body};
use crate::accounts::rules;
use crate::keeper::Keeper;
use crate::report::Cause;

pub(crate) async fn handle(keeper: &Keeper, permit: &Permit, request: &Request) -> Result<Reply, ErrorBody> {
    let asked: RemoveOperatorRequest = request.parse()?;
    let author = author(permit, request);
    let decide = |accounts: &_| rules::remove(accounts, &asked, &author);
    let account = keeper.decide(decide, &Cause::request(permit, request)).await.map_err(body)?;
    Ok(Reply::now(&OperatorRemoved { name: account.name }))
}
