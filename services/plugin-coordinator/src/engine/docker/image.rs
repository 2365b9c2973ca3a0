//! Images: pulling, looking up, removing.

use std::collections::HashMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::{CreateImageInfo, HealthConfig};
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures_util::StreamExt;

use super::connection::Connection;
use super::{CHANGE, LOOK, fault};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{Image, ImageRef, PullProgress, RegistryLogin, Removal};

/// A pull may be slow, but not silent: unpacking one large layer on a slow card is the longest silence.
const SILENCE: Duration = Duration::from_secs(300);

/// Layers that are followed; an image has at most some hundred.
const MOST_LAYERS: usize = 1000;

pub(super) async fn pull(
    connection: &Connection,
    image: &ImageRef,
    login: Option<&RegistryLogin>,
    progress: &mut (dyn FnMut(PullProgress) + Send),
) -> Result<(), EngineError> {
    let on = image.to_string();
    let options = CreateImageOptions {
        from_image: Some(image.repository().to_owned()),
        tag: Some(image.digest().to_owned()),
        ..Default::default()
    };
    let credentials = login.map(|login| DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.clone()),
        serveraddress: Some(login.host.clone()),
        ..Default::default()
    });
    let docker = connection.docker(Verb::Pull, &on).await?;
    let mut steps = docker.create_image(Some(options), None, credentials);
    let mut layers = Layers::default();
    let mut told = None;
    loop {
        let step = match tokio::time::timeout(SILENCE, steps.next()).await {
            Err(_) => {
                return Err(EngineError::Timeout { doing: Verb::Pull, on, after: SILENCE });
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => {
                let error = fault::engine(Verb::Pull, &on, error);
                connection.forget_if_broken(&error);
                return Err(error);
            }
            Ok(Some(Ok(step))) => step,
        };
        layers.note(&step);
        let now = layers.progress();
        if told != Some(now) {
            told = Some(now);
            progress(now);
        }
    }
}

pub(super) async fn look_up(connection: &Connection, reference: &str) -> Result<Option<Image>, EngineError> {
    let answer = connection
        .call(Verb::Image, reference, LOOK, |docker| async move { docker.inspect_image(reference).await })
        .await;
    Ok(fault::found(answer)?.map(|found| {
        let config = found.config.unwrap_or_default();
        Image {
            id: found.id.unwrap_or_default(),
            repo_digests: found.repo_digests.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            user: config.user.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            exposed_ports: config.exposed_ports.unwrap_or_default(),
            has_healthcheck: config.healthcheck.is_some_and(|check| does_check(&check)),
            size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        }
    }))
}

/// `HEALTHCHECK NONE` switches off what a base image brings.
fn does_check(check: &HealthConfig) -> bool {
    check.test.as_ref().and_then(|test| test.first()).is_some_and(|first| first != "NONE")
}

pub(super) async fn remove(connection: &Connection, reference: &str) -> Result<Removal, EngineError> {
    let answer = connection
        .call(Verb::RemoveImage, reference, CHANGE, |docker| async move {
            docker.remove_image(reference, None::<RemoveImageOptions>, None).await
        })
        .await;
    match answer {
        Ok(_) => Ok(Removal::Removed),
        Err(EngineError::NotFound { .. }) => Ok(Removal::Missing),
        Err(EngineError::Conflict { .. }) => Ok(Removal::InUse),
        Err(error) => Err(error),
    }
}

/// What is known of the layers of one pull.
#[derive(Debug, Default)]
struct Layers {
    by_id: HashMap<String, Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    done: bool,
    bytes_done: u64,
    bytes_total: u64,
}

impl Layers {
    fn note(&mut self, step: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&step.id, &step.status) else {
            return;
        };
        // The first step names the image in place of a layer.
        if status.starts_with("Pulling from")
            || (self.by_id.len() >= MOST_LAYERS && !self.by_id.contains_key(id))
        {
            return;
        }
        let layer = self.by_id.entry(id.clone()).or_default();
        let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
        match status.as_str() {
            "Downloading" => {
                let detail = step.progress_detail.as_ref();
                layer.bytes_done =
                    detail.and_then(|detail| number(detail.current)).unwrap_or(layer.bytes_done);
                layer.bytes_total =
                    detail.and_then(|detail| number(detail.total)).unwrap_or(layer.bytes_total);
            }
            "Verifying Checksum" | "Download complete" => layer.bytes_done = layer.bytes_total,
            "Pull complete" | "Already exists" => {
                layer.bytes_done = layer.bytes_total;
                layer.done = true;
            }
            _ => {}
        }
    }

    fn progress(&self) -> PullProgress {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let sum = |part: fn(&Layer) -> u64| self.by_id.values().map(part).fold(0, u64::saturating_add);
        PullProgress {
            layers_done: count(self.by_id.values().filter(|layer| layer.done).count()),
            layers_total: count(self.by_id.len()),
            bytes_done: sum(|layer| layer.bytes_done),
            bytes_total: sum(|layer| layer.bytes_total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    fn step(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..Default::default()
        }
    }

    #[test]
    fn progress_adds_up_over_layers() {
        let mut layers = Layers::default();
        for step in [
            step("sha256:1", "Pulling from a/b", 0, 0),
            step("a", "Pulling fs layer", 0, 0),
            step("b", "Already exists", 0, 0),
            step("a", "Downloading", 10, 100),
            step("a", "Downloading", -5, 100),
        ] {
            layers.note(&step);
        }
        let so_far = PullProgress { layers_done: 1, layers_total: 2, bytes_done: 10, bytes_total: 100 };
        assert_eq!(layers.progress(), so_far);
        layers.note(&step("a", "Download complete", 0, 0));
        layers.note(&step("a", "Extracting", 5, 1000));
        layers.note(&step("a", "Pull complete", 0, 0));
        let end = PullProgress { layers_done: 2, layers_total: 2, bytes_done: 100, bytes_total: 100 };
        assert_eq!(layers.progress(), end);
    }

    #[test]
    fn endless_layers_are_not_kept() {
        let mut layers = Layers::default();
        for n in 0..3000 {
            layers.note(&step(&n.to_string(), "Downloading", 1, i64::MAX));
        }
        assert_eq!(layers.progress().layers_total, 1000);
        assert_eq!(layers.progress().bytes_total, u64::MAX);
    }
}
