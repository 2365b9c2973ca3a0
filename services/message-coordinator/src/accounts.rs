//! Operators' accounts: who may log in as what.
//!
//! The table decides; the broker's logins are made from it, and made again where they are lost. What may be
//! asked of an account is decided in [`rules`].

pub mod rules;

mod store;

use std::collections::BTreeMap;

use acl::fixed;
use acl::password::Password;
use envelope::payload::account::{NewPassword, OperatorAccount};
use envelope::principal::operator_login;
use envelope::{OperatorName, OperatorRole, Timestamp};
use seal::{DoesNotOpen, Seal, SealError};
use uuid::Uuid;

pub use store::AccountStore;

/// An operator's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: OperatorName,
    /// What it may do.
    pub role: OperatorRole,
    /// Whether it cannot log in.
    pub disabled: bool,
    /// Its password; none where only the broker knows it.
    pub password: Option<KeptPassword>,
    /// When it was made, and by whom; none of the one that the installation began with.
    pub created: Option<(Timestamp, String)>,
    /// Its last change.
    pub changed: Changed,
    /// Whether it is gone, or to go.
    pub removed: bool,
    /// Whether the last change is at the broker.
    pub applied: bool,
}

/// A password as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptPassword {
    /// Names it, so that the broker can be asked which password it has.
    pub id: Uuid,
    /// Itself, encrypted.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for KeptPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptPassword({})", self.id)
    }
}

/// A change to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The request's row in the journal: taken up again after a restart, it is not carried out twice.
    pub request_id: String,
}

/// All accounts, by name.
pub type Accounts = BTreeMap<OperatorName, Account>;

impl Account {
    /// The one that an installation begins with. Its password is the seed's, and not known here.
    pub fn first() -> Self {
        Self {
            name: fixed::first_operator(),
            role: fixed::FIRST_OPERATORS_ROLE,
            disabled: false,
            password: None,
            created: None,
            changed: Changed {
                at: Timestamp::from_millis(0),
                by: "the installation".into(),
                request_id: String::new(),
            },
            removed: false,
            applied: true,
        }
    }

    /// Whether the seed makes it.
    pub fn is_first(&self) -> bool {
        self.name == fixed::first_operator()
    }

    /// Whether it can decide about accounts.
    pub fn is_enabled_admin(&self) -> bool {
        !self.removed && !self.disabled && self.role == OperatorRole::Admin
    }

    /// The name of its login at the broker.
    pub fn username(&self) -> String {
        operator_login(&self.name)
    }

    /// What stands beside its login at the broker; none where the password is not known.
    pub fn note(&self) -> Option<String> {
        self.password.as_ref().map(|kept| format!("password {}", kept.id))
    }

    /// Its password, if it is known.
    pub(crate) fn password(&self, seal: &Seal) -> Result<Option<Password>, DoesNotOpen> {
        let Some(kept) = &self.password else { return Ok(None) };
        let opened = seal.open(&sealed_as(&self.name, kept.id), &kept.sealed)?;
        let text = std::str::from_utf8(&opened).map_err(|_| DoesNotOpen)?;
        Ok(Some(Password::known(text)))
    }

    /// Gives it a password.
    pub(crate) fn set_password(&mut self, password: &NewPassword, seal: &Seal) -> Result<(), SealError> {
        let id = Uuid::now_v7();
        let sealed = seal.seal(&sealed_as(&self.name, id), password.expose().as_bytes())?;
        self.password = Some(KeptPassword { id, sealed });
        Ok(())
    }

    /// Seals its password anew where that was done with the key before. Returns whether it was.
    pub(crate) fn renew(&mut self, seal: &Seal) -> Result<bool, SealError> {
        let Some(kept) = &mut self.password else { return Ok(false) };
        let renewed = seal.renew(&sealed_as(&self.name, kept.id), &kept.sealed)?;
        Ok(renewed.map(|sealed| kept.sealed = sealed).is_some())
    }

    /// As it is told to whoever asks.
    pub fn shown(&self) -> OperatorAccount {
        OperatorAccount {
            name: self.name.clone(),
            role: self.role,
            disabled: self.disabled,
            created_at: self.created.as_ref().map(|(at, _)| *at),
            created_by: self.created.as_ref().map(|(_, by)| by.clone()),
            pending: !self.applied,
            note: None,
        }
    }
}

/// What a sealed password is, so that none opens as another's. A plugin id has no space in it.
fn sealed_as(name: &OperatorName, id: Uuid) -> String {
    format!("operator {name}/{id}")
}
