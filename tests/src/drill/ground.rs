//! Where the drill takes place: a framework whose plugin coordinator holds when it is asked to, images of throw-away
//! plugins, and another plugin that runs beside them.

use std::fs;

use anyhow::{Context as _, Result};
use envelope::PluginId;

use super::steps::Steps;
use super::table::Victim;
use crate::repository::root;
use crate::stack::bystander::Bystander;
use crate::stack::command::Run;
use crate::stack::engine::listed;
use crate::stack::images::Script;
use crate::stack::ledger::Ledger;
use crate::stack::{Stack, image_of};

/// What puts the coordinator that holds in the place of the ordinary one.
const OVERRIDE: &str = "tests/src/drill/compose.yml";

/// The images of one plugin.
#[derive(Debug, Clone)]
pub struct Images {
    /// What it is installed from.
    pub first: String,
    /// What it is updated to.
    pub second: String,
}

/// Where the drill takes place.
pub struct Ground<'a> {
    /// The framework.
    pub stack: &'a Stack,
    pub(super) ledger: Ledger,
    pub(super) steps: Steps,
    pub(super) bystander: Bystander,
    /// Images for each plugin of a wave: an image goes with the last plugin that has it.
    pub(super) images: Vec<Images>,
}

impl<'a> Ground<'a> {
    /// Makes a framework ready for waves of at most `plugins` plugins.
    ///
    /// # Errors
    /// The image of the coordinator that holds is missing, or something could not be built or started.
    pub async fn prepare(stack: &'a Stack, plugins: usize) -> Result<Self> {
        let file = root().join(OVERRIDE).display().to_string();
        let up = ["--file", &file, "up", "--detach", "--no-deps", "--no-build", "plugin-coordinator"];
        stack.compose(up).ok().await.context(
            "the plugin coordinator of the drill cannot be started; run: deploy/build-images.sh plugin-coordinator-drill",
        )?;
        stack.healthy().await;
        let mut images = Vec::new();
        for number in 0..plugins {
            let script = |part: &str| Script::throw_away(&format!("drill-{number}-{part}"));
            let (first, second) = (script("first").push(stack).await?, script("second").push(stack).await?);
            images.push(Images { first, second });
        }
        let (ledger, steps) = (Ledger::open(stack)?, Steps::listen(stack).await?);
        let bystander = Bystander::start(stack, "drill-bystander").await?;
        Ok(Self { stack, ledger, steps, bystander, images })
    }

    /// Puts the ordinary plugin coordinator back.
    ///
    /// # Errors
    /// It does not start.
    pub async fn leave(self) -> Result<()> {
        self.bystander.leave(self.stack).await?;
        let up = ["up", "--detach", "--no-deps", "--no-build", "plugin-coordinator"];
        self.stack.compose(up).ok().await?;
        self.stack.healthy().await;
        Ok(())
    }

    /// Whether the engine has an image of this repository.
    pub(super) async fn has_image(&self, source: &str) -> Result<bool> {
        let repository = source.rsplit_once(':').map_or(source, |(repository, _)| repository);
        Ok(!Run::docker(["images", "--all", "--quiet", repository]).lines().await?.is_empty())
    }

    /// A file of a container.
    pub(super) async fn read(&self, container: &str, path: &str) -> Result<String> {
        let place = self.stack.folder().join(format!("read-{}", uuid::Uuid::new_v4().simple()));
        let from = format!("{container}:{path}");
        Run::docker(["cp", &from, &place.display().to_string()]).ok().await?;
        let content = fs::read_to_string(&place);
        fs::remove_file(&place)?;
        Ok(content?)
    }

    /// A file of a volume, which is mounted at `folder` for it: whoever else has it may run or not.
    pub(super) async fn read_volume(&self, volume: &str, folder: &str, path: &str) -> Result<String> {
        let image = image_of("forwarder");
        let mount = format!("{volume}:{folder}:ro");
        let container = Run::docker(["create", "--volume", &mount, &image]).line().await?;
        let content = self.read(&container, path).await;
        Run::docker(["rm", &container]).ok().await?;
        content
    }

    /// The names of a plugin's volumes.
    pub(super) async fn volumes_of(&self, id: &PluginId) -> Result<Vec<String>> {
        let filters = [
            format!("label=org.bigskies.installation={}", self.stack.installation),
            format!("label=org.bigskies.plugin_id={id}"),
        ];
        listed(&["volume", "ls", "--quiet"], &filters).await
    }

    /// Starts a plugin's process once more, leaves a container of it behind, and disturbs the other plugin.
    pub(super) async fn meddle(&self, id: &PluginId) -> Result<()> {
        for container in self.stack.containers_of(id, "plugin").await? {
            Run::docker(["restart", &container]).ok().await?;
        }
        let labels = [
            format!("org.bigskies.installation={}", self.stack.installation),
            format!("org.bigskies.plugin_id={id}"),
            "org.bigskies.role=forwarder".to_owned(),
        ];
        let image = image_of("forwarder");
        let labels = labels.iter().flat_map(|label| ["--label", label.as_str()]);
        Run::docker(["create"].into_iter().chain(labels).chain([image.as_str()])).ok().await?;
        self.bystander.disturb(self.stack).await
    }

    pub(super) async fn kill(&self, victim: Victim) -> Result<()> {
        victim.kill(self.stack).await
    }

    pub(super) async fn start(&self, victim: Victim) -> Result<()> {
        victim.start(self.stack).await
    }
}
