//! What the plugin was started with: environment variables, and the configuration file that the
//! operator's `config` is delivered in.
//!
//! Faults do not stop the plugin: defaults take their place, and its health tells of them.

use std::io;

use serde::Deserialize;

const DEFAULT_ID: &str = "hello-rust";
const DEFAULT_CONFIG: &str = "/config/plugin.json";
const LONGEST_GREETING: usize = 200;

/// Everything that the plugin was started with. It holds the password, so it is never printed.
pub struct Settings {
    /// The plugin's id, also its MQTT client id.
    pub id: String,
    /// The plugin's name, as its health tells it.
    pub name: String,
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The broker login; without one the plugin connects without.
    pub login: Option<(String, String)>,
    /// What the operator configured.
    pub config: Config,
    /// What was wrong with all that.
    pub faults: Vec<String>,
}

/// The configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Said in every status message.
    pub greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { greeting: "Clear skies!".to_owned() }
    }
}

/// The plugin's id alone.
pub fn plugin_id(variable: impl Fn(&str) -> Option<String>) -> String {
    set(&variable, "PLUGIN_ID").unwrap_or_else(|| DEFAULT_ID.to_owned())
}

impl Settings {
    /// Reads the environment through `variable` and the configuration file through `read`.
    pub fn load(
        variable: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> io::Result<String>,
    ) -> Self {
        let mut faults = Vec::new();
        let id = plugin_id(&variable);
        let port = match set(&variable, "MQTT_PORT").map(|port| port.parse::<u16>()) {
            None => 1883,
            Some(Ok(port)) => port,
            Some(Err(_)) => {
                faults.push("MQTT_PORT is not a port number; 1883 is used".to_owned());
                1883
            }
        };
        let login =
            set(&variable, "MQTT_USERNAME").map(|user| (user, variable("MQTT_PASSWORD").unwrap_or_default()));
        let path = set(&variable, "PLUGIN_CONFIG").unwrap_or_else(|| DEFAULT_CONFIG.to_owned());
        let config = configuration(&path, read(&path)).unwrap_or_else(|fault| {
            faults.push(fault);
            Config::default()
        });
        Self {
            name: set(&variable, "PLUGIN_NAME").unwrap_or_else(|| id.clone()),
            host: set(&variable, "MQTT_HOST").unwrap_or_else(|| "mqtt-broker".to_owned()),
            id,
            port,
            login,
            config,
            faults,
        }
    }
}

/// A variable that is set to nothing is not set.
fn set(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

fn configuration(path: &str, text: io::Result<String>) -> Result<Config, String> {
    match text {
        // Nothing was configured, which is fine.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(format!("configuration {path} cannot be read: {error}; defaults are used")),
        Ok(text) => {
            let config: Config = serde_json::from_str(&text)
                .map_err(|error| format!("configuration {path} is wrong: {error}; defaults are used"))?;
            if config.greeting.chars().count() > LONGEST_GREETING {
                return Err(format!(
                    "configuration {path} is wrong: `greeting` has more than {LONGEST_GREETING} characters; defaults are used"
                ));
            }
            Ok(config)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)], file: Result<&str, io::ErrorKind>) -> Settings {
        Settings::load(
            |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
            |_| file.map(str::to_owned).map_err(io::Error::from),
        )
    }

    #[test]
    fn without_anything_the_plugin_runs_with_defaults_and_without_faults() {
        let settings = load(&[("MQTT_USERNAME", "")], Err(io::ErrorKind::NotFound));
        assert_eq!((settings.id.as_str(), settings.name.as_str()), ("hello-rust", "hello-rust"));
        assert_eq!((settings.host.as_str(), settings.port), ("mqtt-broker", 1883));
        assert_eq!((settings.login, settings.config), (None, Config::default()));
        assert!(settings.faults.is_empty());
    }

    #[test]
    fn what_is_given_is_taken() {
        let settings = load(
            &[
                ("PLUGIN_ID", "hello-2"),
                ("MQTT_PORT", "8883"),
                ("MQTT_USERNAME", "u"),
                ("MQTT_PASSWORD", "p"),
            ],
            Ok(r#"{"greeting": "Good seeing", "more": 1}"#),
        );
        assert_eq!((settings.name.as_str(), settings.port), ("hello-2", 8883));
        assert_eq!(settings.login, Some(("u".to_owned(), "p".to_owned())));
        assert_eq!(settings.config.greeting, "Good seeing");
        assert!(settings.faults.is_empty());
    }

    #[test]
    fn what_is_wrong_is_replaced_and_told() {
        let long = format!(r#"{{"greeting": "{}"}}"#, "x".repeat(201));
        for file in
            [Ok("{"), Ok(r#"{"greeting": 7}"#), Ok(long.as_str()), Err(io::ErrorKind::PermissionDenied)]
        {
            let settings = load(&[("MQTT_PORT", "70000")], file);
            assert_eq!((settings.port, settings.config), (1883, Config::default()));
            assert_eq!(settings.faults.len(), 2, "{:?}", settings.faults);
        }
    }
}
