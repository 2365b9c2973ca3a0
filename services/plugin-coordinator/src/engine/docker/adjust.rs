//! Putting right what somebody changed of a container.

use bollard::models::{
    ContainerUpdateBody, NetworkConnectRequest, NetworkDisconnectRequest, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::RenameContainerOptions;

use super::connection::Connection;
use super::{CHANGE, create, observe};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{Change, Container, Limits, State};

const VERB: Verb = Verb::Adjust;

pub(super) async fn adjust(
    connection: &Connection,
    container: &str,
    change: &Change,
) -> Result<(), EngineError> {
    let there = look_up(connection, container).await?;
    if is_so(&there, change) {
        return Ok(());
    }
    // By id: a name may be what is changed.
    let id = there.id.as_str();
    let answer =
        match change {
            Change::Resume => {
                connection
                    .call(VERB, container, CHANGE, |docker| async move { docker.unpause_container(id).await })
                    .await
            }
            Change::Rename(name) => {
                let options = RenameContainerOptions { name: name.clone() };
                connection
                    .call(VERB, container, CHANGE, |docker| async move {
                        docker.rename_container(id, options).await
                    })
                    .await
            }
            Change::Connect(attachment) => {
                let request = NetworkConnectRequest {
                    container: id.to_owned(),
                    endpoint_config: Some(create::endpoint(attachment)),
                };
                let network = attachment.network.as_str();
                connection
                    .call(VERB, container, CHANGE, |docker| async move {
                        docker.connect_network(network, request).await
                    })
                    .await
            }
            Change::Disconnect(network) => {
                let request = NetworkDisconnectRequest { container: id.to_owned(), force: Some(true) };
                connection
                    .call(VERB, container, CHANGE, |docker| async move {
                        docker.disconnect_network(network, request).await
                    })
                    .await
            }
            Change::Bound(limits) => {
                let body = bounds(limits);
                connection
                    .call(
                        VERB,
                        container,
                        CHANGE,
                        |docker| async move { docker.update_container(id, body).await },
                    )
                    .await
            }
        };
    // Whatever was answered: what counts is how it is now.
    if is_so(&look_up(connection, id).await?, change) {
        return Ok(());
    }
    answer?;
    Err(EngineError::Refused {
        doing: VERB,
        on: container.to_owned(),
        status: 200,
        message: "the engine did not keep the change".into(),
    })
}

async fn look_up(connection: &Connection, container: &str) -> Result<Container, EngineError> {
    let found = observe::inspect(connection, VERB, container).await?;
    found.ok_or_else(|| EngineError::NotFound {
        doing: VERB,
        on: container.to_owned(),
        message: "there is no such container".into(),
    })
}

fn is_so(there: &Container, change: &Change) -> bool {
    match change {
        Change::Resume => there.state != State::Paused,
        Change::Rename(name) => there.name == *name,
        Change::Connect(attachment) => there.networks.contains_key(&attachment.network),
        Change::Disconnect(network) => !there.networks.contains_key(network),
        Change::Bound(limits) => !there.engine_restarts && there.limits.are_as(limits),
    }
}

fn bounds(limits: &Limits) -> ContainerUpdateBody {
    // 0 is as it was to this call, and -1 is none.
    let bound = |n: Option<u64>| n.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
    let memory = bound(limits.memory_bytes);
    ContainerUpdateBody {
        memory: Some(memory),
        // Equal to memory: no swap.
        memory_swap: Some(memory),
        nano_cpus: limits.nano_cpus.and_then(|n| i64::try_from(n).ok()),
        pids_limit: Some(limits.pids.map_or(-1, i64::from)),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..Default::default()
    }
}
