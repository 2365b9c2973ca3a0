//! The soak's own mischief, at the end: whether its checks notice what they must.

use anyhow::Result;

use super::answers::First;
use super::caller;
use super::calm::{compare, see};
use super::choice::may_be_refused;
use super::field::Field;
use super::logs;
use super::model::{Content, Model, Release, State};
use super::watch::{bystanders_untouched, look_at_bystanders, none_twice};
use crate::stack::VERSION;
use crate::stack::command::Run;

/// What was tried, and whether it was noticed.
pub(super) type Tried = Vec<(&'static str, bool)>;

/// Does what must be noticed, with the plugin coordinator away where it would put it right. Nothing may run after this.
///
/// # Errors
/// It cannot be done.
pub(super) async fn goes_unnoticed(field: &Field) -> Result<Tried> {
    let mut tried = Vec::new();
    let mut requester = caller::connect(field).await?;
    let seen = see(field, &mut requester).await?;
    tried.push(("nothing, which must be as wanted", compare(field, &seen).await.is_empty()));

    let content = Content { release: Release::Second, gain: None };
    let elsewhere = State::Installed { runs: true, content, previous: None };
    let subject = &field.subjects[0];
    let kept = subject.model.lock().await.replace(Model([elsewhere].into()));
    let is = kept.as_ref().is_some_and(|model| model.0.iter().all(|state| state.runs_like(&elsewhere)));
    let faults = compare(field, &seen).await;
    tried.push(("a plugin that is not what its answers say", is || !faults.is_empty()));
    *subject.model.lock().await = kept;

    let bystanders = look_at_bystanders(field).await;
    if let Some(first) = field.bystanders.first() {
        first.disturb(&field.stack).await?;
    }
    let faults = bystanders_untouched(field, &bystanders).await;
    tried.push(("a plugin restarted that nobody touches", faults.iter().any(Option::is_some)));

    let mut first = First::default();
    let told = [first.note("a", b"done"), first.note("a", b"undone")];
    tried.push(("an answer that is delivered with other bytes", told[1].is_err()));
    tried.push((
        "a refusal that nothing explains",
        !may_be_refused(envelope::ErrorCode::Internal, true, true),
    ));
    tried.push(("an error in a log", logs::is_odd(r#"{"level":"ERROR","message":"not explained"}"#)));

    let coordinator = field.stack.container("plugin-coordinator");
    Run::docker(["stop", &coordinator]).ok().await?;
    for id in ["soak-stranger", "soak-stranger", "soak-bystander"] {
        let labels = [
            format!("org.bigskies.installation={}", field.stack.installation),
            format!("org.bigskies.plugin_id={id}"),
            "org.bigskies.role=plugin".to_owned(),
        ];
        let image = format!("bigskies/forwarder:{VERSION}");
        let labels = labels.iter().flat_map(|label| ["--label", label.as_str()]);
        Run::docker(["create"].into_iter().chain(labels).chain([image.as_str()])).ok().await?;
    }
    tried.push(("a second container of a plugin", none_twice(field).await.is_some()));
    let faults = compare(field, &seen.with_containers_of(field).await?).await;
    let of = |part: &str| faults.iter().any(|fault| fault.seen.contains(part));
    tried.push(("a container that belongs to nobody", of("soak-stranger")));
    tried.push(("a container too many in the quiet", of("2 containers")));
    Ok(tried)
}
