//! `plugin inspect`: everything about one plugin.

use std::collections::BTreeMap;

use envelope::payload::grant::SecurityRating;
use envelope::payload::lifecycle::{
    ContainerSummary, ExitRecord, Inspection, PluginRequest, PreviousRelease,
};
use envelope::{Operation, PluginId, Timestamp};

use super::install::source_in_words;
use super::list::watchdog_in_words;
use super::{Context, grants};
use crate::approval::rating_in_words;
use crate::failure::Failure;
use crate::render::{Fields, Ink, ago, clean, clean_lines, indented, ink, phase, plugin_health};

pub(super) async fn run(plugin_id: PluginId, context: &Context) -> Result<(), Failure> {
    let request = PluginRequest { plugin_id };
    let data = context.ask(Operation::Inspect, &request, "asking the plugin coordinator").await?;
    context.show(data, |inspection| render(inspection, Timestamp::now()))
}

fn render(inspection: &Inspection, now: Timestamp) -> String {
    let state = &inspection.state;
    let said = |text: &Option<String>| text.as_deref().map(|t| format!(": {}", clean(t))).unwrap_or_default();
    let when = |time: Timestamp| format!("{}  {}", ago(time, now), ink(Ink::Faint, &format!("({time})")));
    let mut fields = Fields::default();
    fields
        .add("Phase", format!("{}{}", phase(state.phase), said(&state.reason)))
        .add("Health", format!("{}{}", plugin_health(state.health), said(&state.health_message)))
        .maybe(
            "Watchdog",
            state.watchdog.as_ref().map(|w| format!("{}, since {}", watchdog_in_words(w), ago(w.since, now))),
        )
        .maybe(
            "Operation",
            state
                .operation
                .as_ref()
                .map(|o| format!("{}: {}, since {}", o.operation, clean(&o.step), ago(o.since, now))),
        )
        .add("Since", when(state.since))
        .add("Cause", clean(&state.cause))
        .add("Image", clean(&inspection.source))
        .add("Digest", clean(&state.digest))
        .add("Manifest", source_in_words(inspection.manifest_source))
        .add("Installed", when(inspection.installed_at))
        .add("Generation", format!("{} of {}", state.generation.0, inspection.uid))
        .maybe("Rollback", inspection.previous.as_ref().map(previous))
        .add("Rating", rating(&inspection.rating))
        .add("Node", clean(&state.node))
        .maybe("Container", inspection.container.as_ref().map(container))
        .add("Names", inspection.dns_names.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", "))
        .add("Ports", pairs(&inspection.ports))
        .add("Data", pairs(&inspection.volumes))
        .maybe("Last exit", inspection.last_exit.as_ref().map(|exit| last_exit(exit, now)))
        .add("Warnings", inspection.warnings.iter().map(|w| clean(w)).collect::<Vec<_>>().join("\n"));
    let title = format!("{}  {} {}", state.plugin_id, clean(&state.name), clean(&state.version));
    let mut text = format!("{}\n{}", ink(Ink::Strong, &title), indented(&fields.render(), "  "));
    if !inspection.grants.is_empty() {
        let title = ink(Ink::Strong, "What it may do beyond its own topics");
        let grants = grants::table(&inspection.grants, now).render(None);
        text.push_str(&format!("\n\n{title}\n{}", indented(&grants, "  ")));
    }
    text
}

/// What `plugin rollback` would bring back.
fn previous(previous: &PreviousRelease) -> String {
    let PreviousRelease { version, source, digest } = previous;
    format!("to {}: {}\n{}", clean(version), clean(source), clean(digest))
}

fn rating(rating: &SecurityRating) -> String {
    let mut lines = vec![rating_in_words(u64::from(rating.score))];
    lines.extend(rating.reasons.iter().map(|reason| clean(reason)));
    lines.join("\n")
}

fn container(container: &ContainerSummary) -> String {
    let id: String = container.id.chars().take(12).collect();
    format!("{} ({})", clean(&container.name), clean(&id))
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(from, to)| format!("{} -> {}", clean(from), clean(to))).collect::<Vec<_>>().join("\n")
}

fn last_exit(exit: &ExitRecord, now: Timestamp) -> String {
    let memory = if exit.oom_killed { ", ended for its use of memory" } else { "" };
    let mut text = format!("code {}{memory}, {}", exit.code, ago(exit.at, now));
    if !exit.log_tail.trim().is_empty() {
        text.push_str(&format!("\n{}", indented(&clean_lines(&exit.log_tail), "| ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use envelope::payload::lifecycle::ManifestSource;
    use envelope::{Generation, InstallUid};

    use super::*;
    use crate::command::plugin::list::tests::state;
    use crate::render::finish;

    #[test]
    fn everything_that_is_known_stands_below_each_other() {
        let uid: InstallUid = "01890000-0000-7000-8000-000000000000".parse().expect("a uuid");
        let mut state = state("focuser");
        state.health_message = Some("ready\u{7}".to_owned());
        let since = state.since;
        let inspection = Inspection {
            state,
            uid,
            generation: Generation(1),
            source: "registry.example.org/focuser:1".to_owned(),
            installed_at: since,
            manifest: serde_json::json!({}),
            manifest_source: ManifestSource::File,
            container: Some(ContainerSummary {
                id: "0123456789abcdef".to_owned(),
                name: "bigskies-plugin-focuser".to_owned(),
                started_at: None,
            }),
            ports: BTreeMap::from([("127.0.0.1:8080".to_owned(), "80/tcp".to_owned())]),
            volumes: BTreeMap::new(),
            dns_names: vec!["focuser".to_owned(), "myfocuser".to_owned()],
            last_exit: Some(ExitRecord {
                code: 137,
                oom_killed: true,
                at: since,
                log_tail: "one\ntwo\n".to_owned(),
            }),
            warnings: Vec::new(),
            rating: SecurityRating { score: 5, reasons: vec!["It has a way out to the internet.".to_owned()] },
            grants: vec![serde_json::from_value(serde_json::json!({
                "key": "port:0.0.0.0:8080/tcp", "sentence": "be reached from other machines on 8080/tcp", "risk": "medium",
                "grant": {}, "state": "approved", "by": "operator:ann", "at": since,
            })).expect("a grant")],
            previous: Some(PreviousRelease {
                version: "0.9.0".to_owned(),
                source: "registry.example.org/focuser:0.9".to_owned(),
                digest: "sha256:cd\u{7}".to_owned(),
            }),
        };
        let expected = "\
focuser  Focuser Control 1.0.0
  Phase        running
  Health       healthy: ready\\x07
  Since        2 min ago  (2026-01-16T00:00:00.000Z)
  Cause        start by operator:ada
  Image        registry.example.org/focuser:1
  Digest       sha256:ab
  Manifest     from /plugin.json in the image
  Installed    2 min ago  (2026-01-16T00:00:00.000Z)
  Generation   1 of 01890000-0000-7000-8000-000000000000
  Rollback     to 0.9.0: registry.example.org/focuser:0.9
               sha256:cd\\x07
  Rating       5 of 6
               It has a way out to the internet.
  Node         local
  Container    bigskies-plugin-focuser (0123456789ab)
  Names        focuser, myfocuser
  Ports        127.0.0.1:8080 -> 80/tcp
  Last exit    code 137, ended for its use of memory, 2 min ago
               | one
               | two

What it may do beyond its own topics
  RISK     STATE      WHO            WHEN        GRANT                   WHAT IT MEANS
  medium   approved   operator:ann   2 min ago   port:0.0.0.0:8080/tcp   be reached from other machines on 8080/tcp";
        let now = since.after(std::time::Duration::from_secs(150));
        assert_eq!(finish(&render(&inspection, now), false), expected);
    }
}
