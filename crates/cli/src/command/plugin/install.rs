//! `plugin install`: registers a plugin and pulls its image.

use envelope::payload::lifecycle::{InstallRequest, Installed, ManifestSource};
use envelope::{Operation, PluginId};
use serde_json::Value;

use super::approving::{self, Approvable};
use super::{Context, file};
use crate::args::Install;
use crate::failure::Failure;
use crate::render::{Fields, Ink, clean, indented, ink};

const QUESTION: &str = "Approve and install?";

pub(super) async fn run(args: Install, context: &Context) -> Result<(), Failure> {
    let manifest = args.manifest.as_deref().map(|path| file::read("the manifest", path)).transpose()?;
    let config = args.config.as_deref().map(file::read_config).transpose()?;
    let plugin_id = match args.id {
        Some(id) => id,
        None => id_of(manifest.as_ref())?,
    };
    let waiting = format!("install {plugin_id}");
    let mut request =
        InstallRequest { plugin_id, source: Some(args.source), config, manifest, approve: args.approve };
    let data = approving::ask(context, Operation::Install, &mut request, &waiting, QUESTION).await?;
    context.show(data, render)
}

impl Approvable for InstallRequest {
    fn approve(&mut self, digest: String) {
        self.approve = Some(digest);
    }
}

/// The id that goes with the request when none was typed.
fn id_of(manifest: Option<&Value>) -> Result<PluginId, Failure> {
    let Some(manifest) = manifest else {
        return Err(Failure::Usage(
            "which plugin is it? add --id with the id in its manifest, or --manifest with the file"
                .to_owned(),
        ));
    };
    let id = manifest["id"]
        .as_str()
        .ok_or_else(|| Failure::Usage("the manifest has no \"id\": add one to the file".to_owned()))?;
    PluginId::parse(id).map_err(|error| Failure::Usage(format!("the manifest's id {id:?} {error}")))
}

fn render(installed: &Installed) -> String {
    let Installed { plugin_id, name, version, .. } = installed;
    let verb =
        if installed.changed { ink(Ink::Good, "installed") } else { "was installed already".to_owned() };
    let title = format!("{plugin_id} {verb}: {} {}", clean(name), clean(version));
    let mut fields = Fields::default();
    fields.add("Image", clean(&installed.digest)).add("Manifest", source_in_words(installed.manifest_source));
    let warnings: Vec<String> = installed.warnings.iter().map(|warning| clean(warning)).collect();
    fields.add("Warnings", warnings.join("\n"));
    if installed.changed {
        fields.add("Next", format!("bigskies plugin start {plugin_id}"));
    }
    format!("{title}\n{}", indented(&fields.render(), "  "))
}

/// Where a manifest came from.
pub(super) fn source_in_words(source: ManifestSource) -> &'static str {
    match source {
        ManifestSource::Request => "from the request",
        ManifestSource::Label => "from the image's label",
        ManifestSource::File => "from /plugin.json in the image",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Exit;
    use crate::render::finish;

    #[test]
    fn without_an_id_the_manifests_own_is_taken() {
        assert_eq!(id_of(Some(&json!({"id": "focuser"}))).expect("an id").as_str(), "focuser");
        for (manifest, hint) in
            [(None, "--id"), (Some(json!({})), "\"id\""), (Some(json!({"id": "a/b"})), "A-Z a-z 0-9")]
        {
            let failure = id_of(manifest.as_ref()).expect_err("no id");
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.to_string().contains(hint), "{failure}");
        }
    }

    #[test]
    fn what_was_installed_is_told_with_the_next_step() {
        let installed = Installed {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            name: "Focuser Control".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "sha256:ab".to_owned(),
            manifest_source: ManifestSource::Label,
            changed: true,
            warnings: vec!["/discovery: unknown key".to_owned()],
        };
        let expected = "\
focuser installed: Focuser Control 1.0.0
  Image      sha256:ab
  Manifest   from the image's label
  Warnings   /discovery: unknown key
  Next       bigskies plugin start focuser";
        assert_eq!(finish(&render(&installed), false), expected);
    }
}
