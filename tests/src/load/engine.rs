//! An engine for a thousand containers: it stands between the plugin coordinator and the real engine, does itself what
//! is asked of the crowd's containers, and passes everything else on.
//!
//! What it does not do: it sends no events of the crowd's containers, and they have no volumes and no output.

mod containers;
mod http;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use containers::Containers;
use http::{Answer, Request};

/// In the names of the crowd's image and plugins, by which their containers are told from real ones.
pub const MARK: &str = "load-crowd";

/// What a container's process finds in its environment.
pub type Environment = BTreeMap<String, String>;

/// What stands for a container's process.
pub type Process = Box<dyn Fn(Environment) -> JoinHandle<()> + Send + Sync>;

/// The engine. It ends when it is dropped.
pub struct Engine {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What becomes of a request.
enum Course {
    /// It is answered here.
    Answer(Answer),
    /// The real engine answers it, with what was read of its body already.
    Pass { read: Vec<u8> },
}

struct Shared {
    containers: Containers,
    real: PathBuf,
    calls: Mutex<BTreeMap<String, u64>>,
}

impl Engine {
    /// Listens at `socket` in front of the engine at `real`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(socket: &Path, real: &Path, process: Process) -> Result<Self> {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
        // The coordinator is root without the right to pass over modes.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
        let shared = Arc::new(Shared {
            containers: Containers::new(process),
            real: real.to_owned(),
            calls: Mutex::default(),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => {
                        let shared = serving.clone();
                        tokio::spawn(async move {
                            // A client that goes away in the middle is no news.
                            if let Err(error) = shared.serve(client).await
                                && error.downcast_ref::<std::io::Error>().is_none()
                            {
                                eprintln!("load: the engine's connection failed: {error:#}");
                            }
                        });
                    }
                    Err(error) => return eprintln!("load: the engine's socket failed: {error}"),
                }
            }
        });
        Ok(Self { shared, task })
    }

    /// How often it was asked for what since this was last asked.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(&self, client: UnixStream) -> Result<()> {
        let mut client = BufReader::new(client);
        while let Some(request) = Request::read(&mut client).await? {
            self.count(&request);
            match self.course(&request, &mut client).await? {
                Course::Answer(answer) => http::answer(&mut client, &answer).await?,
                Course::Pass { read } => return request.pass(&read, &mut client, &self.real).await,
            }
        }
        Ok(())
    }

    async fn course(&self, request: &Request, client: &mut BufReader<UnixStream>) -> Result<Course> {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/containers/json") => {
                let mut all = request.ask(&self.real).await?;
                if let Value::Array(all) = &mut all {
                    all.extend(self.containers.listed(request));
                }
                Ok(Course::Answer(Answer::new(200, all)))
            }
            ("POST", "/containers/create") => {
                let read = request.body(client).await?;
                let made = self.containers.create(request, &read);
                Ok(made.map_or(Course::Pass { read }, Course::Answer))
            }
            _ if self.containers.owns(request) => {
                request.body(client).await?;
                Ok(Course::Answer(self.containers.answer(request)))
            }
            _ => Ok(Course::Pass { read: Vec::new() }),
        }
    }

    fn count(&self, request: &Request) {
        let verb = match request.path.strip_prefix("/containers/").and_then(|rest| rest.split_once('/')) {
            Some((_, verb)) => format!("containers/*/{verb}"),
            None => request.path.split('/').nth(1).unwrap_or_default().to_owned(),
        };
        let verb = match request.path.as_str() {
            "/containers/json" => "containers".to_owned(),
            "/containers/create" => "containers/create".to_owned(),
            _ => verb,
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(format!("{} {verb}", request.method)).or_default() += 1;
    }
}
