//! Labels that the engine port itself gives meaning to. All others pass through.

/// The installation that owns a container, network or volume.
pub const INSTALLATION: &str = "org.bigskies.installation";

/// The start that a container was made for; two containers of one start are one.
pub const START: &str = "org.bigskies.start_id";

/// Marks a throw-away container that is never started; its value is the installation.
pub const THROW_AWAY: &str = "org.bigskies.throw_away";
