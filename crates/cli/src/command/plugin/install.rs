//! `plugin install`: registers a plugin and pulls its image.

use std::fs;
use std::path::Path;

use envelope::message::MAX_MESSAGE_BYTES;
use envelope::payload::lifecycle::{InstallRequest, Installed, ManifestSource};
use envelope::{Operation, PluginId};
use serde_json::Value;

use super::Context;
use crate::approval;
use crate::args::Install;
use crate::failure::Failure;
use crate::prompt::Terminal;
use crate::render::{Fields, Ink, clean, indented, ink};

const QUESTION: &str = "Approve and install?";

pub(super) async fn run(args: Install, context: &Context) -> Result<(), Failure> {
    let manifest = args.manifest.as_deref().map(|path| read("the manifest", path)).transpose()?;
    let config = args.config.as_deref().map(|path| read("the configuration", path)).transpose()?;
    let plugin_id = match args.id {
        Some(id) => id,
        None => id_of(manifest.as_ref())?,
    };
    let waiting = format!("install {plugin_id}");
    let mut request =
        InstallRequest { plugin_id, source: Some(args.source), config, manifest, approve: args.approve };
    loop {
        match context.ask(Operation::Install, &request, &waiting).await {
            Ok(data) => return context.show(data, render),
            // When it asks for something else after it was approved, that is shown and asked about too.
            Err(Failure::Refused(refusal)) if approval::is_needed(&refusal) => {
                let mut asked = Terminal::new(&context.screen);
                let command = |digest: &str| again(std::env::args(), digest);
                let digest = approval::decide(refusal, asked.as_mut(), QUESTION, command).await?;
                request.approve = Some(digest);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// The command line that was typed, with the approval of `digest`.
fn again(typed: impl Iterator<Item = String>, digest: &str) -> String {
    let approve = "--approve";
    let mut words = Vec::new();
    let mut typed = typed.peekable();
    while let Some(word) = typed.next_if(|word| word != "--") {
        if word == approve {
            typed.next();
        } else if !word.starts_with("--approve=") {
            words.push(word);
        }
    }
    words.extend([approve.to_owned(), digest.to_owned()]);
    words.extend(typed);
    words.iter().map(|word| super::shell_word(word)).collect::<Vec<_>>().join(" ")
}

/// Reads a JSON file that goes into the request.
fn read(what: &str, path: &Path) -> Result<Value, Failure> {
    let cannot = |why: String| Failure::Usage(format!("could not read {what} {}: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(cannot(format!("it has {} bytes, a request at most {MAX_MESSAGE_BYTES}", bytes.len())));
    }
    serde_json::from_slice(&bytes).map_err(|error| cannot(format!("it is not JSON: {error}")))
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
    fn a_file_that_is_no_json_is_told_with_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugin.json");
        for content in ["{", "", "\u{1b}"] {
            fs::write(&path, content).expect("a file");
            let failure = read("the manifest", &path).expect_err("no JSON");
            assert!(failure.to_string().contains("plugin.json: it is not JSON"), "{failure}");
        }
        assert!(read("the manifest", &folder.path().join("none")).is_err());
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

    #[test]
    fn the_command_to_repeat_is_the_one_that_was_typed() {
        let typed = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>().into_iter();
        for (line, repeated) in [
            (
                "bigskies|plugin|install|r/i:1|--id|focuser",
                "bigskies plugin install r/i:1 --id focuser --approve d",
            ),
            ("bigskies|plugin|install|--approve|old|r/i:1", "bigskies plugin install r/i:1 --approve d"),
            ("bigskies|plugin|install|--approve=old|r/i:1", "bigskies plugin install r/i:1 --approve d"),
            (
                "bigskies|plugin|install|--config|my file|--|r/i:1",
                "bigskies plugin install --config 'my file' --approve d -- r/i:1",
            ),
        ] {
            assert_eq!(again(typed(line), "d"), repeated);
        }
    }
}
