//! The security coordinator's process.

fn main() -> std::process::ExitCode {
    chassis::run::<security_coordinator::SecurityCoordinator>()
}
