//! Renewing every generated secret while the framework runs, in three steps that can each be repeated.
//!
//! `prepare` makes a second login of each coordinator at the broker, beside the first. `switch` puts the new
//! logins and keys where the coordinators look when they start; the old ones still work. When each has been
//! restarted, `finish` takes away the old. Interrupted anywhere, what runs keeps running, and doing it again
//! from the first step ends in the same state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use acl::dynsec::Command;
use acl::fixed;
use envelope::Coordinator;

use crate::administer::{AdministerError, Administrator};
use crate::file::{self, FileError};
use crate::layout::Service;
use crate::login::{self, COORDINATORS, Login};
use crate::secret::{self, SecretError};
use crate::secrets::{self, SecretsError};
use crate::tls;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Make the new logins beside the old.
    Prepare,
    /// Put the new secrets where coordinators find them at their next start.
    Switch,
    /// Take the old secrets away.
    Finish,
}

/// What to renew, and where.
#[derive(Debug, clap::Args)]
#[group(id = "rotate")]
pub struct Arguments {
    /// How far to go.
    #[arg(value_enum)]
    stage: Stage,
    #[command(flatten)]
    secrets: secrets::Arguments,
    /// The broker's name or address from here.
    #[arg(long, default_value = "mqtt-broker")]
    broker_host: String,
    /// Its port.
    #[arg(long, default_value_t = 1883)]
    broker_port: u16,
}

/// Why secrets were not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Making or reading a secret failed.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The same.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The broker's logins could not be changed.
    #[error(transparent)]
    Administer(#[from] AdministerError),
    /// There is nothing to put into place.
    #[error("nothing was prepared: run `rotate prepare` first")]
    NotPrepared,
    /// A coordinator may still use the old.
    #[error("the new secrets are not in place yet: run `rotate switch` first, and restart the coordinators")]
    NotSwitched,
}

/// Goes one stage.
pub async fn run(arguments: &Arguments) -> Result<(), RotateError> {
    match arguments.stage {
        Stage::Prepare => prepare(arguments).await,
        Stage::Switch => switch(arguments.secrets.volumes()),
        Stage::Finish => finish(arguments).await,
    }
}

async fn prepare(arguments: &Arguments) -> Result<(), RotateError> {
    let volumes = arguments.secrets.volumes();
    secrets::ensure(&arguments.secrets)?;
    let in_place = |service| login::previous_path(service, volumes).exists();
    let (done, waiting): (Vec<_>, Vec<_>) = COORDINATORS.into_iter().partition(|(_, s)| in_place(*s));
    for (c, _) in done {
        println!("{c}: the new login is in place already, from a renewal that was not finished");
    }
    if !waiting.is_empty() {
        let mut administrator = connect(arguments).await?;
        for (c, service) in waiting {
            let present = login::ensure(c, service, volumes)?;
            let next = login::ensure_next(c, service, volumes, &present)?;
            ensure_login(&mut administrator, c, &next).await?;
            println!("{c}: the login {} stands beside {}", next.username, present.username);
        }
    }
    for service in KEYS {
        if !previous_key(service, volumes).exists() {
            secret::ensure_key(&next_key(service, volumes), service.owner())?;
        }
    }
    let operator = Service::Operator.secrets(volumes).join("password.next");
    secret::ensure_password(&operator, Service::Operator.owner())?;
    // A broker that starts from the seed must know both.
    Ok(secrets::ensure(&arguments.secrets)?)
}

/// Whose data is encrypted with a key file.
const KEYS: [Service; 2] = [Service::Message, Service::Security];

fn key(service: Service, volumes: &Path) -> PathBuf {
    service.secrets(volumes).join("key")
}

fn next_key(service: Service, volumes: &Path) -> PathBuf {
    file::beside(&key(service, volumes), ".next")
}

/// What its coordinator can still decrypt with while it encrypts everything anew; crate `seal` looks there.
fn previous_key(service: Service, volumes: &Path) -> PathBuf {
    file::beside(&key(service, volumes), ".previous")
}

fn switch(volumes: &Path) -> Result<(), RotateError> {
    for (c, service) in COORDINATORS {
        let next = login::next_path(service, volumes);
        match login::read(&next, c)? {
            Some(_) => {
                replace(
                    &login::path(service, volumes),
                    &next,
                    &login::previous_path(service, volumes),
                    service,
                )?;
                println!("{c}: uses the new login from its next start on");
            }
            None if login::previous_path(service, volumes).exists() => {}
            None => return Err(RotateError::NotPrepared),
        }
    }
    for service in KEYS {
        let next = next_key(service, volumes);
        if next.exists() {
            replace(&key(service, volumes), &next, &previous_key(service, volumes), service)?;
        }
    }
    Ok(())
}

/// Keeps a copy of `path` as `previous`, then puts `next` over it.
fn replace(path: &Path, next: &Path, previous: &Path, service: Service) -> Result<(), FileError> {
    if let Some(present) = file::read(path)? {
        file::ensure_file(previous, &present, Some(service.owner()), 0o400)?;
    }
    file::rename(next, path)
}

async fn finish(arguments: &Arguments) -> Result<(), RotateError> {
    let volumes = arguments.secrets.volumes();
    let is_waiting = |(_, service): &(Coordinator, Service)| login::next_path(*service, volumes).exists();
    if COORDINATORS.iter().any(is_waiting) {
        return Err(RotateError::NotSwitched);
    }
    let mut administrator = connect(arguments).await?;
    for (c, service) in COORDINATORS {
        let path = login::previous_path(service, volumes);
        if let Some(old) = login::read(&path, c)? {
            let delete = Command::DeleteClient(old.username.clone());
            if administrator.has(&old.username).await? {
                administrator.order(&delete).await?;
            }
            println!("{c}: the login {} is gone", old.username);
        }
        remove(&path)?;
    }
    for service in KEYS {
        remove(&previous_key(service, volumes))?;
    }
    renew_operator(arguments, &mut administrator).await?;
    remove(&tls::server_file(volumes))?;
    Ok(secrets::ensure(&arguments.secrets)?)
}

/// Gives the first operator a new password, unless it has one of its own.
async fn renew_operator(arguments: &Arguments, administrator: &mut Administrator) -> Result<(), RotateError> {
    let folder = Service::Operator.secrets(arguments.secrets.volumes());
    let (present, next) = (folder.join("password"), folder.join("password.next"));
    let Some(new) = file::read(&next)?.and_then(|content| String::from_utf8(content).ok()) else {
        return Ok(());
    };
    let username = envelope::principal::operator_login(&fixed::first_operator());
    let old = secret::ensure_password(&present, Service::Operator.owner())?;
    let known = [&old, &new].map(|password| Login { username: username.clone(), password: password.clone() });
    let mut is_ours = false;
    for login in &known {
        is_ours |= can_log_in(arguments, login).await;
    }
    if is_ours {
        let command = Command::SetClientPassword { username, password: new.trim_end().to_owned() };
        administrator.order(&command).await?;
        println!("operator: has a new password, see .bigskies/operator.env");
        Ok(file::rename(&next, &present)?)
    } else {
        println!("operator: keeps the password that was given to it by change-operator");
        Ok(remove(&next)?)
    }
}

async fn can_log_in(arguments: &Arguments, login: &Login) -> bool {
    let (host, port) = (&arguments.broker_host, arguments.broker_port);
    let config = bus::Config::new(host.clone(), port, format!("init.{}", uuid::Uuid::new_v4().simple()))
        .login(&login.username, bus::Password::new(&login.password));
    let (bus, _inbox) = bus::Bus::connect(config);
    let mut link = bus.link();
    // The first answer decides: refused, or let in.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), link.changed()).await;
    let is_up = bus.link().borrow().is_up();
    bus.shutdown().await;
    is_up
}

async fn connect(arguments: &Arguments) -> Result<Administrator, RotateError> {
    let volumes = arguments.secrets.volumes();
    let login = login::ensure(Coordinator::Message, Service::Message, volumes)?;
    Ok(Administrator::connect(&arguments.broker_host, arguments.broker_port, &login).await?)
}

/// The login at the broker, with the coordinator's role.
async fn ensure_login(
    administrator: &mut Administrator,
    c: Coordinator,
    login: &Login,
) -> Result<(), RotateError> {
    let roles = fixed::coordinators_roles(c);
    let (username, password) = (login.username.clone(), login.password.clone());
    if administrator.has(&username).await? {
        administrator.order(&Command::SetClientPassword { username: username.clone(), password }).await?;
        administrator.order(&Command::SetClientRoles { username, roles }).await?;
    } else {
        let textname = String::new();
        administrator.order(&Command::CreateClient { username, password, textname, roles }).await?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(error)),
        _ => Ok(()),
    }
}
