//! What is asked for in a simulation: a new operation is added to [`asked`].

use envelope::{Operation, OperatorName, PluginId, Principal};
use serde_json::{Value, json};

use super::points::Chance;
use super::world::{Accepted, World, approves, source};

/// One of the installed or known plugins is asked for something.
pub(super) fn asked(world: &World, chance: &mut Chance, number: usize) -> Accepted {
    let plugin = chance.one_of(&world.plugins).clone();
    let (operation, payload) = what(world, chance, &plugin);
    let ada = OperatorName::parse("ada").expect("a name");
    let principal = if chance.is(9_000) { Principal::Operator(ada) } else { Principal::Unnamed };
    Accepted { id: format!("request-{number}"), plugin, principal, operation, payload }
}

fn what(world: &World, chance: &mut Chance, id: &PluginId) -> (Operation, Value) {
    use Operation as O;
    let plugin = json!({"plugin_id": id});
    let record = world.registrations.look(|tables| tables.plugins.get(id).cloned());
    let Some(record) = record else {
        let operation =
            *chance.one_of(&[O::Install, O::Install, O::Install, O::Install, O::Start, O::Remove]);
        return match operation {
            O::Install => (operation, image(chance, id)),
            _ => (operation, plugin),
        };
    };
    let operation = *chance.one_of(&[
        O::Start,
        O::Start,
        O::Start,
        O::Start,
        O::Stop,
        O::Stop,
        O::Restart,
        O::Restart,
        O::Remove,
        O::Install,
        O::Approve,
        O::RevokeGrant,
        O::RevokeGrant,
        O::Update,
        O::Update,
        O::Rollback,
        O::Cancel,
        O::Operations,
    ]);
    let payload = match operation {
        O::Install | O::Update => image(chance, id),
        O::Remove => json!({"plugin_id": id, "remove_volumes": chance.below(2) == 0}),
        O::Approve => {
            let details = record.approval(&record.manifest());
            json!({"plugin_id": id, "approve": details.approve})
        }
        O::RevokeGrant => {
            let asked = record.asked();
            let key = match asked.as_slice() {
                [] => "permission:plugin:control".to_owned(),
                asked => chance.one_of(asked).key(),
            };
            json!({"plugin_id": id, "grant": key})
        }
        O::Cancel => {
            let known = world.registrations.look(|tables| {
                tables
                    .operations
                    .iter()
                    .rev()
                    .map(|o| &o.operation)
                    .find(|o| o.plugin_id == *id)
                    .map(|o| o.id)
            });
            json!({"operation_id": known.unwrap_or_default()})
        }
        O::Operations => json!({}),
        _ => plugin,
    };
    (operation, payload)
}

/// One of the images of a plugin, mostly with what approves it.
fn image(chance: &mut Chance, id: &PluginId) -> Value {
    let version = *chance.one_of(&[1, 1, 1, 2, 2, 3]);
    let approve = approves(id, version).filter(|_| chance.is(9_000));
    json!({"plugin_id": id, "source": source(id, version), "approve": approve})
}
