//! `plugin remove`: uninstalls a plugin, and deletes its data only when told to.

use std::io::{self, BufRead};

use envelope::payload::lifecycle::{RemoveRequest, Removed};
use envelope::{Operation, PluginId};

use super::Context;
use crate::args::Remove;
use crate::failure::Failure;
use crate::render::{clean, indented};

pub(super) async fn run(args: Remove, context: &Context) -> Result<(), Failure> {
    let Remove { id, volumes, yes } = args;
    if volumes && !yes {
        confirm(&id, context)?;
    }
    let waiting = format!("remove {id}");
    let request = RemoveRequest { plugin_id: id, remove_volumes: volumes };
    let data = context.ask(Operation::Remove, &request, &waiting).await?;
    context.show(data, render)
}

/// Asks before data is deleted; where nobody can be asked, `--yes` must say so.
fn confirm(id: &PluginId, context: &Context) -> Result<(), Failure> {
    if !context.screen.can_ask() {
        return Err(Failure::Usage(format!(
            "remove --volumes deletes the data of {id} for good, and there is nobody to ask: add --yes"
        )));
    }
    context.screen.tell(&format!("This deletes {id} and its data for good. Type its id to go on:"));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == id.as_str() {
        Ok(())
    } else {
        Err(Failure::Usage(format!("{id} was not removed: the id was not typed")))
    }
}

fn render(removed: &Removed) -> String {
    let mut text = format!("{} is removed", removed.plugin_id);
    if !removed.image_removed {
        text.push_str("; its image stays, something else uses it");
    }
    for (what, volumes) in [("deleted", &removed.volumes_removed), ("kept", &removed.volumes_kept)] {
        if !volumes.is_empty() {
            let names: Vec<String> = volumes.iter().map(|name| clean(name)).collect();
            text.push_str(&format!("\n  data {what}:\n{}", indented(&names.join("\n"), "    ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_became_of_the_data() {
        let removed = Removed {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            image_removed: false,
            volumes_removed: Vec::new(),
            volumes_kept: vec!["bigskies-plugin-focuser-data".to_owned()],
        };
        let expected = "\
focuser is removed; its image stays, something else uses it
  data kept:
    bigskies-plugin-focuser-data";
        assert_eq!(render(&removed), expected);
    }
}
