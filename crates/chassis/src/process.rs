//! The process around a coordinator: arguments, start, drain, exit code.
//!
//! Exit codes: 0 drained after SIGTERM or SIGINT, 64 bad configuration (EX_USAGE of sysexits), 70 a fault
//! of its own that is not contained (EX_SOFTWARE), 1 failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, SubscribeError};
use clap::{Parser, Subcommand};
use envelope::topic;
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

use crate::config::{BrokerLogin, ConfigError, Loaded, load};
use crate::contained::end_at_panics;
use crate::disk::Disk;
use crate::listening::Listening;
use crate::router::Router;
use crate::service::{Parts, Service, Shutdown};
use crate::sessions::{self, Identity};
use crate::watch::{self, Watch};
use crate::{Caller, HealthBoard, Publisher, Replies, health};

const BAD_CONFIGURATION: u8 = 64;
/// How long the drain may take: less than the 10 s after which Docker kills.
const DRAIN: Duration = Duration::from_secs(8);

#[derive(Parser)]
#[command(version, about = "A coordinator of BIG SKIES")]
struct Arguments {
    /// Configuration file (TOML). The environment, BIGSKIES_…, is read over it.
    #[arg(long, env = "BIGSKIES_CONFIG")]
    config: Option<PathBuf>,
    /// Print the effective configuration and exit; with faults, name them all and exit with 64.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Exit with 0 if the running process reports health, for a container's HEALTHCHECK.
    Health,
}

/// Runs the coordinator `S` as this process.
pub fn run<S: Service>() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = match load::<S::Settings>(S::COORDINATOR, arguments.config.as_deref(), environment) {
        Ok(loaded) => loaded,
        Err(error) => return bad_configuration(&error),
    };
    if let Some(Command::Health) = arguments.command {
        return match health::check_file(&loaded.common.run_dir.join("health")) {
            Ok(status) => {
                println!("{}", status.as_str());
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    if arguments.check_config {
        print!("{}", loaded.print());
        return ExitCode::SUCCESS;
    }
    let login = match BrokerLogin::read(&loaded.common.broker) {
        Ok(login) => login,
        Err(fault) => return bad_configuration(&ConfigError(vec![fault])),
    };
    match start::<S>(loaded, login) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the coordinator ends");
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bad_configuration(error: &ConfigError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(BAD_CONFIGURATION)
}

fn start<S: Service>(loaded: Loaded<S::Settings>, login: BrokerLogin) -> anyhow::Result<()> {
    telemetry::init(S::COORDINATOR.as_str(), &loaded.common.log)?;
    end_at_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop");
            stop.cancel();
        });
        serve::<S>(loaded, login, shutdown).await
    })
}

/// Runs the coordinator inside a runtime until `shutdown`, then drains. Tests use it to run one in their own
/// process.
///
/// # Errors
/// It cannot start: the database or the coordinator's own parts cannot be used.
pub async fn serve<S: Service>(
    loaded: Loaded<S::Settings>,
    login: BrokerLogin,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let c = S::COORDINATOR;
    let common = loaded.common;
    let file = common.data_dir.join(format!("{c}.db"));
    let store = Store::open_bounded(&file, S::migrations(), common.database_max_bytes)
        .await?
        .auditing(common.audit_records);
    let identity = Identity::load(c, &common, &store).await?;
    tracing::info!(instance = %identity.instance, version = crate::FRAMEWORK_VERSION, "starts");

    let (telemetry_bus, telemetry_inbox) = sessions::telemetry(c, &login, &identity);
    let (request_bus, request_inbox) = sessions::requests(c, &login, &identity);
    let health = HealthBoard::new(c, identity.instance.clone());
    let never = format!("is not connected to {} yet", common.broker.host);
    health.set("broker", health::Condition::Unhealthy(never));
    let parts = Parts {
        instance: identity.instance.clone(),
        store: store.clone(),
        publisher: Publisher::new(c),
        health,
        caller: Caller::new(c, telemetry_bus.clone()),
        replies: Replies::new(c, store.journal()).until(shutdown.clone()),
        bus: telemetry_bus.clone(),
        broker: login,
        verifier: token::Verifier::new(),
    };
    let service = S::build(loaded.own, parts.clone()).await?;

    let (handlers, tasks, last) = (TaskTracker::new(), TaskTracker::new(), Shutdown::new());
    let mut filters = watch::filters(c);
    filters.extend(service.watches());
    tasks.spawn(listen(telemetry_bus.clone(), filters));
    let mut filters = topic::request_filters(c);
    filters.push(topic::coordinator::marker(c));
    tasks.spawn(listen(request_bus.clone(), filters));

    let watch = Watch {
        service: service.clone(),
        caller: parts.caller.clone(),
        health: parts.health.clone(),
        verifier: parts.verifier.clone(),
        listening: Listening::new("broker roles for watching", parts.health.clone()),
    };
    let router = Router {
        service: service.clone(),
        store: store.clone(),
        bus: request_bus.clone(),
        replies: parts.replies.clone(),
        publisher: parts.publisher.clone(),
        health: parts.health.clone(),
        verifier: parts.verifier.clone(),
        tasks: handlers.clone(),
        requests: common.requests.clone(),
        listening: Listening::new("broker roles for requests", parts.health.clone()),
        shutdown: shutdown.clone(),
    };
    tasks.spawn(watch.work(telemetry_inbox, last.clone()));
    tasks.spawn(parts.publisher.clone().work(telemetry_bus.clone(), parts.health.clone(), last.clone()));
    tasks.spawn(parts.replies.clone().work(request_bus.clone(), last.clone()));
    let health_file = common.run_dir.join("health");
    tasks.spawn(parts.health.clone().report(parts.publisher.clone(), health_file, shutdown.clone()));
    let disk = Disk::of(common.data_dir.clone(), common.data_reserve_bytes);
    tasks.spawn(disk.watch(parts.health.clone(), shutdown.clone()));
    let router = tasks.spawn(router.work(request_inbox, shutdown.clone()));
    let work = tasks.spawn(Arc::clone(&service).run(shutdown.clone()));

    shutdown.cancelled().await;
    let drained = tokio::time::timeout(DRAIN, async {
        // Nothing new is let in; what was let in comes to its end or to its next safe point.
        let _ = router.await;
        handlers.close();
        handlers.wait().await;
        let _ = work.await;
        parts.replies.deliver();
        parts.health.say_goodbye(&parts.publisher);
        if telemetry_bus.link().borrow().is_up() {
            parts.publisher.flushed(&[], Duration::from_secs(2)).await;
        }
    })
    .await;
    last.cancel();
    telemetry_bus.shutdown().await;
    request_bus.shutdown().await;
    store.close().await;
    match drained {
        Ok(()) => tracing::info!("drained"),
        Err(_) => tracing::warn!("not everything came to its end in time; the next start carries on"),
    }
    Ok(())
}

/// Subscribes for good; what is refused is told by the session.
async fn listen(bus: Bus, filters: Vec<String>) {
    match bus.keep_subscribed(&filters).await {
        Ok(()) | Err(SubscribeError::Closed) => {}
        Err(error) => tracing::error!(error = telemetry::chain(&error), "a subscription failed"),
    }
}
