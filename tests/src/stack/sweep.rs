//! Taking a framework down with everything that came of it, also that of a run that was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};

use super::bring_up::PREFIX;
use super::command::Run;
use super::engine::{containers, inspect, listed};
use crate::repository::root;

/// Ends what runs of tests left behind whose process is gone.
pub(super) async fn leftovers() -> Result<()> {
    let mut projects = BTreeSet::new();
    for list in [&["volume", "ls", "--format", "{{.Name}}"], &["network", "ls", "--format", "{{.Name}}"]] {
        projects
            .extend(listed(list, &[format!("name={PREFIX}")]).await?.iter().filter_map(|n| project_of(n)));
    }
    for project in projects {
        let process: u32 = project.trim_start_matches(PREFIX).parse().unwrap_or_default();
        if is_run_of_tests(process) {
            continue;
        }
        eprintln!("removing what the killed run {project} left behind");
        // What the engine does not let go is no reason to run nothing any more.
        if let Err(error) = self::project(&project).await {
            eprintln!("{project} is not removed wholly; look at it with docker: {error:#}");
        }
    }
    Ok(())
}

/// `bigskies-test-17` of `bigskies-test-17_broker-data`.
fn project_of(name: &str) -> Option<String> {
    let digits: String = name.strip_prefix(PREFIX)?.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("{PREFIX}{digits}"))
}

/// Whether that process runs and is one of these tests: its id may long be another's.
fn is_run_of_tests(process: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let program = command.split('\0').next().unwrap_or_default();
    let ours = ["e2e", "attacks", "drill", "engine", "load", "soak"];
    program.rsplit('/').next().is_some_and(|name| ours.iter().any(|ours| name.starts_with(ours)))
}

/// Ends everything of one run.
pub(super) async fn project(project: &str) -> Result<()> {
    // As an operator would; what that does not find is looked for below.
    let folder = std::env::temp_dir().join(project);
    let environment = BTreeMap::from([
        ("COMPOSE_PROJECT_NAME".to_owned(), project.to_owned()),
        ("BIGSKIES_NETWORK".to_owned(), project.to_owned()),
        ("BIGSKIES_OPERATOR_DIR".to_owned(), folder.display().to_string()),
    ]);
    let purge = Run::new(root().join("deploy/down.sh"), ["--purge"]).env(&environment).output().await?;
    if purge.code != Some(0) {
        eprintln!("deploy/down.sh --purge failed for {project}:\n{}", purge.text);
    }
    let installations = remove_containers(project).await?;
    let mut filters: Vec<String> =
        installations.iter().map(|id| format!("label=org.bigskies.installation={id}")).collect();
    filters.push(format!("label=com.docker.compose.project={project}"));
    for filter in &filters {
        let filter = std::slice::from_ref(filter);
        remove("network", &["network", "ls", "--quiet"], filter).await?;
        remove("volume", &["volume", "ls", "--quiet"], filter).await?;
    }
    remove_named(project).await?;
    remove_images(project).await?;
    remove_folders(project)
}

/// The temporary folder of a run that could not remove it itself.
fn remove_folders(project: &str) -> Result<()> {
    for entry in fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{project}-")) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("{} could not be removed", path.display()))?;
        }
    }
    Ok(())
}

/// Removes every container of the project and of its plugins, and returns the installations these belong to.
async fn remove_containers(project: &str) -> Result<BTreeSet<String>> {
    let mut found = containers(&[format!("label=com.docker.compose.project={project}")]).await?;
    let mut installations = BTreeSet::new();
    for plugin in containers(&[format!("network={project}")]).await? {
        let seen = inspect(&plugin).await?.unwrap_or_default();
        if let Some(id) = seen["Config"]["Labels"]["org.bigskies.installation"].as_str() {
            installations.insert(id.to_owned());
        }
        found.push(plugin);
    }
    found.sort();
    found.dedup();
    if !found.is_empty() {
        let all = ["rm", "--force", "--volumes"].into_iter().chain(found.iter().map(String::as_str));
        Run::docker(all).ok().await.context("containers could not be removed")?;
    }
    Ok(installations)
}

async fn remove(kind: &str, list: &[&str], filters: &[String]) -> Result<()> {
    for found in listed(list, filters).await? {
        remove_one(kind, &found).await?;
    }
    Ok(())
}

/// Removes a network or volume. A network that nothing is connected to may stay: engines lose count of a network's
/// endpoints now and then (moby/moby issue 42119), until they are restarted.
async fn remove_one(kind: &str, name: &str) -> Result<()> {
    let removed = Run::docker([kind, "rm", name]).output().await?;
    if removed.code == Some(0) {
        return Ok(());
    }
    let miscounted = removed.text.contains("has active endpoints")
        && containers(&[format!("network={name}")]).await?.is_empty();
    anyhow::ensure!(miscounted, "{kind} {name} could not be removed: {}", removed.text);
    eprintln!("the engine keeps the network {name}, to which nothing is connected: it lost count");
    Ok(())
}

/// Networks and volumes that only their names give away.
async fn remove_named(project: &str) -> Result<()> {
    for kind in ["network", "volume"] {
        let list = [kind, "ls", "--format", "{{.Name}}"];
        for found in listed(&list, &[format!("name={project}")]).await? {
            if project_of(&found).as_deref() == Some(project) {
                remove_one(kind, &found).await?;
            }
        }
    }
    Ok(())
}

/// Images of this run have its name in theirs: `127.0.0.1:5000/bigskies-test-17/hello-rust`.
async fn remove_images(project: &str) -> Result<()> {
    let list = ["images", "--all", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"];
    let mut names = BTreeSet::new();
    for line in Run::docker(list).lines().await? {
        let mut words = line.split(' ');
        let (Some(repository), Some(tag), Some(digest)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if !repository.contains(&format!("/{project}/")) {
            continue;
        }
        names.insert(match (tag, digest) {
            ("<none>", digest) => format!("{repository}@{digest}"),
            (tag, _) => format!("{repository}:{tag}"),
        });
    }
    for name in names {
        // One that shares its digest with another is gone with that.
        let removed = Run::docker(["rmi", "--force", &name]).output().await?;
        anyhow::ensure!(
            removed.code == Some(0) || removed.text.contains("No such image"),
            "{}",
            removed.text
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_in_the_names_of_its_parts() {
        assert_eq!(project_of("bigskies-test-17_broker-data").as_deref(), Some("bigskies-test-17"));
        assert_eq!(project_of("bigskies-test-17").as_deref(), Some("bigskies-test-17"));
        assert_eq!(project_of("bigskies-test-x"), None);
        assert_eq!(project_of("bigskies_broker-data"), None);
    }

    #[test]
    fn another_process_is_no_run_of_tests() {
        assert!(!is_run_of_tests(1));
        assert!(!is_run_of_tests(0));
    }
}
