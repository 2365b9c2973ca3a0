//! The soak: random operations on throw-away plugins for as long as wanted, while coordinators, broker and engine are
//! killed, stopped and frozen and plugins' containers meddled with. What must stay true is looked at all the time.
//!
//! Choices come from a seed; what they meet depends on time too, so that a run is repeated in kind, not step by step.

mod answers;
mod book;
mod caller;
mod calm;
mod choice;
mod dice;
mod doubt;
mod field;
mod gauge;
mod logs;
mod mischief;
mod model;
mod report;
mod run;
mod trend;
mod watch;

pub use run::{Length, run};
