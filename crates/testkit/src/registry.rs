//! A private registry of container images.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port};

const PROGRAM: &str = "docker-registry";
const ATTEMPTS: usize = 5;
/// The lowest cost that bcrypt knows: a test's password needs no protection.
const BCRYPT_COST: u32 = 4;

/// A running registry on loopback, with its files in a temporary folder. It ends with this value.
#[derive(Debug)]
pub struct Registry {
    // Before the folder: the program ends first.
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry that everybody may read and write.
    ///
    /// # Panics
    ///
    /// When it cannot be found or does not start.
    pub async fn open() -> Self {
        Self::start(None).await
    }

    /// Starts a registry that wants this login.
    ///
    /// # Panics
    ///
    /// When it cannot be found or does not start.
    pub async fn with_login(user: &str, password: &str) -> Self {
        Self::start(Some((user, password))).await
    }

    #[expect(clippy::unused_async, reason = "starting is waiting, whatever it waits on today")]
    async fn start(login: Option<(&str, &str)>) -> Self {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Self::launch(login) {
                Ok(registry) => return registry,
                Err(error) => last = error,
            }
        }
        panic!("no registry to test with: {last}; install one with `apt-get install docker-registry`");
    }

    /// `127.0.0.1:PORT`, as image references begin with it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.tail()
    }

    fn launch(login: Option<(&str, &str)>) -> Result<Self, String> {
        let folder = TempDir::with_prefix("registry-").map_err(|e| e.to_string())?;
        let path = folder.path();
        let port = free_port();
        let mut configuration = format!(
            "version: 0.1\n\
             log: {{level: info}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            path.join("storage").display()
        );
        if let Some((user, password)) = login {
            let file = path.join("htpasswd");
            fs::write(&file, htpasswd(user, password)).map_err(|e| e.to_string())?;
            configuration += &format!("auth: {{htpasswd: {{realm: testkit, path: {}}}}}\n", file.display());
        }
        let file = path.join("registry.yml");
        fs::write(&file, configuration).map_err(|e| e.to_string())?;
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(file);
        let process = Process::start(command, &path.join("registry.log"), port)?;
        Ok(Self { process, port, _folder: folder })
    }
}

/// The file by which a registry knows one user and their password.
///
/// # Panics
///
/// When there is no randomness.
#[must_use]
pub fn htpasswd(user: &str, password: &str) -> String {
    let hash = bcrypt::hash(password, BCRYPT_COST).expect("a short password and a low cost can be hashed");
    // The registry knows the name of the algorithm's revision that htpasswd writes.
    format!("{user}:{}\n", hash.replacen("$2b$", "$2y$", 1))
}
