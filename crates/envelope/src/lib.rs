//! The wire vocabulary of BIG SKIES: what coordinators, plugins and operators say to each other.
//!
//! No I/O happens here. Whatever crosses the broker is a type of this crate, and no other crate
//! spells a topic out.

pub mod id;
pub mod principal;

pub mod operation;
pub mod topic;

pub mod answer;
pub mod message;
pub mod payload;
pub mod time;

pub use answer::{Answer, ErrorBody, ErrorCode};
pub use id::{Generation, InstallUid, InstanceId, OperationId, OperatorName, PluginId, StartId};
pub use message::{Envelope, MessageType};
pub use operation::Operation;
pub use principal::{Coordinator, OperatorRole, Principal};
pub use time::Timestamp;
