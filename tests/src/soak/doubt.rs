//! The soak's own mischief, at the end: whether its checks notice what they must.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::answers::First;
use super::caller;
use super::calm::{compare, see};
use super::choice::may_be_refused;
use super::field::Field;
use super::logs;
use super::model::{Content, Model, Release, State};
use super::watch::{bystanders_untouched, look_at_bystanders, none_twice};
use crate::stack::command::Run;
use crate::stack::image_of;

/// How long the engine's events may lag behind.
const LAG: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

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

    // Whatever it is, it is said to be something else.
    let subject = &field.subjects[0];
    let kept = subject.model.lock().await.take();
    let other = match kept.as_ref().is_some_and(Model::must_run) {
        true => State::Absent { leaving: false },
        false => {
            let content = Content { release: Release::Second, gain: None };
            State::Installed { runs: true, content, previous: None }
        }
    };
    *subject.model.lock().await = Some(Model([other].into()));
    tried.push(("a plugin that is not what its answers say", !compare(field, &seen).await.is_empty()));
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
            "org.bigskies.start_id=stray".to_owned(),
            "org.bigskies.role=plugin".to_owned(),
        ];
        let image = image_of("forwarder");
        let labels = labels.iter().flat_map(|label| ["--label", label.as_str()]);
        Run::docker(["create"].into_iter().chain(labels).chain([image.as_str()])).ok().await?;
    }
    let end = Instant::now() + LAG;
    let mut twice = field.ledger.made_twice();
    while twice.is_empty() && Instant::now() < end {
        sleep(LOOK).await;
        twice = field.ledger.made_twice();
    }
    tried.push(("two containers that were made for one start", !twice.is_empty()));
    tried.push(("a second container of a plugin", none_twice(field).await.is_some()));
    let faults = compare(field, &seen.with_containers_of(field).await?).await;
    let of = |part: &str| faults.iter().any(|fault| fault.seen.contains(part));
    tried.push(("a container that belongs to nobody", of("soak-stranger")));
    tried.push(("a container too many in the quiet", of("2 containers")));
    Ok(tried)
}
