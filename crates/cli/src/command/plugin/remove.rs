//! `plugin remove`: uninstalls a plugin, and deletes its data only when told to.

use envelope::payload::lifecycle::{RemoveRequest, Removed};
use envelope::{Operation, PluginId};

use super::Context;
use crate::args::Remove;
use crate::failure::Failure;
use crate::prompt::{Ask, Terminal};
use crate::render::{clean, indented};

pub(super) async fn run(args: Remove, context: &Context) -> Result<(), Failure> {
    let Remove { id, volumes, yes } = args;
    if volumes && !yes {
        let mut asked = Terminal::new(&context.screen);
        confirm(&id, asked.as_mut()).await?;
    }
    let waiting = format!("remove {id}");
    let request = RemoveRequest { plugin_id: id, remove_volumes: volumes };
    let data = context.ask(Operation::Remove, &request, &waiting).await?;
    context.show(data, render)
}

/// Asks before data is deleted; where nobody can be asked, `--yes` must say so.
async fn confirm(id: &PluginId, asked: Option<&mut impl Ask>) -> Result<(), Failure> {
    let Some(asked) = asked else {
        return Err(Failure::Usage(format!(
            "remove --volumes deletes the data of {id} for good, and there is nobody to ask: add --yes"
        )));
    };
    let question = format!("This deletes {id} and its data for good. Type its id to go on: ");
    if asked.line(&question, false).await?.trim() == id.as_str() {
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
    use crate::prompt::tests::Script;

    #[tokio::test]
    async fn data_is_deleted_only_when_the_id_is_typed() {
        let id = PluginId::parse("focuser").expect("an id");
        for (typed, sure) in [("focuser", true), (" focuser ", true), ("y", false), ("", false)] {
            let confirmed = confirm(&id, Some(&mut Script::new(&[typed]))).await;
            assert_eq!(confirmed.is_ok(), sure, "{typed:?}");
        }
        assert!(confirm(&id, None::<&mut Script>).await.is_err());
    }

    #[test]
    fn it_says_what_became_of_the_data() {
        let removed = Removed {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            image_removed: false,
            volumes_removed: Vec::new(),
            volumes_kept: vec!["bigskies-plugin-focuser..data".to_owned()],
        };
        let expected = "\
focuser is removed; its image stays, something else uses it
  data kept:
    bigskies-plugin-focuser..data";
        assert_eq!(render(&removed), expected);
    }
}
