//! The topics of this plugin, and those of the framework that it reads.

/// All of them, made from the plugin's id.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Where it tells its health.
    pub health: String,
    /// Where it tells what it heard and did.
    pub status: String,
    /// Where it is told what to do; everything below it too.
    pub control: String,
    /// Where its token is.
    pub token: String,
    /// Where the keys are that verify tokens.
    pub keys: String,
}

impl Topics {
    /// Those of the plugin `id`.
    pub fn of(id: &str) -> Self {
        Self {
            health: format!("bigskies/plugin/{id}/health"),
            status: format!("bigskies/plugin/{id}/status"),
            control: format!("bigskies/plugin/{id}/control"),
            token: format!("bigskies/coordinator/security/plugin/{id}/token"),
            keys: "bigskies/coordinator/security/keys/jwks".to_owned(),
        }
    }

    /// What to subscribe to after each connect: the keys before the token that they verify, because
    /// what is retained comes in this order.
    pub fn filters(&self) -> [String; 3] {
        [format!("{}/#", self.control), self.keys.clone(), self.token.clone()]
    }

    /// The command that a control topic names, such as `ping`; none for other topics.
    pub fn command<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let rest = topic.strip_prefix(&self.control)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_what_stands_below_control() {
        let topics = Topics::of("hello-rust");
        let command = |rest: &str| {
            let topic = format!("bigskies/plugin/hello-rust/{rest}");
            topics.command(&topic).map(str::to_owned)
        };
        assert_eq!(command("control/ping").as_deref(), Some("ping"));
        assert_eq!(command("control/a/b").as_deref(), Some("a/b"));
        assert_eq!(command("control").as_deref(), Some(""));
        assert_eq!(command("controls"), None);
        assert_eq!(command("health"), None);
        assert_eq!(topics.command("bigskies/plugin/other/control/ping"), None);
    }

    #[test]
    fn the_manifest_names_the_topics_that_the_plugin_uses() {
        let manifest: serde_json::Value =
            serde_json::from_str(include_str!("../plugin.json")).expect("the manifest is JSON");
        let topics = Topics::of(manifest["id"].as_str().expect("an id"));
        assert_eq!(manifest["health_check"]["topic"], topics.health);
        assert_eq!(manifest["health_check"]["interval_seconds"], crate::health::INTERVAL.as_secs());
        assert_eq!(manifest["mqtt"]["topics_publish"], serde_json::json!([topics.health, topics.status]));
        assert_eq!(manifest["mqtt"]["topics_subscribe"], serde_json::json!([topics.filters()[0]]));
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    }
}
