//! Images of plugins, built here and pushed to the registries of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::Mutex;

use super::command::Run;
use super::{Stack, image_of};
use crate::repository::root;

/// The label of an image that holds its plugin's manifest.
pub const LABEL: &str = "org.bigskies.plugin.manifest";

/// One image at a time: forgetting one takes the layers along that it has in common with one that is being built.
static BUILDING: Mutex<()> = Mutex::const_new(());

/// A plugin that is a script for the shell, in an image with the clients of Mosquitto.
#[derive(Debug, Clone, Default)]
pub struct Script {
    name: String,
    script: String,
    label: Option<String>,
    file: Option<Vec<u8>>,
    archive: Option<Vec<u8>>,
    root: bool,
}

impl Script {
    /// One that does what `script` says.
    pub fn new(name: &str, script: &str) -> Self {
        Self { name: name.to_owned(), script: script.to_owned(), ..Self::default() }
    }

    /// One that is healthy and stays so, until it is told to stop.
    pub fn healthy(name: &str) -> Self {
        Self::new(name, include_str!("images/healthy.sh"))
    }

    /// One that is healthy, says so each second, first after `FIRST` of its environment (0.5 s), and ends at once where that has `DRILL_ENDS`.
    pub fn throw_away(name: &str) -> Self {
        Self::new(name, include_str!("images/throw_away.sh"))
    }

    /// With a manifest in the image's label.
    #[must_use]
    pub fn label(mut self, manifest: Value) -> Self {
        self.label = Some(manifest.to_string());
        self
    }

    /// With any text in the image's label.
    #[must_use]
    pub fn raw_label(mut self, text: &str) -> Self {
        self.label = Some(text.to_owned());
        self
    }

    /// With a manifest in a file of the image.
    #[must_use]
    pub fn file(mut self, manifest: Value) -> Self {
        self.file = Some(manifest.to_string().into_bytes());
        self
    }

    /// With any bytes in the file of the image that holds the manifest.
    #[must_use]
    pub fn raw_file(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.file = Some(bytes.into());
        self
    }

    /// With an archive unpacked into the image's root by `ADD`.
    #[must_use]
    pub fn archive(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.archive = Some(bytes.into());
        self
    }

    /// As root.
    #[must_use]
    pub fn root(mut self) -> Self {
        self.root = true;
        self
    }

    /// Builds it and pushes it to the registry without a login; returns where it is.
    ///
    /// # Errors
    /// It cannot be built or pushed.
    pub async fn push(&self, stack: &Stack) -> Result<String> {
        let folder = context(stack, &self.name)?;
        fs::write(folder.join("plugin.sh"), &self.script)?;
        // No two are the same image, else one test could not forget its own while another still uses it.
        let named = format!("LABEL org.bigskies.test={}", self.name);
        let mut dockerfile = format!("FROM {}\n{named}\nCOPY plugin.sh /plugin.sh\n", image_of("tools"));
        if let Some(manifest) = &self.file {
            fs::write(folder.join("plugin.json"), manifest)?;
            dockerfile.push_str("COPY plugin.json /plugin.json\n");
        }
        if let Some(archive) = &self.archive {
            fs::write(folder.join("archive.tar"), archive)?;
            dockerfile.push_str("ADD archive.tar /\n");
        }
        let user = if self.root { "0:0" } else { "64000:64000" };
        dockerfile.push_str(&format!("USER {user}\nENTRYPOINT [\"sh\", \"/plugin.sh\"]\n"));
        fs::write(folder.join("Dockerfile"), dockerfile)?;
        let tag = tag(&stack.registry(), stack, &self.name);
        let _one = BUILDING.lock().await;
        build(&folder, &folder.join("Dockerfile"), self.label.as_deref(), &tag).await?;
        push(&tag, None).await?;
        Ok(tag)
    }
}

/// The name of an image in a registry. It has the name of this run in it, by which it is found and removed.
pub fn tag(registry: &str, stack: &Stack, name: &str) -> String {
    format!("{registry}/{}/{name}:1.0.0", stack.project)
}

/// The sample plugin as its readme builds it: a static program and its manifest, also in the label.
///
/// # Errors
/// It cannot be built or pushed.
pub async fn push_hello(stack: &Stack) -> Result<String> {
    let source = root().join("plugins/examples/hello-rust");
    let folder = context(stack, "hello-rust")?;
    let programs = Run::new(root().join("deploy/build-programs.sh"), ["hello-rust"]).line().await?;
    fs::copy(Path::new(&programs).join("hello-rust"), folder.join("hello-rust"))?;
    fs::copy(source.join("plugin.json"), folder.join("plugin.json"))?;
    let tag = tag(&stack.registry(), stack, "hello-rust");
    let _one = BUILDING.lock().await;
    build(&folder, &source.join("Dockerfile.scratch"), Some(&hello_manifest()?.to_string()), &tag).await?;
    push(&tag, None).await?;
    Ok(tag)
}

/// The manifest of the sample plugin.
///
/// # Errors
/// It cannot be read.
pub fn hello_manifest() -> Result<Value> {
    let text = fs::read_to_string(root().join("plugins/examples/hello-rust/plugin.json"))?;
    Ok(serde_json::from_str(&text)?)
}

/// The Go program of the SDK document, verbatim, as `tests/go-sample/build.sh` makes an image of it.
///
/// # Errors
/// It cannot be built or pushed.
pub async fn push_go_sample(stack: &Stack) -> Result<String> {
    let document = root().join("docs/PLUGIN_SDK.md");
    let (document, folder) = (document.display().to_string(), stack.folder().join("go-sample"));
    let folder = folder.display().to_string();
    let tag = tag(&stack.registry(), stack, "my-plugin");
    let _one = BUILDING.lock().await;
    Run::new(root().join("tests/go-sample/build.sh"), [document.as_str(), &folder, &tag]).ok().await?;
    push(&tag, None).await?;
    Ok(tag)
}

fn context(stack: &Stack, name: &str) -> Result<PathBuf> {
    let folder = stack.folder().join("images").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

async fn build(context: &Path, dockerfile: &Path, label: Option<&str>, tag: &str) -> Result<()> {
    let (context, dockerfile) = (context.display().to_string(), dockerfile.display().to_string());
    let label = label.map(|manifest| format!("{LABEL}={manifest}"));
    let label = label.iter().flat_map(|label| ["--label", label.as_str()]);
    let build = ["build", "--quiet", "--file", &dockerfile, "--tag", tag].into_iter().chain(label);
    Run::docker(build.chain([context.as_str()])).ok().await?;
    Ok(())
}

/// Pushes an image and forgets it here: the engine shall have to pull it. With a folder of docker's own
/// configuration, when the registry wants a login.
///
/// # Errors
/// The registry does not take it.
pub async fn push(tag: &str, config: Option<&Path>) -> Result<()> {
    let config = config.map(|folder| folder.display().to_string());
    let config = config.iter().flat_map(|folder| ["--config", folder.as_str()]);
    let pushed = Run::docker(config.chain(["push", "--quiet", tag])).ok().await;
    pushed.with_context(|| format!("{tag} could not be pushed"))?;
    Run::docker(["rmi", tag]).ok().await?;
    Ok(())
}
