//! The login of a service: one file with two lines, name and password, so that the two always belong together.

use std::path::{Path, PathBuf};

use acl::password::Password;
use envelope::Coordinator;
use envelope::principal::{coordinator_login, coordinator_of_login, coordinator_other_login};

use crate::file::{self, FileError};
use crate::layout::Service;
use crate::secret::{self, SecretError};

/// A login at the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: String,
}

/// The coordinators, with the service that each is.
pub const COORDINATORS: [(Coordinator, Service); 3] = [
    (Coordinator::Message, Service::Message),
    (Coordinator::Security, Service::Security),
    (Coordinator::Plugin, Service::Plugin),
];

/// Where a coordinator finds its login.
pub fn path(service: Service, volumes: &Path) -> PathBuf {
    service.secrets(volumes).join("password")
}

/// The login that takes the place of the present one when secrets are renewed.
pub fn next_path(service: Service, volumes: &Path) -> PathBuf {
    file::beside(&path(service, volumes), ".next")
}

/// The login whose place was taken, until it is certain that nobody uses it any more.
pub fn previous_path(service: Service, volumes: &Path) -> PathBuf {
    file::beside(&path(service, volumes), ".previous")
}

/// The coordinator's login; made when the file holds none.
pub fn ensure(c: Coordinator, service: Service, volumes: &Path) -> Result<Login, SecretError> {
    let path = path(service, volumes);
    let login = match read(&path, c)? {
        Some(login) => login,
        None => random(coordinator_login(c))?,
    };
    write(&path, &login, service)?;
    Ok(login)
}

/// The login that takes the place of `present`: the other of the two names, with a new password.
pub fn ensure_next(
    c: Coordinator,
    service: Service,
    volumes: &Path,
    present: &Login,
) -> Result<Login, SecretError> {
    let name = if present.username == coordinator_login(c) {
        coordinator_other_login(c)
    } else {
        coordinator_login(c)
    };
    let path = next_path(service, volumes);
    let next = match read(&path, c)?.filter(|login| login.username == name) {
        Some(next) => next,
        None => random(name)?,
    };
    write(&path, &next, service)?;
    Ok(next)
}

/// The coordinator's login in a file, if it holds one.
pub fn read(path: &Path, c: Coordinator) -> Result<Option<Login>, FileError> {
    let Some(text) = file::read(path)?.and_then(|content| String::from_utf8(content).ok()) else {
        return Ok(None);
    };
    let login = text
        .trim_end()
        .split_once('\n')
        .map(|(username, password)| Login { username: username.to_owned(), password: password.to_owned() });
    Ok(login.filter(|l| coordinator_of_login(&l.username) == Some(c) && secret::is_password(&l.password)))
}

/// Puts a login into its file, for the service alone.
pub fn write(path: &Path, login: &Login, service: Service) -> Result<(), FileError> {
    let content = format!("{}\n{}\n", login.username, login.password);
    file::ensure_file(path, content.as_bytes(), Some(service.owner()), 0o400).map(drop)
}

fn random(username: String) -> Result<Login, SecretError> {
    Ok(Login { username, password: Password::random()?.as_str().to_owned() })
}
