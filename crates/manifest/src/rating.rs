//! The security rating: how far a plugin has to be trusted, from what it may do. 6 needs no trust, 1 as much as
//! the operator of the host has.
//!
//! It begins at 6. Every rule of [`RULES`] that applies takes points away, or says how much is left at most.

use std::fmt;

use envelope::payload::grant::{Risk, SecurityRating};
use envelope::topic::{coordinator, plugin};

use crate::device::Device;
use crate::filter::TopicFilter;
use crate::grant::{Grant, is_sensitive, own_filter, reaches_control};
use crate::manifest::Manifest;
use crate::permission::{Permission, Resource, Verb};

/// Where a rating begins.
pub const BEST: u8 = 6;
/// Below this it does not go.
pub const WORST: u8 = 1;

/// What a rule does to a rating when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The rating is this at most.
    AtMost(u8),
    /// So many points are taken away.
    Less(u8),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::Less(points) => write!(f, "{points} less"),
        }
    }
}

/// A rule of the rating.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// When it applies, in words.
    pub condition: &'static str,
    /// What it does then.
    pub effect: Effect,
    /// What an operator is told then, without a full stop.
    pub sentence: &'static str,
    applies: fn(&View<'_>) -> bool,
}

/// What the rules look at.
struct View<'a> {
    manifest: &'a Manifest,
    granted: &'a [Grant],
}

/// Every rule, the severest first.
pub const RULES: &[Rule] = &[
    Rule {
        condition: "a host folder with keys or passwords of the host, writable",
        effect: Effect::AtMost(1),
        sentence: "Can change files that decide who owns the host",
        applies: |v| v.folder(|path, read_only| !read_only && is_sensitive(path)),
    },
    Rule {
        condition: "root inside its container",
        effect: Effect::AtMost(2),
        sentence: "Runs as root inside its container",
        applies: |v| v.any(|g| matches!(g, Grant::RootUser)),
    },
    Rule {
        condition: "any other host folder, writable",
        effect: Effect::AtMost(2),
        sentence: "Can change files of the host",
        applies: |v| v.folder(|path, read_only| !read_only && !is_sensitive(path)),
    },
    Rule {
        condition: "a host folder with keys or passwords of the host, read-only",
        effect: Effect::AtMost(2),
        sentence: "Can read keys or passwords of the host",
        applies: |v| v.folder(|path, read_only| read_only && is_sensitive(path)),
    },
    Rule {
        condition: "a device that stands for a whole class of devices, or for a service of the kernel",
        effect: Effect::AtMost(2),
        sentence: "Uses more than one instrument's worth of the host's devices",
        applies: |v| v.device(true),
    },
    Rule {
        condition: "`system:configure`, `plugin:configure` or `user:configure`",
        effect: Effect::AtMost(2),
        sentence: "Can change what is installed, granted or set in the framework",
        applies: |v| v.permission(|p| !is_telescope(p) && p.verb == Verb::Configure),
    },
    Rule {
        condition: "`system:control`, `plugin:control`, or publishing on control topics of other plugins",
        effect: Effect::AtMost(3),
        sentence: "Can command other plugins",
        applies: |v| {
            v.permission(|p| {
                matches!(p.resource, Resource::System | Resource::Plugin) && p.verb == Verb::Control
            }) || v.publish(reaches_control)
        },
    },
    Rule {
        condition: "`system:write` or `plugin:write`",
        effect: Effect::Less(1),
        sentence: "Can change the configuration of the framework or of other plugins",
        applies: |v| {
            v.permission(|p| {
                matches!(p.resource, Resource::System | Resource::Plugin) && p.verb == Verb::Write
            })
        },
    },
    Rule {
        condition: "`telescope/{id}:write`, `:control` or `:configure`",
        effect: Effect::Less(1),
        sentence: "Can move a telescope or change its settings",
        applies: |v| v.permission(|p| is_telescope(p) && p.verb != Verb::Read),
    },
    Rule {
        condition: "`user:read`, `user:write` or `user:control`",
        effect: Effect::Less(1),
        sentence: "Can use data of users",
        applies: |v| v.user_data(),
    },
    Rule {
        condition: "publishing on topics of others that are no control topics",
        effect: Effect::Less(1),
        sentence: "Can publish on topics of others",
        applies: |v| v.publish(|topic| !reaches_control(topic)),
    },
    Rule {
        condition: "reading topics of other plugins",
        effect: Effect::Less(1),
        sentence: "Reads what other plugins publish",
        applies: |v| v.reads_plugins(),
    },
    Rule {
        condition: "reading events, specs or acknowledgements of the coordinators",
        effect: Effect::Less(1),
        sentence: "Reads who asked the coordinators for what, and what plugins may do",
        applies: |v| v.reads_coordinators(),
    },
    Rule {
        condition: "a port that other machines can reach",
        effect: Effect::Less(1),
        sentence: "Can be reached from other machines",
        applies: |v| v.any(|g| matches!(g, Grant::Port { .. })),
    },
    Rule {
        condition: "any other host folder, read-only",
        effect: Effect::Less(1),
        sentence: "Can read files of the host",
        applies: |v| v.folder(|path, read_only| read_only && !is_sensitive(path)),
    },
    Rule {
        condition: "any other device",
        effect: Effect::Less(1),
        sentence: "Uses a device of the host",
        applies: |v| v.device(false),
    },
    Rule {
        condition: "more memory, processors, processes or disk than usual",
        effect: Effect::Less(1),
        sentence: "Can use more of the machine than others",
        applies: |v| v.any(|g| matches!(g, Grant::Resources { .. })),
    },
    Rule {
        condition: "`capabilities.requires_internet`",
        effect: Effect::Less(1),
        sentence: "Can reach the internet",
        applies: |v| v.internet(),
    },
    Rule {
        condition: "`capabilities.requires_internet` together with data of users, a host folder, or topics of other plugins or the coordinators",
        effect: Effect::Less(1),
        sentence: "Can send what it reads of others to the internet",
        applies: |v| {
            let reads = v.reads_plugins() || v.reads_coordinators();
            v.internet() && (v.user_data() || v.folder(|_, _| true) || reads)
        },
    },
];

/// How far the plugin with this manifest has to be trusted when it has these grants.
pub fn rating(manifest: &Manifest, granted: &[Grant]) -> SecurityRating {
    let view = View { manifest, granted };
    let (mut most, mut left, mut reasons) = (BEST, BEST, Vec::new());
    for rule in RULES.iter().filter(|rule| (rule.applies)(&view)) {
        match rule.effect {
            Effect::AtMost(bound) => most = most.min(bound),
            Effect::Less(points) => left = left.saturating_sub(points),
        }
        reasons.push(format!("{}: {}.", rule.sentence, rule.effect));
    }
    SecurityRating { score: most.min(left).max(WORST), reasons }
}

/// The rules as a Markdown table, as the documentation shows them.
pub fn table() -> String {
    let row = |rule: &Rule| format!("| {} | {} | {} |\n", rule.condition, rule.effect, rule.sentence);
    let rows: String = RULES.iter().map(row).collect();
    format!("| A plugin that has | is rated | which is told as |\n|---|---|---|\n{rows}")
}

fn is_telescope(permission: &Permission) -> bool {
    matches!(permission.resource, Resource::Telescope(_))
}

impl View<'_> {
    fn any(&self, of: impl Fn(&Grant) -> bool) -> bool {
        self.granted.iter().any(of)
    }

    fn permission(&self, of: impl Fn(&Permission) -> bool) -> bool {
        self.any(|g| matches!(g, Grant::Permission { permission } if of(permission)))
    }

    fn publish(&self, on: impl Fn(&TopicFilter) -> bool) -> bool {
        self.any(|g| matches!(g, Grant::Publish { topic } if on(topic)))
    }

    fn folder(&self, of: impl Fn(&str, bool) -> bool) -> bool {
        self.any(|g| matches!(g, Grant::HostFolder { path, read_only, .. } if of(path, *read_only)))
    }

    fn device(&self, far_reaching: bool) -> bool {
        self.any(|g| match g {
            Grant::Device { path, container_path, access } => {
                let (path, container_path) = (path.clone(), container_path.clone());
                Device { path, container_path, access: *access }.is_far_reaching() == far_reaching
            }
            _ => false,
        })
    }

    fn user_data(&self) -> bool {
        self.permission(|p| p.resource == Resource::User && p.verb != Verb::Configure)
    }

    fn reads_plugins(&self) -> bool {
        let plugins = own_filter(&plugin::all());
        self.any(|g| matches!(g, Grant::Subscribe { topic } if plugins.overlaps(topic)))
    }

    fn reads_coordinators(&self) -> bool {
        let coordinators = own_filter(&coordinator::all());
        let tells = |g: &Grant| g.risk() > Risk::Low;
        self.any(|g| matches!(g, Grant::Subscribe { topic } if coordinators.overlaps(topic)) && tells(g))
    }

    fn internet(&self) -> bool {
        self.manifest.capabilities.requires_internet
    }
}
