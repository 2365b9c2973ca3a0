//! The whole framework on real parts: a broker, an engine, registries, and plugins that know the SDK document
//! alone. One framework is brought up for all tests, and taken down whatever becomes of them.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod e2e {
    pub mod runner;
    pub mod world;

    mod accounts;
    mod adopt;
    mod alone;
    mod away;
    mod bus;
    mod config;
    mod crowd;
    mod disk;
    mod drill;
    mod errors;
    mod go_sample;
    mod grants;
    mod hello;
    mod isolation;
    mod operations;
    mod outages;
    mod phases;
    mod ports;
    mod raw;
    mod repeats;
    mod rotate;
    mod sdk_manifest;
    mod secrets;
    mod tls;
    mod tokens;
    mod update;
    mod watchdog;

    /// All tests: those that can run beside each other first.
    pub fn cases() -> Vec<runner::Case> {
        let mut cases = go_sample::cases();
        cases.extend(sdk_manifest::cases());
        cases.extend(hello::cases());
        cases.extend(raw::cases());
        cases.extend(errors::cases());
        cases.extend(phases::cases());
        cases.extend(repeats::cases());
        cases.extend(isolation::cases());
        cases.extend(grants::cases());
        cases.extend(config::cases());
        cases.extend(update::cases());
        cases.extend(operations::cases());
        cases.extend(accounts::cases());
        cases.extend(tokens::cases());
        cases.extend(ports::cases());
        cases.extend(tls::cases());
        cases.extend(watchdog::cases());
        // Before what restarts coordinators: a signing key may be used some time after it was published.
        cases.extend(rotate::cases());
        cases.extend(bus::cases());
        cases.extend(alone::cases());
        cases.extend(secrets::cases());
        cases.extend(outages::cases());
        cases.extend(adopt::cases());
        cases.extend(away::cases());
        cases.extend(disk::cases());
        cases.extend(crowd::cases());
        cases.extend(drill::cases());
        cases
    }
}

fn main() -> std::process::ExitCode {
    e2e::runner::main(e2e::cases())
}
