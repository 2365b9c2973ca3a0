//! The message coordinator's process.

fn main() -> std::process::ExitCode {
    chassis::run::<message_coordinator::MessageCoordinator>()
}
