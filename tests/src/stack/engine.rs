//! The container engine, asked through its command line: as an operator would look.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::command::Run;

/// The ids of all containers, running or not, that match every filter.
///
/// # Errors
/// The engine cannot be asked.
pub async fn containers(filters: &[String]) -> Result<Vec<String>> {
    listed(&["ps", "--all", "--no-trunc", "--quiet"], filters).await
}

/// What a listing of the engine prints with these filters, a line each.
///
/// # Errors
/// The engine cannot be asked.
pub async fn listed(list: &[&str], filters: &[String]) -> Result<Vec<String>> {
    let filters = filters.iter().flat_map(|filter| ["--filter", filter.as_str()]);
    Run::docker(list.iter().copied().chain(filters)).lines().await
}

/// Everything about a container, if there is one of that name or id.
///
/// # Errors
/// The engine cannot be asked, or answers with what is no JSON.
pub async fn inspect(container: &str) -> Result<Option<Value>> {
    let output = Run::docker(["container", "inspect", container]).output().await?;
    if output.code != Some(0) {
        anyhow::ensure!(output.text.contains("No such container"), "{}", output.text);
        return Ok(None);
    }
    let found: Vec<Value> = serde_json::from_str(&output.text)
        .with_context(|| format!("docker inspect printed no JSON: {}", output.text))?;
    Ok(found.into_iter().next())
}

/// The value of a variable in a container's environment.
pub fn variable(container: &Value, name: &str) -> Option<String> {
    let environment = container["Config"]["Env"].as_array()?;
    let pairs = environment.iter().filter_map(|pair| pair.as_str()?.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// Resident memory of all processes of a container, in bytes.
///
/// # Errors
/// The container does not run.
pub async fn resident_bytes(container: &str) -> Result<u64> {
    let rows = Run::docker(["top", container, "-eo", "pid,rss"]).lines().await?;
    let kibibytes = rows.iter().filter_map(|row| row.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kibibytes.sum::<u64>() * 1024)
}
