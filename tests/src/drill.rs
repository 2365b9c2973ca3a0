//! The drill: kills real processes at every step of every operation on a throw-away plugin, starts them again, and
//! looks at what came of it.
//!
//! The plugin coordinator is one that is built to hold at a step (its feature `drill`), so that a kill hits exactly
//! there. Rows with the same victim are done in one wave: each on a plugin of its own, and one kill for all.

mod equipment;
mod found;
mod ground;
mod holds;
mod run;
mod steps;
mod subject;
mod table;
mod victim;
mod wave;

pub use ground::Ground;
pub use run::{Tally, run};
pub use table::{Row, Victim, rows, short};
pub use wave::{Report, goes_unnoticed};
