//! The operator's login, where people and their tools look for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::file::{self, FileError, Owner};
use crate::seed::Credentials;

/// Where the broker is reached from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why the operator's login could not be left on the host.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Its file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file that tells who the checkout belongs to is missing.
    #[error("could not look at {}, whose owner is to own the operator's login: mount the checkout's docker-compose.yml there", path.display())]
    Checkout {
        /// What was looked at.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Leaves `operator.env` in the folder, for the user that the checkout belongs to and nobody else, and
/// beside it `ca.crt`, which other machines need to connect.
///
/// `operator.env` is for `. .bigskies/operator.env` in a shell and for the command line.
pub fn ensure_login_on_host(
    folder: &Path,
    checkout: &Path,
    endpoint: &Endpoint,
    login: &Credentials<'_>,
    authority: &str,
) -> Result<bool, OperatorError> {
    let metadata = fs::metadata(checkout)
        .map_err(|source| OperatorError::Checkout { path: checkout.to_owned(), source })?;
    let owner = Owner::of(&metadata);
    file::ensure_folder(folder, owner)?;
    // Logins of image registries are read from here (docker's config.json); the folder starts empty.
    file::ensure_folder(&folder.join("registry"), owner)?;
    file::ensure_file(&folder.join("ca.crt"), authority.as_bytes(), Some(owner), 0o644)?;
    let content = format!(
        "MQTT_HOST={}\nMQTT_PORT={}\nMQTT_USERNAME={}\nMQTT_PASSWORD={}\n",
        endpoint.host, endpoint.port, login.username, login.password,
    );
    Ok(file::ensure_file(&folder.join("operator.env"), content.as_bytes(), Some(owner), 0o600)?)
}

/// Leaves the login as the default of Mosquitto's own clients, which read `$XDG_CONFIG_HOME/mosquitto_pub`.
pub fn ensure_client_defaults(folder: &Path, owner: Owner, login: &Credentials<'_>) -> Result<(), FileError> {
    let content = format!("-u {}\n-P {}\n", login.username, login.password);
    for client in ["mosquitto_pub", "mosquitto_sub", "mosquitto_rr"] {
        file::ensure_file(&folder.join(client), content.as_bytes(), Some(owner), 0o400)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LOGIN: Credentials<'_> = Credentials { username: "operator.operator", password: "pw" };

    fn endpoint() -> Endpoint {
        Endpoint { host: "127.0.0.1".into(), port: 1883 }
    }

    #[test]
    fn the_login_is_private_and_written_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkout = folder.path().join("docker-compose.yml");
        fs::write(&checkout, "").expect("write");
        let place = folder.path().join(".bigskies");
        let ensure = || ensure_login_on_host(&place, &checkout, &endpoint(), &LOGIN, "PEM").expect("ensure");
        assert!(ensure());
        assert!(!ensure());
        let login = place.join("operator.env");
        assert_eq!(fs::metadata(&login).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(&login).expect("read"),
            "MQTT_HOST=127.0.0.1\nMQTT_PORT=1883\nMQTT_USERNAME=operator.operator\nMQTT_PASSWORD=pw\n",
        );
    }

    #[test]
    fn without_the_checkout_the_error_says_what_to_mount() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        let error = ensure_login_on_host(folder.path(), &missing, &endpoint(), &LOGIN, "PEM")
            .expect_err("no checkout");
        assert!(error.to_string().contains("docker-compose.yml"), "{error}");
    }
}
