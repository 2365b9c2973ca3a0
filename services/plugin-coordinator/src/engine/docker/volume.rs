//! Named volumes.

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;

use super::CHANGE;
use super::connection::Connection;
use crate::engine::Removal;
use crate::engine::error::{EngineError, Verb};
use crate::engine::spec::Labels;

pub(super) async fn ensure(connection: &Connection, name: &str, labels: &Labels) -> Result<(), EngineError> {
    // The engine answers with the existing one, its labels unchanged.
    let body = VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: Some("local".into()),
        labels: Some(labels.clone().into_iter().collect()),
        ..Default::default()
    };
    connection
        .call(Verb::EnsureVolume, name, CHANGE, |docker| async move { docker.create_volume(body).await })
        .await?;
    Ok(())
}

pub(super) async fn remove(connection: &Connection, name: &str) -> Result<Removal, EngineError> {
    let answer = connection
        .call(Verb::RemoveVolume, name, CHANGE, |docker| async move {
            docker.remove_volume(name, None::<RemoveVolumeOptions>).await
        })
        .await;
    match answer {
        Ok(()) => Ok(Removal::Removed),
        Err(EngineError::NotFound { .. }) => Ok(Removal::Missing),
        Err(EngineError::Conflict { .. }) => Ok(Removal::InUse),
        Err(error) => Err(error),
    }
}
