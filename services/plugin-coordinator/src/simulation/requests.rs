//! What is asked for in a simulation: a new operation is added to [`OF_WHAT_RUNS`], [`OF_WHAT_RESTS`] and [`what`].

use envelope::{Operation, OperatorName, PluginId, Principal};
use serde_json::{Value, json};

use super::points::Chance;
use super::world::{Accepted, World, approves, source};

/// What is asked of a plugin that has a container, the usual more often.
const OF_WHAT_RUNS: &[Operation] = &[
    Operation::Start,
    Operation::Stop,
    Operation::Stop,
    Operation::Restart,
    Operation::Restart,
    Operation::Remove,
    Operation::Remove,
    Operation::Install,
    Operation::Approve,
    Operation::RevokeGrant,
    Operation::RevokeGrant,
    Operation::Update,
    Operation::Update,
    Operation::Update,
    Operation::Rollback,
    Operation::Config,
    Operation::Config,
    Operation::Config,
    Operation::Config,
    Operation::Config,
    Operation::Cancel,
    Operation::Operations,
];

/// And of one that has none.
const OF_WHAT_RESTS: &[Operation] = &[
    Operation::Start,
    Operation::Start,
    Operation::Start,
    Operation::Start,
    Operation::Start,
    Operation::Start,
    Operation::Start,
    Operation::Stop,
    Operation::Restart,
    Operation::Restart,
    Operation::Remove,
    Operation::Install,
    Operation::Approve,
    Operation::RevokeGrant,
    Operation::Update,
    Operation::Update,
    Operation::Rollback,
    Operation::Config,
    Operation::Cancel,
    Operation::Operations,
];

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
    let of = if record.start.is_some() { OF_WHAT_RUNS } else { OF_WHAT_RESTS };
    let operation = *chance.one_of(of);
    let payload = match operation {
        O::Install | O::Update => image(chance, id),
        O::Remove => json!({"plugin_id": id, "remove_volumes": chance.below(2) == 0}),
        O::Approve => {
            let details = record.approval(&record.manifest());
            json!({"plugin_id": id, "approve": details.approve})
        }
        O::Config => json!({"plugin_id": id, "config": config(chance)}),
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

/// One of the images of a plugin, mostly with what approves it, and now and then with a configuration.
fn image(chance: &mut Chance, id: &PluginId) -> Value {
    let version = *chance.one_of(&[1, 1, 1, 2, 2, 3]);
    let approve = approves(id, version).filter(|_| chance.is(9_000));
    let mut asked = json!({"plugin_id": id, "source": source(id, version), "approve": approve});
    if chance.below(4) == 0 {
        asked["config"] = config(chance);
    }
    asked
}

/// A configuration, none, or now and then one that does not fit every plugin's schema.
fn config(chance: &mut Chance) -> Value {
    match chance.below(8) {
        0 | 1 => Value::Null,
        2 => json!({"gain": "high"}),
        _ => json!({"gain": chance.below(4)}),
    }
}
