//! Bridge networks.

use std::collections::HashMap;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;

use super::connection::Connection;
use super::{LOOK, fault};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{Network, NetworkSpec, Removal};

const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const ICC: &str = "com.docker.network.bridge.enable_icc";

pub(super) async fn ensure(connection: &Connection, spec: &NetworkSpec) -> Result<(), EngineError> {
    if let Some(there) = look_up(connection, Verb::EnsureNetwork, &spec.name).await? {
        return has_rights(&there, spec);
    }
    let options = [(MASQUERADE, spec.masquerade), (ICC, spec.icc)];
    let body = NetworkCreateRequest {
        name: spec.name.clone(),
        driver: Some("bridge".into()),
        internal: Some(spec.internal),
        options: Some(options.map(|(name, on)| (name.to_owned(), on.to_string())).into()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        ..Default::default()
    };
    let made = connection
        .call(
            Verb::EnsureNetwork,
            &spec.name,
            LOOK,
            |docker| async move { docker.create_network(body).await },
        )
        .await;
    match made {
        Ok(_) => Ok(()),
        // Somebody else was quicker.
        Err(EngineError::Conflict { message, .. }) => {
            match look_up(connection, Verb::EnsureNetwork, &spec.name).await? {
                Some(there) => has_rights(&there, spec),
                None => Err(conflict(spec, message)),
            }
        }
        Err(error) => Err(error),
    }
}

/// Rights cannot be changed later: one with others is somebody else's, or of an older release.
fn has_rights(there: &Network, spec: &NetworkSpec) -> Result<(), EngineError> {
    if (there.internal, there.masquerade, there.icc) == (spec.internal, spec.masquerade, spec.icc) {
        return Ok(());
    }
    let say = |internal, masquerade, icc| {
        format!("internal {internal}, masquerade {masquerade}, containers see each other {icc}")
    };
    let message = format!(
        "a network of this name has other rights ({} in place of {}); remove it and try again",
        say(there.internal, there.masquerade, there.icc),
        say(spec.internal, spec.masquerade, spec.icc),
    );
    Err(conflict(spec, message))
}

fn conflict(spec: &NetworkSpec, message: String) -> EngineError {
    EngineError::Conflict { doing: Verb::EnsureNetwork, on: spec.name.clone(), message }
}

pub(super) async fn look_up(
    connection: &Connection,
    doing: Verb,
    name: &str,
) -> Result<Option<Network>, EngineError> {
    let answer = connection
        .call(doing, name, LOOK, |docker| async move {
            docker.inspect_network(name, None::<InspectNetworkOptions>).await
        })
        .await;
    let Some(found) = fault::found(answer)? else {
        return Ok(None);
    };
    let id = found.id.unwrap_or_default();
    let found_name = found.name.unwrap_or_default();
    let options = found.options.unwrap_or_default();
    let option = |name: &str| options.get(name).is_none_or(|value| value != "false");
    let members: HashMap<_, _> = found.containers.unwrap_or_default();
    let mut containers: Vec<String> = members.into_values().filter_map(|member| member.name).collect();
    containers.sort();
    Ok(Some(Network {
        id,
        name: found_name,
        internal: found.internal.unwrap_or_default(),
        masquerade: option(MASQUERADE),
        icc: option(ICC),
        labels: found.labels.unwrap_or_default().into_iter().collect(),
        containers,
    }))
}

pub(super) async fn remove(connection: &Connection, name: &str) -> Result<Removal, EngineError> {
    let answer = connection
        .call(Verb::RemoveNetwork, name, LOOK, |docker| async move { docker.remove_network(name).await })
        .await;
    match answer {
        Ok(()) => Ok(Removal::Removed),
        Err(EngineError::NotFound { .. }) => Ok(Removal::Missing),
        // 403 in every version: it has active endpoints, or is one of the engine's own.
        Err(EngineError::Conflict { .. } | EngineError::Refused { status: 403, .. }) => Ok(Removal::InUse),
        Err(error) => Err(error),
    }
}
