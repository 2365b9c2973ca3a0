//! `inspect`: everything about one plugin.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::{ContainerSummary, Inspection, PluginRequest, PreviousRelease};

use super::{Refusal, installed, only_its_own};
use crate::context::Context;
use crate::engine::State;
use crate::policy::Role;
use crate::{policy, report};

pub(super) async fn handle(ctx: &Context, permit: &Permit, request: &Request) -> Result<Reply, Refusal> {
    let PluginRequest { plugin_id: id } = request.parse()?;
    // It has the end of the last log, and the environment in the manifest.
    only_its_own(permit, &id)?;
    let record = installed(ctx, &id).await?;
    let operation = ctx.registrations.running(&id).await?;
    let manifest = record.manifest();
    // Looking is the one thing that a handler may ask the engine; without it the rest is still told.
    let container = ctx.container(&id, Role::Plugin).await.unwrap_or_else(|error| {
        tracing::warn!(error = telemetry::chain(&error), "the engine cannot be asked");
        None
    });
    let health = ctx.health.now(&id, None);
    Ok(Reply::now(&Inspection {
        state: report::state(&record, &manifest, &ctx.settings.node, operation.as_ref(), &health),
        uid: record.uid,
        generation: record.generation,
        source: record.release.source.clone(),
        installed_at: record.installed_at,
        manifest: record.release.manifest.document().clone(),
        manifest_source: record.release.manifest_source,
        container: container.map(|container| ContainerSummary {
            id: container.id.to_string(),
            name: container.name,
            started_at: match container.state {
                State::Running { started_at, .. } => started_at.map(|at| at.to_string()),
                _ => None,
            },
        }),
        ports: policy::ports(&manifest)
            .iter()
            .map(|p| {
                let host = std::net::SocketAddr::new(p.host_ip, p.host_port).to_string();
                (host, format!("{}/{}", p.container_port, p.protocol))
            })
            .collect(),
        volumes: ctx.policy.volumes(&id, &manifest),
        dns_names: manifest.dns_names(),
        last_exit: record.last_exit.clone(),
        warnings: record.release.warnings.clone(),
        rating: record.rating(&manifest),
        grants: record.statuses(),
        previous: record.previous.as_ref().map(|release| PreviousRelease {
            version: release.manifest().version.to_string(),
            source: release.source.clone(),
            digest: release.digest.clone(),
        }),
    }))
}
