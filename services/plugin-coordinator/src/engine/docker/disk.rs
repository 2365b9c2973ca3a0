//! How much of the disk containers use.

use std::collections::HashMap;

use bollard::BollardRequest;
use bollard::query_parameters::{ListContainersOptions, ListVolumesOptions};

use super::CHANGE;
use super::connection::Connection;
use crate::engine::error::{EngineError, Verb};
use crate::engine::{DiskUsage, label};

/// The last version of the interface that tells the sizes of volumes in the form that is read here.
const LAST_WITH_LIST: (u32, u32) = (1, 51);

pub(super) async fn usage(
    connection: &Connection,
    installation: &str,
) -> Result<Vec<DiskUsage>, EngineError> {
    let options = ListContainersOptions {
        size: true,
        filters: Some([("label".to_owned(), vec![format!("{}={installation}", label::INSTALLATION)])].into()),
        ..Default::default()
    };
    let running = connection
        .call(Verb::DiskUsage, installation, CHANGE, |docker| async move {
            docker.list_containers(Some(options)).await
        })
        .await?;
    let mounted = running.iter().flat_map(|container| container.mounts.iter().flatten());
    let sizes = match mounted.clone().any(|mount| mount.name.is_some()) {
        true => volumes(connection, installation).await?,
        false => HashMap::new(),
    };
    let mut found: Vec<DiskUsage> = running
        .into_iter()
        .map(|container| {
            let names = container.mounts.into_iter().flatten().filter_map(|mount| mount.name);
            let known = names.filter_map(|name| sizes.get(&name).map(|bytes| (name.clone(), *bytes)));
            let name = container.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            DiskUsage {
                start: container.labels.and_then(|mut labels| labels.remove(label::START)),
                container: name.trim_start_matches('/').to_owned(),
                written: container.size_rw.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
                volumes: known.collect(),
            }
        })
        .collect();
    found.sort_by(|a, b| a.container.cmp(&b.container));
    Ok(found)
}

/// The bytes of every volume whose size is known. Only one call of the interface tells them, `/system/df`, and
/// the client library reads its answer in the form of the newest engines only. In the older form it tells volumes
/// as their list does, so the list is asked for and the request is led there.
async fn volumes(connection: &Connection, installation: &str) -> Result<HashMap<String, u64>, EngineError> {
    let version = connection.negotiated(Verb::DiskUsage, installation).await?.api_version;
    let version = older(&version);
    let listed = connection
        .call(Verb::DiskUsage, installation, CHANGE, |docker| async move {
            let docker = docker.with_request_modifier(move |request| lead_to_sizes(request, &version));
            docker.list_volumes(None::<ListVolumesOptions>).await
        })
        .await?;
    let size = |volume: bollard::models::Volume| {
        // A size that is not known is -1.
        let bytes = u64::try_from(volume.usage_data?.size).ok()?;
        Some((volume.name, bytes))
    };
    Ok(listed.volumes.unwrap_or_default().into_iter().filter_map(size).collect())
}

fn older(version: &str) -> String {
    let parsed = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (major, minor): (u32, u32) = parsed.unwrap_or(LAST_WITH_LIST).min(LAST_WITH_LIST);
    format!("{major}.{minor}")
}

fn lead_to_sizes(mut request: BollardRequest, version: &str) -> BollardRequest {
    let uri = request.uri().to_string();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Some(authority) = uri.strip_suffix(path)
        && let Ok(led) = format!("{authority}/v{version}/system/df?type=volume").parse()
    {
        *request.uri_mut() = led;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_engines_are_asked_in_the_older_form() {
        for (engine, asked) in [("1.41", "1.41"), ("1.51", "1.51"), ("1.53", "1.51"), ("x", "1.51")] {
            assert_eq!(older(engine), asked);
        }
    }
}
