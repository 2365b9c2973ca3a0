//! `revoke`: ends the tokens of one start of a plugin (from the plugin coordinator). Done already is done.

use chassis::{Permit, Reply, Request};
use envelope::payload::token::{RevokeRequest, SessionRevoked};
use envelope::{ErrorBody, ErrorCode, PluginId, StartId};

use super::internal;
use crate::authority::{Authority, Origin};
use crate::{revocations, tokens};

/// Why a start was not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("Start {start} belongs to another plugin than {plugin}. Name the plugin that was started.")]
    OtherPlugin { plugin: PluginId, start: StartId },
    #[error("the kept tokens cannot be read or written")]
    Store(#[from] sqlx::Error),
}

impl From<RevokeError> for ErrorBody {
    fn from(error: RevokeError) -> Self {
        match &error {
            RevokeError::OtherPlugin { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            RevokeError::Store(_) => internal(&error),
        }
    }
}

pub(crate) async fn handle(
    authority: &Authority,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let RevokeRequest { plugin_id, start_id } = request.parse()?;
    revoke(authority, &plugin_id, start_id, Origin::of(permit, request)).await?;
    Ok(Reply::now(&SessionRevoked { start_id }))
}

/// Ends the tokens of a start; its topic is cleared unless a later start of the plugin has it.
pub(crate) async fn revoke(
    authority: &Authority,
    plugin: &PluginId,
    start: StartId,
    origin: Origin<'_>,
) -> Result<(), RevokeError> {
    let _state = authority.lock().await;
    let mut tx = authority.begin().await?;
    let issued = tokens::of_start(&mut tx, start).await?;
    let listed = revocations::of_start(&mut tx, start).await?;
    let listed = listed.as_ref().map(|l| l.plugin_id.as_str());
    let known = issued.as_ref().map(|i| i.terms.plugin_id.as_str()).or(listed);
    if known.is_some_and(|known| known != plugin.as_str()) {
        return Err(RevokeError::OtherPlugin { plugin: plugin.clone(), start });
    }
    if listed.is_some() {
        // Somebody revoked it while it ran; now it is over, and is forgotten in due course.
        revocations::release(&mut tx, start).await?;
        tx.commit().await?;
        authority.changed();
        return Ok(());
    }
    // A start that was never heard of is listed too: the request to issue its token may come late.
    let until = revocations::until(issued.as_ref(), authority.now(), authority.lifetime());
    revocations::add(&mut tx, start, plugin, until).await?;
    tokens::remove(&mut tx, start).await?;
    let current = tokens::of_plugin(&mut tx, plugin).await?;
    let revoked = revocations::list(&mut tx).await?;
    tx.commit().await?;

    authority.publish_revoked(&revoked);
    if current.is_none() {
        authority.clear_token(plugin);
    }
    authority.tell_revoked("cleared", plugin, start, origin);
    authority.changed();
    Ok(())
}

#[cfg(test)]
mod tests {
    use envelope::payload::token::IssueRequest;

    use super::*;
    use crate::authority::testing::{self, Office};
    use crate::handler::issue::issue;

    async fn started(office: &Office, plugin: &PluginId) -> StartId {
        let start_id = StartId::new();
        let asked = IssueRequest {
            plugin_id: plugin.clone(),
            start_id,
            scope: Vec::new(),
            digest: "sha256:0".to_owned(),
        };
        issue(&office.authority, asked, testing::origin()).await.expect("issues");
        start_id
    }

    async fn end(office: &Office, plugin: &PluginId, start: StartId) -> Result<(), RevokeError> {
        revoke(&office.authority, plugin, start, testing::origin()).await
    }

    #[tokio::test]
    async fn ending_twice_is_ending_once_and_leaves_a_later_start_alone() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let plugin = PluginId::parse("focuser").expect("an id");
        let one = started(&office, &plugin).await;
        let two = started(&office, &plugin).await;
        end(&office, &plugin, one).await.expect("is over already");
        let current = async || {
            let mut connection = office.authority.connection().await.expect("connects");
            tokens::of_plugin(&mut connection, &plugin).await.expect("reads")
        };
        assert_eq!(current().await.map(|i| i.terms.start_id), Some(two));
        end(&office, &plugin, two).await.expect("ends");
        end(&office, &plugin, two).await.expect("is over already");
        assert_eq!(current().await, None);
    }

    #[tokio::test]
    async fn a_start_of_another_plugin_is_left_alone() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let plugin = PluginId::parse("focuser").expect("an id");
        let other = PluginId::parse("dome").expect("an id");
        let start = started(&office, &plugin).await;
        for _ in 0..2 {
            let refused = end(&office, &other, start).await;
            assert!(matches!(refused, Err(RevokeError::OtherPlugin { .. })), "{refused:?}");
            // The second time it is over and known from the list.
            end(&office, &plugin, start).await.expect("ends");
        }
    }
}
