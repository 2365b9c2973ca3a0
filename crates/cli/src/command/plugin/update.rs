//! `plugin update` and `plugin rollback`: another image in the place of the present one.

use envelope::payload::lifecycle::{PluginRequest, UpdateRequest, Updated};
use envelope::{Operation, PluginId};

use super::approving::{self, Approvable};
use super::{Context, file};
use crate::args::Update;
use crate::failure::Failure;
use crate::render::{Fields, Ink, clean, indented, ink, lasting_exactly};

const QUESTION: &str = "Approve and update?";

pub(super) async fn run(args: Update, context: &Context) -> Result<(), Failure> {
    let Update { id, source, manifest, config, approve } = args;
    let manifest = manifest.as_deref().map(|path| file::read("the manifest", path)).transpose()?;
    let config = config.as_deref().map(file::read_config).transpose()?;
    let waiting = format!("update {id}");
    let mut request = UpdateRequest { plugin_id: id, source, config, manifest, approve };
    let data = approving::ask(context, Operation::Update, &mut request, &waiting, QUESTION).await?;
    context.show(data, |updated| render(Operation::Update, updated))
}

impl Approvable for UpdateRequest {
    fn approve(&mut self, digest: String) {
        self.approve = Some(digest);
    }
}

pub(super) async fn roll_back(plugin_id: PluginId, context: &Context) -> Result<(), Failure> {
    let waiting = format!("rollback {plugin_id}");
    let data = context.ask(Operation::Rollback, &PluginRequest { plugin_id }, &waiting).await?;
    context.show(data, |updated| render(Operation::Rollback, updated))
}

fn render(operation: Operation, updated: &Updated) -> String {
    let Updated { plugin_id, digest, previous_digest, .. } = updated;
    let (version, before) = (clean(&updated.version), clean(&updated.previous_version));
    let verb = if operation == Operation::Rollback { "rolled back" } else { "updated" };
    let title = match (updated.changed, version == before) {
        (false, _) => format!("{plugin_id} was at {version} already"),
        (true, false) => format!("{plugin_id} {}: {before} -> {version}", ink(Ink::Good, verb)),
        (true, true) => format!("{plugin_id} {}: {version} as before", ink(Ink::Good, verb)),
    };
    let mut fields = Fields::default();
    fields.add("Image", clean(digest));
    if digest != previous_digest {
        fields.add("Before", clean(previous_digest));
    }
    if updated.changed {
        fields.add("Downtime", downtime(updated.downtime_ms));
    }
    let warnings: Vec<String> = updated.warnings.iter().map(|warning| clean(warning)).collect();
    fields.add("Warnings", warnings.join("\n"));
    if updated.changed {
        let next = match updated.downtime_ms {
            Some(_) => format!("bigskies plugin rollback {plugin_id}   brings back what was before"),
            None => format!("bigskies plugin start {plugin_id}"),
        };
        fields.add("Next", next);
    }
    format!("{title}\n{}", indented(&fields.render(), "  "))
}

/// How long the plugin was away, for people.
fn downtime(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(
        || "none: it did not run, and still does not".to_owned(),
        |ms| format!("{} until it was ready again", lasting_exactly(ms)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::finish;

    fn updated() -> Updated {
        Updated {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            version: "1.1.0".to_owned(),
            previous_version: "1.0.0".to_owned(),
            digest: "sha256:new".to_owned(),
            previous_digest: "sha256:old".to_owned(),
            changed: true,
            downtime_ms: Some(1_840),
            warnings: vec!["/discovery: unknown\u{7} key".to_owned()],
        }
    }

    #[test]
    fn an_update_is_told_with_both_versions_and_how_long_the_plugin_was_away() {
        let expected = "\
focuser updated: 1.0.0 -> 1.1.0
  Image      sha256:new
  Before     sha256:old
  Downtime   1.8 s until it was ready again
  Warnings   /discovery: unknown\\x07 key
  Next       bigskies plugin rollback focuser   brings back what was before";
        assert_eq!(finish(&render(Operation::Update, &updated()), false), expected);
    }

    #[test]
    fn a_plugin_that_did_not_run_has_to_be_started() {
        let rolled_back = Updated { downtime_ms: None, warnings: Vec::new(), ..updated() };
        let expected = "\
focuser rolled back: 1.0.0 -> 1.1.0
  Image      sha256:new
  Before     sha256:old
  Downtime   none: it did not run, and still does not
  Next       bigskies plugin start focuser";
        assert_eq!(finish(&render(Operation::Rollback, &rolled_back), false), expected);
    }

    #[test]
    fn what_did_not_change_is_told_as_such() {
        let same = Updated {
            version: "1.0.0".to_owned(),
            digest: "sha256:old".to_owned(),
            changed: false,
            downtime_ms: None,
            warnings: Vec::new(),
            ..updated()
        };
        let text = finish(&render(Operation::Update, &same), false);
        assert_eq!(text, "focuser was at 1.0.0 already\n  Image   sha256:old");
        let config = Updated { changed: true, ..same };
        let text = finish(&render(Operation::Update, &config), false);
        assert!(text.starts_with("focuser updated: 1.0.0 as before\n"), "{text}");
    }
}
