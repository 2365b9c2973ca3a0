//! What stays on the engine when containers come and go: images and volumes of plugins. Nothing that is still needed
//! goes, and nothing stays that was to go.

use std::collections::{BTreeMap, BTreeSet};

use envelope::PluginId;
use serde_json::Value;

use super::world::World;
use crate::record::{Desired, Record};
use crate::registrations::fake::Tables;

/// What was seen of what there is of plugins, and is to go.
#[derive(Default)]
pub(super) struct Keeps {
    there: BTreeSet<String>,
    is_known: bool,
    /// Plugins that are to be gone, or are.
    leaving: BTreeMap<PluginId, Leaving>,
}

/// What is to go with a plugin.
struct Leaving {
    with_data: bool,
    /// What it is and was before. What was only staged when somebody asked for its end is its own no more, and left to
    /// the clean-up.
    images: Vec<String>,
}

impl Keeps {
    fn goes_with_data(&self, id: &PluginId) -> bool {
        self.leaving.get(id).is_some_and(|leaving| leaving.with_data)
    }

    /// The engine did something.
    pub(super) fn changed(&mut self) {
        self.is_known = false;
    }
}

/// A plugin's data goes with the plugin, when somebody asked for that, and never otherwise.
///
/// # Errors
/// What went, or stayed.
pub(super) fn volumes(world: &World, tables: &Tables, seen: &mut Keeps) -> Result<(), String> {
    for record in tables.plugins.values() {
        match record.desired {
            Desired::Absent { remove_volumes } => {
                let images = record.releases().map(|release| release.reference.clone()).collect();
                seen.leaving.insert(record.id.clone(), Leaving { with_data: remove_volumes, images })
            }
            Desired::Running | Desired::Stopped => seen.leaving.remove(&record.id),
        };
    }
    if !seen.is_known {
        let there: BTreeSet<String> = world.engine.volumes().into_iter().collect();
        let gone = std::mem::replace(&mut seen.there, there);
        seen.is_known = true;
        for id in &world.plugins {
            let volume = world.volume(id);
            let lost = gone.contains(volume) && !seen.there.contains(volume);
            if lost && !seen.goes_with_data(id) {
                return Err(format!("the data of {id} is lost: nobody asked for the end of volume {volume}"));
            }
        }
    }
    let goes = |id: &&PluginId| seen.goes_with_data(id) && !tables.plugins.contains_key(*id);
    match world.plugins.iter().filter(goes).find(|id| seen.there.contains(world.volume(id))) {
        Some(id) => Err(format!("{id} is gone with its data, and volume {} is left", world.volume(id))),
        None => Ok(()),
    }
}

fn images_of(world: &World, id: &PluginId) -> Vec<String> {
    let of = format!("/{id}@");
    world.engine.images().into_iter().filter(|reference| reference.contains(&of)).collect()
}

/// In the end the engine has no image of these plugins but of what they are, and were before their last update.
///
/// # Errors
/// Which one it has.
pub(super) fn images<'a>(
    world: &World,
    tables: &Tables,
    plugins: impl Iterator<Item = &'a PluginId>,
) -> Result<(), String> {
    for id in plugins {
        let releases = tables.plugins.get(id).into_iter().flat_map(|record| Record::releases(record));
        let needed: BTreeSet<&str> = releases.map(|release| release.reference.as_str()).collect();
        if let Some(left) = images_of(world, id).iter().find(|image| !needed.contains(image.as_str())) {
            return Err(format!("image {left} is left, which nothing needs"));
        }
    }
    Ok(())
}

/// Whether a removal has taken with it what its answer says, and what was asked for.
///
/// # Errors
/// What is left.
pub(super) fn as_said(
    world: &World,
    seen: &Keeps,
    id: &PluginId,
    asked: &Value,
    said: &Value,
) -> Result<(), String> {
    let own = seen.leaving.get(id).map(|leaving| leaving.images.as_slice()).unwrap_or_default();
    let left = images_of(world, id).into_iter().find(|image| own.contains(image));
    if let Some(left) = left.filter(|_| said["image_removed"] == true) {
        return Err(format!("image {left} is there, which is said to be removed"));
    }
    let kept = said["volumes_kept"].as_array().map_or(0, Vec::len);
    match asked["remove_volumes"] == true {
        true if kept > 0 => Err(format!("{} is kept", said["volumes_kept"])),
        _ => Ok(()),
    }
}
