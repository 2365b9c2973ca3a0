//! Everything secret that an installation needs, each made once and given to the one service it is for.

use std::path::{Path, PathBuf};

use acl::dynsec::Document;
use acl::fixed;
use acl::password::NoRandomness;
use envelope::principal::operator_login;

use crate::file::{self, FileError};
use crate::layout::Service;
use crate::login::{self, COORDINATORS, Login};
use crate::operator::{self, Endpoint, OperatorError};
use crate::secret::{self, SecretError};
use crate::seed::{self, Credentials};
use crate::tls::{self, TlsError};

/// Where the volumes are mounted.
#[derive(Debug, clap::Args)]
pub struct VolumesArguments {
    /// The folder with every service's volumes.
    #[arg(long, default_value = "/volumes")]
    volumes: PathBuf,
}

/// Where everything is mounted.
#[derive(Debug, clap::Args)]
#[group(id = "secrets")]
pub struct Arguments {
    #[command(flatten)]
    volumes: VolumesArguments,
    /// The folder on the host that is left the operator's login.
    #[arg(long, default_value = "/operator")]
    operator: PathBuf,
    /// A file of the checkout: whose it is, the operator's login is.
    #[arg(long, default_value = "/checkout/docker-compose.yml")]
    checkout: PathBuf,
    /// Where the broker is reached from the host.
    #[arg(long, env = "BIGSKIES_MQTT_HOST", default_value = "127.0.0.1")]
    mqtt_host: String,
    /// The port there.
    #[arg(long, env = "BIGSKIES_MQTT_PORT", default_value_t = 1883)]
    mqtt_port: u16,
    /// Names and addresses by which other machines reach the broker, with commas between them; they stand
    /// in its certificate.
    #[arg(long, env = "BIGSKIES_TLS_NAMES", default_value = "")]
    tls_names: String,
}

/// Why the secrets are not complete.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A folder or file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A secret could not be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nothing was set up here yet.
    #[error("there is no installation here ({} is missing): run `secrets` first", .0.display())]
    NoInstallation(PathBuf),
    /// A password could not be hashed.
    #[error(transparent)]
    Hash(#[from] NoRandomness),
    /// The operator's login could not be left on the host.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A certificate could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Arguments {
    /// The folder with every service's volumes.
    pub fn volumes(&self) -> &Path {
        &self.volumes.volumes
    }
}

/// Sees to all of them. Interrupted at any point and run again, it ends in the same state.
pub fn ensure(arguments: &Arguments) -> Result<(), SecretsError> {
    let volumes = arguments.volumes();
    for service in Service::ALL {
        service.ensure_folders(volumes)?;
    }
    let mut logins = Vec::new();
    for (c, service) in COORDINATORS {
        logins.push(login::ensure(c, service, volumes)?);
        // While secrets are renewed both logins of a coordinator work.
        for other in [login::next_path(service, volumes), login::previous_path(service, volumes)] {
            logins.extend(login::read(&other, c)?);
        }
    }
    let operator = Login {
        username: operator_login(&fixed::first_operator()),
        password: secret::ensure_password(
            &Service::Operator.secrets(volumes).join("password"),
            Service::Operator.owner(),
        )?,
    };
    // Message encrypts the passwords of running plugins that it keeps, security its signing keys.
    for service in [Service::Message, Service::Security] {
        secret::ensure_key(&service.secrets(volumes).join("key"), service.owner())?;
    }
    secret::ensure_installation(&installation_file(volumes), Service::Plugin.owner())?;

    let credentials: Vec<Credentials<'_>> = logins.iter().chain([&operator]).map(Credentials::of).collect();
    ensure_seed(&Service::Broker.secrets(volumes).join("dynamic-security.seed.json"), &credentials)?;
    let authority = tls::ensure(volumes, &tls::names(&arguments.tls_names)?)?;
    ensure_operator(arguments, &Credentials::of(&operator), &authority)
}

/// Prints the id of the installation, for scripts that look for what belongs to it.
pub fn print_installation(arguments: &VolumesArguments) -> Result<(), SecretsError> {
    let path = installation_file(&arguments.volumes);
    let id = file::read(&path)?.ok_or(SecretsError::NoInstallation(path))?;
    println!("{}", String::from_utf8_lossy(&id).trim_end());
    Ok(())
}

fn installation_file(volumes: &Path) -> PathBuf {
    Service::Plugin.secrets(volumes).join("installation")
}

fn ensure_seed(path: &Path, credentials: &[Credentials<'_>]) -> Result<(), SecretsError> {
    // One that cannot be read is made again: nothing of it is needed but the salts.
    let previous = file::read(path)?.and_then(|content| serde_json::from_slice::<Document>(&content).ok());
    let seed = seed::build(credentials, previous.as_ref())?;
    if file::ensure_file(path, &seed.encode(), Some(Service::Broker.owner()), 0o400)? {
        println!(
            "the seed of the broker's identities is new or changed; the broker takes it over when it starts"
        );
    }
    Ok(())
}

fn ensure_operator(
    arguments: &Arguments,
    login: &Credentials<'_>,
    authority: &str,
) -> Result<(), SecretsError> {
    let folder = Service::Operator.secrets(arguments.volumes());
    operator::ensure_client_defaults(&folder, Service::Operator.owner(), login)?;
    let endpoint = Endpoint { host: arguments.mqtt_host.clone(), port: arguments.mqtt_port };
    if operator::ensure_login_on_host(&arguments.operator, &arguments.checkout, &endpoint, login, authority)?
    {
        println!("the operator's login is in .bigskies/operator.env");
    }
    Ok(())
}
