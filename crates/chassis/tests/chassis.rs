//! A small coordinator on the chassis, with a real broker.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod chassis {
    mod audit;
    mod disk;
    mod flood;
    mod resumed;
    mod rights;
    mod size;
    mod stage;
}
