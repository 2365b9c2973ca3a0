//! Containers that bear the label of an installed plugin and are not its own: copies that somebody made, and ones that
//! were renamed and replaced. They run with rights that nobody granted them, so they are removed.

use envelope::PluginId;
use envelope::payload::event::EventKind;

use crate::context::Context;
use crate::engine::{Container, EngineEvent, label};
use crate::policy::{PLUGIN_LABEL, Policy, ROLE_LABEL, Role};
use crate::record::Record;

/// Whether an event is of a container that is where none should be.
pub(crate) fn is_out_of_place(policy: &Policy, event: &EngineEvent) -> bool {
    let id = event.labels.get(PLUGIN_LABEL).and_then(|id| PluginId::parse(id).ok());
    id.is_none_or(|id| !is_its_place(policy, &id, &event.name))
}

fn is_its_place(policy: &Policy, id: &PluginId, name: &str) -> bool {
    name == policy.container_name(id) || name == policy.forwarder_name(id)
}

/// Whether `container` bears the label of the plugin of `record` without being its own. One of the current start that
/// only was renamed is; its worker gives it its name back.
fn is_stray(policy: &Policy, record: &Record, container: &Container, all: &[Container]) -> bool {
    if is_its_place(policy, &record.id, &container.name) {
        return false;
    }
    let own_name = policy.container_name(&record.id);
    let start = record.start.as_ref().map(|start| start.id.to_string());
    let is_renamed = start.is_some()
        && container.label(label::START) == start.as_deref()
        && container.label(ROLE_LABEL) == Some(Role::Plugin.as_str())
        && all.iter().all(|other| other.name != own_name);
    !is_renamed
}

/// Looks at all containers, and removes those that are strays.
pub(crate) async fn remove(ctx: &Context) {
    // Records are read last: a container that was there before its plugin's start is looked at with that start.
    let listed = ctx.engine.list(ctx.policy.installation()).await;
    let (Ok(all), Ok(records)) = (listed, ctx.registrations.plugins().await) else { return };
    for container in &all {
        let id = container.label(PLUGIN_LABEL);
        let Some(record) = records.iter().find(|record| id == Some(record.id.as_str())) else { continue };
        if !is_stray(&ctx.policy, record, container, &all) {
            continue;
        }
        let message = format!(
            "Container {} bears the label of {} and is not its container; it was removed.",
            container.name, record.id
        );
        match ctx.engine.remove(&container.id).await {
            Ok(_) => ctx.reporter.notice(EventKind::Drift, &record.id, message, "a look at all containers"),
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "a container was not removed"),
        }
    }
}
