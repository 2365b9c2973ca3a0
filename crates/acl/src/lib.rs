//! Who may do what on the bus, as roles of Mosquitto's dynamic security plugin.
//!
//! No I/O happens here. A plugin's rights come from its spec ([`compile`]), those of coordinators and
//! operators are the same everywhere ([`fixed`]), and what no plugin may ever do is denied once more
//! above every manifest ([`guard`]). Whatever is not granted is denied.

pub mod dynsec;
pub mod password;

pub mod role;

pub mod fixed;
pub mod guard;

pub mod compile;
pub mod explain;
