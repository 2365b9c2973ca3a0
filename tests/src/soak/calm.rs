//! Quiet times: nobody asks for anything and nothing is done to the framework, so that everything must become what is
//! wanted, and single requests can be held to exactly what they do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envelope::Operation;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::answers::SAME;
use super::book::Fault;
use super::caller;
use super::choice::Ask;
use super::dice::Dice;
use super::field::{Field, Subject};
use super::model::{Model, State};
use crate::stack::COORDINATORS;
use crate::stack::command::Run;
use crate::stack::engine;
use crate::stack::ledger::Count;
use crate::stack::requester::Requester;

/// How long everything may take to become what is wanted: a plugin that was killed again and again is started after
/// a pause of up to 80 s.
const CONVERGES: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
/// How long the engine's events may lag behind.
const LAG: Duration = Duration::from_secs(3);
/// Requests that are repeated.
const REPEATED: u64 = 5;

pub(super) const WANTED: &str = "in the quiet, what is there is what is wanted";
const CONFIGURED: &str = "in the quiet, a plugin that runs has the configuration that it was given";
const TWICE: &str = "in the quiet, an operation makes and starts exactly what it must";

/// Where a plugin finds its configuration.
const CONFIGURATION: &str = "/config/plugin.json";
/// Logins of plugins that are none: with these the message coordinator tries its rules out.
const CANARIES: [&str; 2] = ["plugin.bigskies-canary-a", "plugin.bigskies-canary-b"];

/// What was seen of everything at one moment.
pub(super) struct Seen {
    plugins: Vec<Value>,
    containers: Vec<Value>,
    logins: Vec<String>,
    sick: Vec<String>,
}

/// Waits until everything is as wanted, and looks at what can be looked at only then.
pub(super) async fn calm(field: &Field, dice: &mut Dice) -> Result<()> {
    let _nobody_asks = field.going.write().await;
    let begin = Instant::now();
    let mut requester = caller::connect(field).await?;
    requester.patience = CONVERGES;
    for subject in &field.subjects {
        forget_unknown(field, &mut requester, subject).await;
    }
    let faults = loop {
        let faults = match see(field, &mut requester).await {
            Ok(seen) => compare(field, &seen).await,
            Err(error) => vec![Fault::new(WANTED, "everything can be looked at", format!("{error:#}"))],
        };
        if faults.is_empty() || begin.elapsed() > CONVERGES {
            break faults;
        }
        sleep(PAUSE).await;
    };
    let took = begin.elapsed();
    println!("{:>5} s  quiet: as wanted after {:.1} s", field.book.now().as_secs(), took.as_secs_f64());
    let well = faults.is_empty();
    for fault in faults {
        field.book.violated(fault);
    }
    if well {
        field.book.held(WANTED);
        field.book.pages().calms.push(took);
        for subject in &field.subjects {
            configured(field, subject).await;
        }
        repeat(field, &mut requester, dice).await;
        for _ in 0..2 {
            let subject = &field.subjects[dice.below(field.subjects.len() as u64) as usize];
            exactly(field, &mut requester, subject).await;
        }
    }
    Ok(())
}

/// What nobody knows the state of begins anew.
async fn forget_unknown(field: &Field, requester: &mut Requester, subject: &Subject) {
    let mut model = subject.model.lock().await;
    if model.is_none() {
        let asked = caller::request(field, requester, subject, Ask::Remove).await;
        *model = asked.map(|_| Model::absent());
    }
}

/// Looks at everything once.
///
/// # Errors
/// Somebody does not answer.
pub(super) async fn see(field: &Field, requester: &mut Requester) -> Result<Seen> {
    requester.forget();
    let listed = requester.must(Operation::List, json!({})).await?;
    let plugins = listed["plugins"].as_array().cloned().context("list tells no plugins")?;
    let (containers, logins) = (containers(field).await?, logins(field).await?);
    let mut sick = Vec::new();
    for (service, _) in COORDINATORS {
        let said = field.stack.health_of(service).await;
        if said != "healthy" {
            sick.push(format!("{service}: {said}"));
        }
    }
    Ok(Seen { plugins, containers, logins, sick })
}

async fn containers(field: &Field) -> Result<Vec<Value>> {
    let label = format!("label=org.bigskies.installation={}", field.stack.installation);
    let ids = engine::containers(&[label]).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let inspect = ["container", "inspect"].into_iter().chain(ids.iter().map(String::as_str));
    Ok(serde_json::from_str(&Run::docker(inspect).ok().await?)?)
}

async fn logins(field: &Field) -> Result<Vec<String>> {
    let identities = field.stack.identities().await?;
    let clients = identities["clients"].as_array().cloned().unwrap_or_default();
    let names = clients.iter().filter_map(|client| client["username"].as_str());
    let of_plugins = names.filter(|name| name.starts_with("plugin.") && !CANARIES.contains(name));
    Ok(of_plugins.map(str::to_owned).collect())
}

/// What is not as wanted. Of what may be several things it is noted which it is.
pub(super) async fn compare(field: &Field, seen: &Seen) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        seen.sick.iter().map(|sick| Fault::new(WANTED, "healthy coordinators", sick)).collect();
    for subject in &field.subjects {
        let mut kept = subject.model.lock().await;
        let Some(model) = kept.as_ref() else { continue };
        let mut fitting = BTreeSet::new();
        let mut why = Vec::new();
        for state in &model.0 {
            match seen.fits(subject.id.as_str(), state) {
                Ok(()) => drop(fitting.insert(*state)),
                Err(not) => why.push(not.to_string()),
            }
        }
        if fitting.is_empty() {
            faults.push(Fault::new(WANTED, format!("{} {model}", subject.id), why.join("; ")));
        } else {
            *kept = Some(Model(fitting));
        }
    }
    for bystander in &field.bystanders {
        if let Err(not) = seen.runs(bystander.id().as_str(), "1.0.0") {
            faults.push(Fault::new(WANTED, format!("{} runs", bystander.id()), not));
        }
    }
    let known: BTreeSet<&str> = field
        .subjects
        .iter()
        .map(|subject| subject.id.as_str())
        .chain(field.bystanders.iter().map(|bystander| bystander.id().as_str()))
        .collect();
    let strangers = seen.strangers(&known);
    if !strangers.is_empty() {
        faults.push(Fault::new(WANTED, "nothing but what is installed", strangers.join(", ")));
    }
    faults
}

impl Seen {
    /// The same, with the containers that there are now.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub(super) async fn with_containers_of(self, field: &Field) -> Result<Self> {
        Ok(Self { containers: containers(field).await?, ..self })
    }

    fn fits(&self, id: &str, state: &State) -> Result<()> {
        match state {
            State::Installed { runs: true, content, .. } => self.runs(id, content.release.version()),
            State::Installed { runs: false, content, .. } => {
                let told = self.told(id).context("it is not listed")?;
                let phase = &told["phase"];
                ensure!(phase == "stopped" || phase == "failed", "it is {phase}, because {}", told["cause"]);
                ensure!(told["operation"].is_null(), "it is at {}", told["operation"]);
                let version = content.release.version();
                ensure!(told["version"] == version, "it has the version {}", told["version"]);
                self.nothing_of(id)
            }
            State::Absent { .. } => {
                ensure!(self.told(id).is_none(), "it is listed: {}", self.told(id).unwrap_or(&Value::Null));
                self.nothing_of(id)
            }
        }
    }

    /// Whether it runs, in one container that was made from what it is, with one login.
    fn runs(&self, id: &str, version: &str) -> Result<()> {
        let told = self.told(id).context("it is not listed")?;
        ensure!(
            told["phase"] == "running",
            "it is {}, because {}: {}",
            told["phase"],
            told["cause"],
            told["reason"]
        );
        ensure!(told["operation"].is_null(), "it is at {}", told["operation"]);
        ensure!(told["health"] == "healthy", "its health is {}", told["health"]);
        ensure!(told["version"] == version, "it has the version {}", told["version"]);
        let found = self.of(id);
        ensure!(found.len() == 1, "it has {} containers", found.len());
        let state = &found[0]["State"];
        ensure!(state["Running"] == true && state["Paused"] == false, "its container is {state}");
        let kept = found[0]["Config"]["Labels"]["org.bigskies.release"].as_str().unwrap_or_default();
        let kept: Value = serde_json::from_str(kept).unwrap_or_default();
        // An update that came to nothing has taken a generation, and leaves the container alone.
        let (made, now) = (kept["generation"].as_u64(), told["generation"].as_u64());
        ensure!(
            made.is_some() && made <= now,
            "its container is of the generation {made:?}, and it of {now:?}"
        );
        let (made, now) = (&kept["release"], told);
        ensure!(
            made["digest"] == now["digest"] && made["manifest"]["version"] == now["version"],
            "its container has the image {} and the version {}, and it has {} and {}",
            made["digest"],
            made["manifest"]["version"],
            now["digest"],
            now["version"]
        );
        let logins = self.logins_of(id);
        ensure!(logins == 1, "it has {logins} logins at the broker");
        Ok(())
    }

    fn nothing_of(&self, id: &str) -> Result<()> {
        let (containers, logins) = (self.of(id).len(), self.logins_of(id));
        ensure!(containers == 0 && logins == 0, "it has {containers} containers and {logins} logins");
        Ok(())
    }

    fn told(&self, id: &str) -> Option<&Value> {
        self.plugins.iter().find(|told| told["plugin_id"] == id)
    }

    fn of(&self, id: &str) -> Vec<&Value> {
        self.containers.iter().filter(|found| whose(found) == id).collect()
    }

    fn logins_of(&self, id: &str) -> usize {
        self.logins.iter().filter(|login| login.strip_prefix("plugin.") == Some(id)).count()
    }

    /// What belongs to no plugin that is known.
    fn strangers(&self, known: &BTreeSet<&str>) -> Vec<String> {
        let plugins = self.plugins.iter().map(|told| told["plugin_id"].as_str().unwrap_or_default());
        let logins = self.logins.iter().filter_map(|login| login.strip_prefix("plugin."));
        let plugins = plugins.filter(|id| !known.contains(id)).map(|id| format!("the plugin {id}"));
        let logins = logins.filter(|id| !known.contains(id)).map(|id| format!("the login of {id}"));
        let containers = self.containers.iter().filter(|found| {
            !known.contains(whose(found)) || found["Config"]["Labels"]["org.bigskies.role"] != "plugin"
        });
        let containers =
            containers.map(|found| format!("the container {} of {}", found["Name"], whose(found)));
        plugins.chain(logins).chain(containers).collect()
    }
}

fn whose(container: &Value) -> &str {
    container["Config"]["Labels"]["org.bigskies.plugin_id"].as_str().unwrap_or_default()
}

/// Whether a plugin that runs has the configuration that it was given last.
async fn configured(field: &Field, subject: &Subject) {
    let kept = subject.model.lock().await;
    let Some(model) = kept.as_ref().filter(|model| model.must_run()) else { return };
    let found = async {
        let containers = field.stack.containers_of(&subject.id, "plugin").await?;
        let container = containers.first().context("it has no container")?;
        // An archive of one file, whose text can be read in it.
        let text = Run::docker(["cp", &format!("{container}:{CONFIGURATION}"), "-"]).output().await?.text;
        let gain = text
            .split_once("\"gain\":")
            .map(|(_, rest)| rest.trim_start().chars().take_while(char::is_ascii_digit));
        anyhow::Ok(gain.and_then(|digits| digits.collect::<String>().parse().ok()))
    };
    let wanted = |gain: Option<u64>| {
        let mut states = model.0.iter();
        states.any(|state| matches!(state, State::Installed { content, .. } if content.gain == gain))
    };
    match found.await {
        Ok(gain) => {
            let seen = || (format!("{} {model}", subject.id), format!("the gain {gain:?}"));
            field.book.check(CONFIGURED, wanted(gain), seen);
        }
        Err(error) => field.book.violated(Fault::new(CONFIGURED, &subject.id, format!("{error:#}"))),
    }
}

/// Repeats earlier requests: the same answers come.
async fn repeat(field: &Field, requester: &mut Requester, dice: &mut Dice) {
    for _ in 0..REPEATED {
        let asked = {
            let kept = field.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kept.get(dice.below(kept.len() as u64) as usize).cloned()
        };
        let Some(asked) = asked else { return };
        requester.forget();
        let told = async {
            requester.send(&asked).await?;
            requester.answers(&asked, 1).await
        };
        let told = told
            .await
            .map_err(|error| Fault::new(SAME, "an answer to a repeated request", format!("{error:#}")));
        let same = told.and_then(|answers| {
            let mut first = field.answers.first();
            answers.iter().try_for_each(|answer| first.note(&asked.id, &answer.payload))
        });
        match same {
            Ok(()) => field.book.held(SAME),
            Err(fault) => field.book.violated(fault),
        }
    }
}

/// Asks for operations whose effect is known exactly, and counts what the engine did for each.
async fn exactly(field: &Field, requester: &mut Requester, subject: &Subject) {
    let mut kept = subject.model.lock().await;
    let Some(mut model) = kept.take() else { return };
    let mut round = Vec::new();
    if !model.may_be_installed() {
        round.push((Ask::Install, 0, 0));
    }
    if !model.must_run() {
        round.push((Ask::Start, 1, 1));
    }
    round.extend([(Ask::Restart, 0, 1), (Ask::Stop, 0, 0), (Ask::Start, 1, 1), (Ask::Start, 0, 0)]);
    for (ask, made, started) in round {
        let (since, before) = (Instant::now(), field.ledger.count(&subject.id));
        let Some(told) = caller::request(field, requester, subject, ask).await else { return };
        // Nothing is away, and what was away has been looked for: no outage explains a refusal.
        let Some(after) = caller::judge(field, subject, &model, &[(ask, told)], false, since) else { return };
        model = after;
        let wanted = Count { made: before.made + made, started: before.started + started };
        let end = Instant::now() + LAG;
        while field.ledger.count(&subject.id) != wanted && Instant::now() < end {
            sleep(PAUSE).await;
        }
        let found = field.ledger.count(&subject.id);
        let shown = |count: Count| {
            format!(
                "{} made, {} started",
                count.made.saturating_sub(before.made),
                count.started.saturating_sub(before.started)
            )
        };
        field.book.check(TWICE, found == wanted, || {
            (format!("{ask} of {}: {}", subject.id, shown(wanted)), shown(found))
        });
    }
    *kept = Some(model);
}
