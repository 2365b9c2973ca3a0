//! Which broker, and as whom: the login file, the environment over it, the options over both.
//!
//! No connection is made here, and no secret is ever shown.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bus::Password;
use envelope::OperatorName;

use crate::args::Common;

/// Where the login file lies in the folder of a checkout.
const FILE: &str = ".bigskies/operator.env";
/// Before the operator's name in a login.
const PREFIX: &str = "operator.";
/// More than a login file, a password or certificates can reasonably have, in bytes.
const LARGEST_FILE: u64 = 64 * 1024;
/// The usual port of brokers.
const PLAIN: u16 = 1883;
/// Their usual port for encrypted connections.
pub(crate) const ENCRYPTED: u16 = 8883;

/// Everything that a connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Host name or address of the broker.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// The broker login, `operator.{name}`.
    pub(crate) username: String,
    /// The operator's name.
    pub(crate) operator: OperatorName,
    /// The login's password.
    pub(crate) password: Password,
    /// Where user name and password came from, in words.
    pub(crate) origin: String,
    /// The login file when others can read it.
    pub(crate) exposed: Option<PathBuf>,
    /// By what the broker is trusted, when the connection is encrypted.
    pub(crate) tls: Option<Trust>,
}

/// The certificates by one of which the broker's must be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Where they are from.
    pub(crate) path: PathBuf,
    /// They themselves (PEM).
    pub(crate) pem: Vec<u8>,
}

/// Why there is no login to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// No user name or no password anywhere.
    #[error(
        "no {what} for the broker: there is no {FILE} here or in a folder above, and neither environment nor options give one"
    )]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// The file has no user name or no password.
    #[error("no {what} for the broker: {} has none, and neither environment nor options give one", .file.display())]
    Incomplete {
        /// What is missing.
        what: &'static str,
        /// The login file.
        file: PathBuf,
    },
    /// A file cannot be read.
    #[error("could not read {what} {}: {source}", .path.display())]
    Unreadable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A line of the login file is not understood.
    #[error("line {line} of {}: {fault}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// The port is no port.
    #[error("MQTT_PORT in {origin} is no port number from 1 to 65535")]
    Port {
        /// Where it came from.
        origin: String,
    },
    /// The login is not an operator's.
    #[error("the login {username:?} is not an operator's: it must be {PREFIX}NAME")]
    NotAnOperator {
        /// The login.
        username: String,
    },
}

/// What is wrong with a line of a login file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineFault {
    /// No `KEY=`.
    #[error("is not KEY=VALUE")]
    NotAnAssignment,
    /// A quote is never closed.
    #[error("has a quote that is not closed")]
    OpenQuote,
    /// A shell would put something else in its place, or run it.
    #[error("has a $ or ` that a shell would expand; put the value in single quotes")]
    Expansion,
    /// More than one word, or an operator of the shell.
    #[error("has a blank or one of ; & | < > ( ) outside quotes; put the value in single quotes")]
    Unquoted,
}

impl Login {
    /// Puts the login together.
    ///
    /// `folder` is where the search for the login file begins, `environment` looks a variable up.
    ///
    /// # Errors
    /// Says what is missing or wrong, and where.
    pub(crate) fn find(
        options: &Common,
        environment: impl Fn(&str) -> Option<String>,
        folder: &Path,
    ) -> Result<Self, LoginError> {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let file = find_file(folder);
        // A file that is not needed is not read: one that is broken must not be in the way.
        let needed = (options.username.is_none() && environment("MQTT_USERNAME").is_none())
            || (options.password_file.is_none() && environment("MQTT_PASSWORD").is_none())
            || (options.host.is_none() && environment("MQTT_HOST").is_none());
        let mut values = match &file {
            Some(path) if needed => parse(&read("the login file", path)?, path)?,
            _ => BTreeMap::new(),
        };
        let file_name = || file.as_ref().map_or_else(String::new, |f| f.display().to_string());
        let missing = |what| match &file {
            Some(file) => LoginError::Incomplete { what, file: file.clone() },
            None => LoginError::Missing { what },
        };

        let mut value = |name: &str| {
            environment(name)
                .map(|v| (v, format!("the environment ({name})")))
                .or_else(|| values.remove(name).filter(|v| !v.is_empty()).map(|v| (v, file_name())))
        };
        let host = options.host.clone().or_else(|| value("MQTT_HOST").map(|(host, _)| host));
        let tls = match (&options.tls_ca, environment("MQTT_TLS_CA")) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(path)) => Some(PathBuf::from(path)),
            // What a file says is seen from where the file is.
            (None, None) => value("MQTT_TLS_CA").map(|(path, file)| beside(Path::new(&file), &path)),
        };
        let tls = tls.map(trust).transpose()?;
        let usual = if tls.is_some() { ENCRYPTED } else { PLAIN };
        let port = match (options.port, value("MQTT_PORT")) {
            (Some(port), _) => port,
            (None, None) => usual,
            (None, Some((text, origin))) => match text.trim().parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(LoginError::Port { origin }),
            },
        };
        let (username, user_origin) = options
            .username
            .clone()
            .map(|username| (username, "the option --username".to_owned()))
            .or_else(|| value("MQTT_USERNAME"))
            .ok_or_else(|| missing("user name"))?;
        let (password, password_origin) = match &options.password_file {
            Some(path) => {
                let text = read("the password file", path)?;
                (text.trim_end_matches(['\r', '\n']).to_owned(), path.display().to_string())
            }
            None => value("MQTT_PASSWORD").ok_or_else(|| missing("password"))?,
        };
        let operator = username
            .strip_prefix(PREFIX)
            .and_then(|name| OperatorName::parse(name).ok())
            .ok_or_else(|| LoginError::NotAnOperator { username: username.clone() })?;
        let origin = if user_origin == password_origin {
            user_origin
        } else {
            format!("{user_origin}, its password from {password_origin}")
        };
        Ok(Self {
            host: host.unwrap_or_else(|| "127.0.0.1".to_owned()),
            port,
            username,
            operator,
            password: Password::new(password),
            origin,
            exposed: file.filter(|path| needed && is_exposed(path)),
            tls,
        })
    }
}

/// `path` as it is meant in `file`.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// The certificates in a file. Whether they are any is found out when they are used.
fn trust(path: PathBuf) -> Result<Trust, LoginError> {
    let pem = read("the CA certificates", &path)?.into_bytes();
    Ok(Trust { path, pem })
}

/// The nearest login file, in `folder` or one above it.
fn find_file(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(FILE)).find(|path| path.exists())
}

fn read(what: &'static str, path: &Path) -> Result<String, LoginError> {
    let unreadable = |source| LoginError::Unreadable { what, path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // A pipe such as `<(pass show operator)` is welcome and has no length.
    if metadata.is_file() && metadata.len() > LARGEST_FILE {
        return Err(unreadable(io::Error::other("it is far too large")));
    }
    fs::read_to_string(path).map_err(unreadable)
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_: &Path) -> bool {
    false
}

/// The assignments of a file that a shell can source too.
fn parse(text: &str, path: &Path) -> Result<BTreeMap<String, String>, LoginError> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = parse_line(line).map_err(|fault| LoginError::Line {
            path: path.to_owned(),
            line: index + 1,
            fault,
        })?;
        values.insert(key, value);
    }
    Ok(values)
}

/// One assignment, read as a POSIX shell reads it (XCU 2.2, quoting), without expansions.
fn parse_line(line: &str) -> Result<(String, String), LineFault> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (key, rest) = line.split_once('=').ok_or(LineFault::NotAnAssignment)?;
    let is_name = !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(LineFault::NotAnAssignment);
    }
    let mut value = String::new();
    let mut characters = rest.chars();
    while let Some(c) = characters.next() {
        match c {
            '\'' => single_quoted(&mut characters, &mut value)?,
            '"' => double_quoted(&mut characters, &mut value)?,
            '\\' => value.push(characters.next().ok_or(LineFault::OpenQuote)?),
            '$' | '`' => return Err(LineFault::Expansion),
            c if c.is_whitespace() => {
                let rest = characters.as_str().trim_start();
                if rest.is_empty() || rest.starts_with('#') {
                    break;
                }
                return Err(LineFault::Unquoted);
            }
            ';' | '&' | '|' | '<' | '>' | '(' | ')' => return Err(LineFault::Unquoted),
            c => value.push(c),
        }
    }
    Ok((key.to_owned(), value))
}

fn single_quoted(characters: &mut std::str::Chars<'_>, value: &mut String) -> Result<(), LineFault> {
    loop {
        match characters.next().ok_or(LineFault::OpenQuote)? {
            '\'' => return Ok(()),
            c => value.push(c),
        }
    }
}

fn double_quoted(characters: &mut std::str::Chars<'_>, value: &mut String) -> Result<(), LineFault> {
    loop {
        match characters.next().ok_or(LineFault::OpenQuote)? {
            '"' => return Ok(()),
            '$' | '`' => return Err(LineFault::Expansion),
            '\\' => match characters.next().ok_or(LineFault::OpenQuote)? {
                c @ ('$' | '`' | '"' | '\\') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
