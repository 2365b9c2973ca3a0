//! What a plugin asks for beyond its own namespace, what of that it has, and who decided.

use envelope::Timestamp;
use envelope::payload::grant::{ApprovalDetails, GrantState, GrantStatus, Grants, SecurityRating};
use envelope::payload::state::Phase;
use manifest::{Grant, Manifest, approval_digest};
use serde::{Deserialize, Serialize};

use super::{Desired, Record, Release};

/// Something that a plugin asks for, and whether it has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// What.
    pub grant: Grant,
    /// Whether it has it, since when, and who decided that.
    #[serde(flatten)]
    pub state: GrantState,
}

impl Granted {
    /// What was approved by somebody.
    pub fn approved(grant: Grant, by: &str, at: Timestamp) -> Self {
        Self { grant, state: GrantState::Approved { by: by.to_owned(), at } }
    }

    /// Whether the plugin has it.
    pub fn is_approved(&self) -> bool {
        matches!(self.state, GrantState::Approved { .. })
    }
}

/// The keys of grants in a sentence: of many the first ones.
pub(crate) fn keys(grants: &[Grant]) -> String {
    const MOST: usize = 8;
    let first: Vec<String> = grants.iter().take(MOST).map(Grant::key).collect();
    match grants.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// What is to be approved of an image: everything that its manifest asks for.
pub(crate) fn approval(image_digest: &str, manifest: &Manifest, asked: &[Grant]) -> ApprovalDetails {
    ApprovalDetails {
        approve: approval_digest(image_digest, &manifest.digest(), asked),
        rating: manifest::rating(manifest, asked),
        grants: asked.iter().map(Grant::entry).collect(),
    }
}

impl Release {
    fn of(&self, approved: bool) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |g| g.is_approved() == approved).map(|g| &g.grant)
    }

    /// What a plugin has of it beyond its own namespace.
    pub fn granted(&self) -> Vec<Grant> {
        self.of(true).cloned().collect()
    }

    /// What was taken back from a plugin and it cannot run without.
    pub fn lacks(&self) -> Vec<Grant> {
        self.of(false).filter(|grant| grant.is_needed_to_run()).cloned().collect()
    }
}

impl Record {
    fn of(&self, approved: bool) -> impl Iterator<Item = &Grant> {
        self.release.of(approved)
    }

    /// What it has beyond its own namespace.
    pub fn granted(&self) -> Vec<Grant> {
        self.release.granted()
    }

    /// What was taken back from it.
    pub fn revoked(&self) -> Vec<Grant> {
        self.of(false).cloned().collect()
    }

    /// What was taken back from it and it cannot run without.
    pub fn lacks(&self) -> Vec<Grant> {
        self.release.lacks()
    }

    /// Everything that it asks for.
    pub fn asked(&self) -> Vec<Grant> {
        self.release.grants.iter().map(|g| g.grant.clone()).collect()
    }

    /// What is to be approved so that it has everything that it asks for: all of that, not only what is
    /// missing, so that one digest means one list.
    pub fn approval(&self, manifest: &Manifest) -> ApprovalDetails {
        approval(&self.release.digest, manifest, &self.asked())
    }

    /// How far it has to be trusted with what it has.
    pub fn rating(&self, manifest: &Manifest) -> SecurityRating {
        manifest::rating(manifest, &self.granted())
    }

    /// What it asks for, and whether it has it.
    pub fn statuses(&self) -> Vec<GrantStatus> {
        let list = self.release.grants.iter();
        list.map(|g| GrantStatus { entry: g.grant.entry(), state: g.state.clone() }).collect()
    }

    /// All of this, as operators are told.
    pub fn grants(&self, manifest: &Manifest) -> Grants {
        Grants {
            plugin_id: self.id.clone(),
            grants: self.statuses(),
            rating: self.rating(manifest),
            pending: self.of(false).next().map(|_| self.approval(manifest)),
        }
    }

    /// Takes back what has this key, also for a rollback to come: a plugin that cannot run without it is stopped,
    /// another one that runs gets a new container. Answers what of it the plugin had; none when there is no such
    /// key.
    pub fn revoke(&mut self, key: &str, by: &str, at: Timestamp) -> Option<Vec<Grant>> {
        let (mut known, mut taken) = (false, Vec::new());
        for granted in self.release.grants.iter_mut().filter(|g| g.grant.key() == key) {
            known = true;
            if granted.is_approved() {
                granted.state = GrantState::Revoked { by: by.to_owned(), at };
                taken.push(granted.grant.clone());
            }
        }
        self.settle_previous(&taken, |state| *state = GrantState::Revoked { by: by.to_owned(), at });
        if !taken.is_empty() {
            self.follow_change();
        }
        known.then_some(taken)
    }

    /// What is decided of a grant is decided of what it was before its last update too: a rollback, for which nobody
    /// is asked, brings nothing back that was taken.
    fn settle_previous(&mut self, decided: &[Grant], set: impl Fn(&mut GrantState)) {
        let previous = self.previous.iter_mut().flat_map(|release| release.grants.iter_mut());
        let keys: Vec<String> = decided.iter().map(Grant::key).collect();
        previous.filter(|g| keys.contains(&g.grant.key())).for_each(|g| set(&mut g.state));
    }

    /// Gives back everything that was taken back: a plugin that runs gets a new container. Answers what that
    /// was.
    pub fn restore(&mut self, by: &str, at: Timestamp) -> Vec<Grant> {
        let mut given = Vec::new();
        for granted in self.release.grants.iter_mut().filter(|g| !g.is_approved()) {
            granted.state = GrantState::Approved { by: by.to_owned(), at };
            given.push(granted.grant.clone());
        }
        self.settle_previous(&given, |state| *state = GrantState::Approved { by: by.to_owned(), at });
        if !given.is_empty() {
            self.follow_change();
        }
        given
    }

    /// It should be something else from now on: a plugin that runs gets a new container, and one that cannot run
    /// without what was taken back is stopped.
    pub fn follow_change(&mut self) {
        self.advance_generation();
        if self.desired == Desired::Running {
            self.failures = 0;
            self.retry_at = None;
            if !self.lacks().is_empty() {
                self.desired = Desired::Stopped;
            }
        }
        if self.standing.phase == Phase::Stopped {
            self.standing.reason = self.why_stopped();
        }
    }

    /// Why it does not run, when the framework stopped it, or something was taken back that it needs.
    pub fn why_stopped(&self) -> Option<String> {
        if let Some(halted) = &self.halted {
            return Some(halted.clone());
        }
        let lacks = self.lacks();
        let why = || format!("It cannot run without what was taken back: {}.", keys(&lacks));
        (!lacks.is_empty()).then(why)
    }
}
