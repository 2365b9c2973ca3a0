//! `deprovision`: takes the login of one start of a plugin away. Done already is done; the login of a later
//! start stays.

use chassis::{Permit, Reply, Request};
use envelope::ErrorBody;
use envelope::payload::login::{DeprovisionRequest, Deprovisioned};

use crate::keeper::Keeper;
use crate::report::Cause;

pub(crate) async fn handle(keeper: &Keeper, permit: &Permit, request: &Request) -> Result<Reply, ErrorBody> {
    let asked: DeprovisionRequest = request.parse()?;
    match keeper.deprovision(&asked, &Cause::request(permit, request)).await {
        Ok(()) => Ok(Reply::now(&Deprovisioned { start_id: asked.start_id })),
        Err(error) => Err(super::unavailable(&error, "It is owed and will be done; ask again to be sure.")),
    }
}
