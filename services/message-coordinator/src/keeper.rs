//! Keeps the broker to what it should be: the one place where commands come from.
//!
//! Whoever wants something changed holds the administrator for as long as it takes to look, plan, do and read
//! back, so that no two changes are ever interleaved. What is wanted is written down first; whatever is
//! interrupted is found and finished by the next pass.

mod accounts;
mod adopt;
mod canary;
mod deprovision;
mod execute;
mod hear;
mod know;
mod provision;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use acl::compile::PluginRoles;
use chassis::health::Condition;
use chassis::{HealthBoard, Parts};
use envelope::payload::spec::{AclOutcome, AclStatus, Presence};
use envelope::principal::operator_login;
use envelope::{OperatorName, PluginId, StartId};
use tokio::sync::{Notify, watch};

use crate::accounts::{AccountStore, Accounts};
use crate::broker::{self, Admin, ObserveError, Version};
use crate::desired::{Desired, Verdict, judge, judge_one, username};
use crate::logins::{Login, LoginStore, Logins};
use crate::proof::is_canary;
use crate::reconcile::{Plan, Planned, plan};
use crate::report::{Cause, Report};
use crate::specs::{SpecStore, Specs};
use seal::{Seal, SealError};

pub(crate) use accounts::AccountError;
pub(crate) use canary::CanaryLogin;
pub(crate) use provision::ProvisionError;

/// Why a pass did not come to its end. The next one finds what is left to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// The broker did not tell what stands there.
    #[error("the broker could not be looked at")]
    Observe(#[from] ObserveError),
    /// The broker did not answer to the changes.
    #[error("the broker could not be changed")]
    Admin(#[from] broker::AdminError),
    /// The database failed.
    #[error("the database could not be used")]
    Store(#[from] sqlx::Error),
    /// Some steps failed; the others were done.
    #[error("{} changes at the broker failed: {}", .0.len(), .0.iter().take(3).map(|f| f.reason.as_str()).collect::<Vec<_>>().join("; "))]
    Steps(Vec<StepFailure>),
}

/// Why what is known cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The database failed.
    #[error("the database could not be used")]
    Store(#[from] sqlx::Error),
    /// A password could not be sealed with the new key.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A step that the broker did not carry out, or not so that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepFailure {
    /// The plugin that it was about.
    pub(crate) plugin: Option<PluginId>,
    /// The operator's account that it was about.
    pub(crate) account: Option<OperatorName>,
    /// What happened.
    pub(crate) reason: String,
}

/// What is known of all plugins and accounts.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Specs.
    pub(crate) specs: Specs,
    /// Logins.
    pub(crate) logins: Logins,
    /// Operators' accounts.
    pub(crate) accounts: Accounts,
    /// The latest start of which there was a login.
    pub(crate) latest_start: Option<StartId>,
}

/// Keeps the broker to what it should be.
pub(crate) struct Keeper {
    admin: tokio::sync::Mutex<Admin>,
    ready: watch::Receiver<Option<u64>>,
    link: watch::Receiver<bus::Link>,
    version: watch::Receiver<Option<Version>>,
    state: Mutex<State>,
    specs: SpecStore,
    logins: LoginStore,
    accounts: AccountStore,
    owed: Notify,
    /// Whether what was lost here was taken over from the broker.
    adopted: AtomicBool,
    store: store::Store,
    /// Whether the last pass over everything found what it could not settle.
    puzzled: AtomicBool,
    seal: Seal,
    report: Report,
    health: HealthBoard,
}

/// How much a pass looks at.
enum Scope<'a> {
    Everything,
    /// One plugin; `fresh` while its login is being made.
    Only {
        id: &'a PluginId,
        fresh: bool,
    },
    /// One operator's account.
    Account(&'a OperatorName),
}

impl Keeper {
    /// Loads what is known.
    pub(crate) async fn load(admin: Admin, seal: Seal, parts: &Parts) -> Result<Self, LoadError> {
        let specs = SpecStore::new(parts.store.pool().clone());
        let logins = LoginStore::new(parts.store.pool().clone());
        let accounts = AccountStore::new(parts.store.pool().clone());
        let mut state = State {
            specs: specs.load().await?,
            logins: logins.load().await?,
            accounts: accounts.load(envelope::Timestamp::now()).await?,
            latest_start: adopt::latest_start(&parts.store).await?,
        };
        // Canaries' passwords are made anew with each start; their logins stand at the broker until then.
        state.logins.retain(|id, _| !is_canary(id));
        for login in state.logins.values_mut() {
            if login.renew(&seal)? {
                logins.put(login).await?;
            }
            if let Err(error) = login.password(&seal) {
                tracing::error!(plugin_id = login.plugin_id.as_str(), %error, "a login cannot be restored");
                login.password = None;
            }
        }
        for account in state.accounts.values_mut() {
            if account.renew(&seal)? {
                accounts.put(account).await?;
            }
            if let Err(error) = account.password(&seal) {
                tracing::error!(account = account.name.as_str(), %error, "an account cannot be restored");
                account.password = None;
            }
        }
        Ok(Self {
            ready: admin.ready(),
            link: admin.link(),
            version: admin.version(),
            admin: tokio::sync::Mutex::new(admin),
            state: Mutex::new(state),
            specs,
            logins,
            accounts,
            owed: Notify::new(),
            adopted: AtomicBool::new(false),
            store: parts.store.clone(),
            puzzled: AtomicBool::new(false),
            seal,
            report: Report::new(parts.publisher.clone()),
            health: parts.health.clone(),
        })
    }

    /// Counts the connections on which the broker can be administered; none while there is none.
    pub(crate) fn ready(&self) -> watch::Receiver<Option<u64>> {
        self.ready.clone()
    }

    /// The broker's version, once it has told it.
    pub(crate) fn version(&self) -> watch::Receiver<Option<Version>> {
        self.version.clone()
    }

    /// Why the broker cannot be administered, in words.
    pub(crate) fn why_away(&self) -> String {
        match &*self.link.borrow() {
            bus::Link::Down { reason } => reason.clone(),
            bus::Link::Up { .. } => "the broker does not let the administrator listen to its answers".into(),
        }
    }

    /// The roles of a plugin's login, or else those that its next one gets. None when no spec of it is known.
    pub(crate) fn roles_of(&self, id: &PluginId) -> Option<Verdict> {
        let state = self.state();
        if let Some(login) = state.logins.get(id).filter(|l| !l.ending) {
            return Some(Ok(login.roles.clone()));
        }
        judge_one(&state.specs, id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares everything with what it should be, and puts it right.
    pub(crate) async fn compare(&self, cause: &Cause) -> Result<(), PassError> {
        let mut admin = self.admin.lock().await;
        self.ensure_canaries(&mut admin, cause).await?;
        self.pass(&mut admin, Scope::Everything, cause, &BTreeMap::new()).await
    }

    /// Looks, plans, does, reads back, writes down, tells. `causes` are those of single plugins where they
    /// have one of their own.
    async fn pass(
        &self,
        admin: &mut Admin,
        scope: Scope<'_>,
        cause: &Cause,
        causes: &BTreeMap<PluginId, Cause>,
    ) -> Result<(), PassError> {
        self.adopt(admin).await?;
        let (verdicts, desired) = self.desired(&scope);
        let observed = match scope {
            Scope::Everything => broker::everything(admin).await?,
            Scope::Only { id, .. } => {
                let guards: Vec<String> = desired
                    .plugins
                    .values()
                    .flat_map(|wanted| wanted.roles())
                    .map(|role| role.rolename.clone())
                    .collect();
                broker::only(admin, id, &username(id), &guards).await?
            }
            Scope::Account(name) => {
                let roles = desired.fixed_roles.iter().chain(desired.accounts.values().map(|a| &a.role));
                let roles = roles.map(|role| role.rolename.clone()).collect();
                broker::some(admin, roles, &operator_login(name)).await?
            }
        };
        let disconnects = Version::disconnects_on_new_rules(*self.version.borrow());
        let plan = plan(&desired, &observed, disconnects);
        let failures = self.execute(admin, &plan).await?;
        let failed = |id: &PluginId| failures.iter().any(|f| f.plugin.as_ref() == Some(id));
        for (id, wanted) in &desired.plugins {
            if wanted.login.as_ref().is_some_and(|l| l.ending) && !failed(id) {
                self.forget_login(id).await?;
            }
        }
        let shared = failures.iter().any(|f| f.plugin.is_none() && f.account.is_none());
        for id in desired.plugins.keys().filter(|id| !failed(id) && !shared) {
            self.settle(id, verdicts.get(id), causes.get(id).unwrap_or(cause)).await?;
        }
        let failed = |name: &OperatorName| failures.iter().any(|f| f.account.as_ref() == Some(name));
        for name in desired.accounts.keys().filter(|name| !failed(name) && !shared) {
            self.settle_account(name, &scope, cause).await?;
        }
        self.tell(&scope, &plan, &failures, cause);
        if failures.is_empty() { Ok(()) } else { Err(PassError::Steps(failures)) }
    }

    fn desired(&self, scope: &Scope<'_>) -> (BTreeMap<PluginId, Verdict>, Desired) {
        let state = self.state();
        let State { specs, logins, accounts, .. } = &*state;
        match scope {
            Scope::Everything => {
                let verdicts = judge(specs, logins);
                let desired = Desired::everything(specs, logins, accounts, &verdicts);
                (verdicts, desired)
            }
            Scope::Only { id, fresh } => {
                let verdict = judge_one(specs, id);
                let desired = Desired::only(id, specs, logins, verdict.as_ref(), *fresh);
                (verdict.map(|v| ((*id).clone(), v)).into_iter().collect(), desired)
            }
            Scope::Account(name) => {
                let desired = accounts.get(name).map(Desired::account).unwrap_or_default();
                (BTreeMap::new(), desired)
            }
        }
    }

    /// Writes down what became of a spec, and acknowledges it.
    async fn settle(&self, id: &PluginId, verdict: Option<&Verdict>, cause: &Cause) -> Result<(), PassError> {
        let Some(known) = self.state().specs.get(id).cloned() else { return Ok(()) };
        let outcome = match (known.spec.presence, verdict) {
            (Presence::Absent, _) => AclOutcome::Absent,
            (Presence::Present, Some(Ok(roles))) => applied(roles),
            (Presence::Present, Some(Err(reasons))) => AclOutcome::Refused { reasons: reasons.clone() },
            (Presence::Present, None) => return Ok(()),
        };
        if outcome == AclOutcome::Absent {
            self.forget_login(id).await?;
        }
        let status = match known.status {
            Some(status) if status.outcome == outcome => status,
            _ => {
                let status = AclStatus {
                    plugin_id: id.clone(),
                    uid: known.spec.uid,
                    generation: known.spec.generation,
                    outcome,
                    at: envelope::Timestamp::now(),
                };
                self.specs.settle(&status).await?;
                if let Some(known) = self.state().specs.get_mut(id) {
                    known.status = Some(status.clone());
                }
                self.report.settled(&status, cause);
                status
            }
        };
        self.report.acknowledge(&status);
        Ok(())
    }

    async fn keep_login(&self, login: Login) -> Result<(), sqlx::Error> {
        self.logins.put(&login).await?;
        self.state().logins.insert(login.plugin_id.clone(), login);
        Ok(())
    }

    async fn forget_login(&self, id: &PluginId) -> Result<(), sqlx::Error> {
        if self.state().logins.contains_key(id) {
            self.logins.remove(id).await?;
            self.state().logins.remove(id);
        }
        Ok(())
    }

    fn tell(&self, scope: &Scope<'_>, plan: &Plan, failures: &[StepFailure], cause: &Cause) {
        let done =
            |p: &&Planned| !failures.iter().any(|f| (&f.plugin, &f.account) == (&p.plugin, &p.account));
        self.report.drift(plan.steps.iter().filter(done), cause);
        if !matches!(scope, Scope::Everything) {
            if self.puzzled.load(Ordering::Relaxed) {
                // What was found may be settled by this, and only a look at everything tells.
                self.owed.notify_one();
            }
            return;
        }
        self.puzzled.store(!plan.findings.is_empty(), Ordering::Relaxed);
        let condition = match plan.findings.as_slice() {
            [] => Condition::Good,
            findings => {
                let more = findings.len().saturating_sub(5);
                let mut text = findings.iter().take(5).cloned().collect::<Vec<_>>().join(" ");
                if more > 0 {
                    text.push_str(&format!(" And {more} more."));
                }
                Condition::Degraded(text)
            }
        };
        self.health.set("broker identities", condition);
        let state = self.state();
        self.health.figure("plugins", state.specs.len());
        let logins = state.logins.keys().filter(|id| !is_canary(id)).count();
        self.health.figure("plugin_logins", logins);
        self.health.figure("operators", state.accounts.values().filter(|a| !a.removed).count());
        self.health.figure("foreign_logins", plan.foreign_logins);
        self.health.figure("compared_at", envelope::Timestamp::now().to_string());
    }
}

fn applied(roles: &PluginRoles) -> AclOutcome {
    AclOutcome::Applied { role: roles.manifest.rolename.clone() }
}
