//! See the library.

use std::process::ExitCode;

use forwarder::{Arguments, Bounds, Forwarder, Subnets, Target};
use tokio::signal::unix::{SignalKind, signal};

/// Exit code for arguments that cannot be used.
const BAD_USAGE: u8 = 64;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--version") => {
            println!("bigskies-forwarder {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("--help") => {
            println!("{}", forwarder::arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{}", forwarder::arguments::USAGE);
            return ExitCode::from(BAD_USAGE);
        }
    };
    // Names are resolved on threads; without a bound a flood of connections would make hundreds of them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    // Before anything is open: a signal that comes early is not lost. As the first process of its container
    // it gets no other treatment of a signal than this.
    let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be listened to: {error}"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let target = Target::new(arguments.to.clone(), Subnets::Connected);
    let forwarder = Forwarder::listen(&arguments, target, Bounds::default()).await;
    let forwarder = forwarder.map_err(|error| error.to_string())?;
    for (route, address) in forwarder.addresses() {
        println!("{address}/{} leads to {}:{}", route.protocol, arguments.to, route.port);
    }
    tokio::select! {
        () = forwarder.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Every connection ends with the runtime.
    println!("stopped as asked");
    Ok(())
}
