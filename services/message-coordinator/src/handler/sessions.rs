//! `sessions`: who is connected to the broker, as its log told of it since the coordinator listens.

use chassis::{Reply, Request};
use envelope::ErrorBody;
use envelope::payload::watch::SessionsRequest;

use crate::watch::Watch;

pub(crate) fn handle(watch: &Watch, request: &Request) -> Result<Reply, ErrorBody> {
    let SessionsRequest {} = request.parse()?;
    Ok(Reply::now(&watch.sessions()))
}
