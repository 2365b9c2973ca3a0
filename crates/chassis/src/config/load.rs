//! Reading a configuration, and naming all its faults.

use std::fmt;
use std::path::Path;

use config::{Environment, File, FileFormat};
use envelope::Coordinator;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Common, Section};

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, levels joined by dots.
    pub key: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl Fault {
    /// A fault of `key`.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// Why there is no configuration: all its faults.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has faults:{}", self.0.iter().map(|f| format!("\n  {f}")).collect::<String>())]
pub struct ConfigError(pub Vec<Fault>);

/// A configuration without faults.
#[derive(Debug)]
pub struct Loaded<S> {
    /// What every coordinator has.
    pub common: Common,
    /// The coordinator's own section.
    pub own: S,
    effective: Value,
}

impl<S> Loaded<S> {
    /// The effective configuration, as TOML-like `key = value` lines. It holds no secret: secrets are in files.
    pub fn print(&self) -> String {
        let mut lines = Vec::new();
        leaves(&self.effective, String::new(), &mut |key, value| {
            lines.push(format!("{key} = {}\n", shown(key, value)));
        });
        lines.concat()
    }
}

/// A key that names a secret is never shown, should a later one hold it instead of naming its file.
fn shown(key: &str, value: &Value) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let secret = ["password", "secret", "token", "key"].iter().any(|s| name.contains(s));
    if secret && !name.ends_with("_file") && !value.is_null() && !value.is_number() {
        return "(not shown)".to_owned();
    }
    value.to_string()
}

/// Reads the configuration of `coordinator`: defaults, then `file`, then variables `BIGSKIES_…` out of
/// `environment`, with `__` between levels.
///
/// # Errors
/// All faults of all sources.
pub fn load<S: Section>(
    coordinator: Coordinator,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<S>, ConfigError> {
    let mut reader = Reader::<S> {
        coordinator,
        tree: defaults::<S>(coordinator),
        faults: Vec::new(),
        own: std::marker::PhantomData,
    };
    if let Some(path) = file {
        match source(File::from(path).format(FileFormat::Toml)) {
            Ok(tree) => reader.merge(&tree, &path.display().to_string(), false),
            Err(e) => reader.faults.push(Fault::new(path.display().to_string(), e.to_string())),
        }
    }
    let variables = environment.into_iter().filter(|(name, _)| name != "BIGSKIES_CONFIG").collect();
    let environment =
        Environment::with_prefix("BIGSKIES").prefix_separator("_").separator("__").source(Some(variables));
    match source(environment) {
        Ok(tree) => reader.merge(&tree, "the environment", true),
        Err(e) => reader.faults.push(Fault::new("environment", e.to_string())),
    }
    reader.finish()
}

fn source(source: impl config::Source + Send + Sync + 'static) -> Result<Value, config::ConfigError> {
    config::Config::builder().add_source(source).build()?.try_deserialize()
}

fn defaults<S: Section>(coordinator: Coordinator) -> Value {
    let tree = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let json = |v: serde_json::Result<Value>| v.expect("settings have string keys");
    let mut all = tree(json(serde_json::to_value(Common::default())));
    all.insert(coordinator.to_string(), json(serde_json::to_value(S::default())));
    Value::Object(all)
}

struct Reader<S> {
    coordinator: Coordinator,
    tree: Value,
    faults: Vec<Fault>,
    own: std::marker::PhantomData<S>,
}

impl<S: Section> Reader<S> {
    /// Puts each value of `layer` over what there is. One that does not fit is a fault and is left out.
    fn merge(&mut self, layer: &Value, origin: &str, text_only: bool) {
        let mut values = Vec::new();
        leaves(layer, String::new(), &mut |key, value| values.push((key.to_owned(), value.clone())));
        for (key, value) in values {
            let pointer = format!("/{}", key.replace('.', "/"));
            if self.tree.pointer(&pointer).is_none_or(Value::is_object) {
                let reason = format!("there is no such setting (in {origin}); see --check-config for all");
                self.faults.push(Fault::new(key, reason));
                continue;
            }
            let candidates = if text_only { readings(&value) } else { vec![value] };
            let mut reason = String::new();
            let fitting = candidates.into_iter().find(|candidate| {
                let mut tree = self.tree.clone();
                if let Some(place) = tree.pointer_mut(&pointer) {
                    *place = candidate.clone();
                }
                match self.take(&tree) {
                    Ok(_) => true,
                    Err(e) => {
                        reason = e;
                        false
                    }
                }
            });
            match (fitting, self.tree.pointer_mut(&pointer)) {
                (Some(value), Some(place)) => *place = value,
                _ => self.faults.push(Fault::new(key, format!("{reason} (in {origin})"))),
            }
        }
    }

    fn take(&self, tree: &Value) -> Result<(Common, S), String> {
        fn part<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
            T::deserialize(value).map_err(|e| e.to_string())
        }
        Ok((part(tree)?, part(&tree[self.coordinator.as_str()])?))
    }

    fn finish(mut self) -> Result<Loaded<S>, ConfigError> {
        let (common, own) = self.take(&self.tree).map_err(|e| ConfigError(vec![Fault::new("", e)]))?;
        self.faults.extend(common.faults());
        self.faults.extend(
            own.faults()
                .into_iter()
                .map(|fault| Fault { key: format!("{}.{}", self.coordinator, fault.key), ..fault }),
        );
        if self.faults.is_empty() {
            Ok(Loaded { common, own, effective: self.tree })
        } else {
            Err(ConfigError(self.faults))
        }
    }
}

/// What the text of a variable can mean: itself, a number, a truth value, or nothing.
fn readings(value: &Value) -> Vec<Value> {
    let Some(text) = value.as_str() else { return vec![value.clone()] };
    let mut all = vec![Value::String(text.to_owned())];
    if let Ok(other) = serde_json::from_str::<Value>(text)
        && (other.is_number() || other.is_boolean() || other.is_null())
    {
        all.push(other);
    }
    all
}

fn leaves(value: &Value, key: String, each: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                leaves(value, key, each);
            }
        }
        _ if key.is_empty() => {}
        _ => each(&key, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Own {
        interval_seconds: u64,
        key_file: Option<String>,
    }

    impl Section for Own {
        fn faults(&self) -> Vec<Fault> {
            (self.interval_seconds > 10)
                .then(|| Fault::new("interval_seconds", "too long"))
                .into_iter()
                .collect()
        }
    }

    fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = std::env::temp_dir().display().to_string();
        let base = [
            ("BIGSKIES_BROKER__USERNAME", "coordinator.message"),
            ("BIGSKIES_BROKER__PASSWORD_FILE", folder.as_str()),
        ];
        base.iter().chain(list).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "log = \"warn\"\n[broker]\nport = 2000\nhost = \"h\"\n").expect("writes");
        let env = variables(&[
            ("BIGSKIES_BROKER__PORT", "3000"),
            ("BIGSKIES_MESSAGE__INTERVAL_SECONDS", "7"),
            ("BIGSKIES_MESSAGE__KEY_FILE", "12345"),
            ("OTHER", "x"),
        ]);
        let loaded = load::<Own>(Coordinator::Message, Some(&file), env).expect("no faults");
        assert_eq!(loaded.common.broker.port, 3000);
        assert_eq!(loaded.common.broker.host, "h");
        assert_eq!(loaded.common.log, "warn");
        assert_eq!(loaded.own.interval_seconds, 7);
        assert_eq!(loaded.own.key_file.as_deref(), Some("12345"));
        assert!(loaded.print().contains("broker.port = 3000\n"), "{}", loaded.print());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let env = variables(&[
            ("BIGSKIES_BROKER__PORT", "99999"),
            ("BIGSKIES_BORKER__HOST", "x"),
            ("BIGSKIES_LOG", "loud=!"),
            ("BIGSKIES_MESSAGE__INTERVAL_SECONDS", "11"),
        ]);
        let ConfigError(faults) = load::<Own>(Coordinator::Message, None, env).expect_err("faults");
        let mut keys: Vec<&str> = faults.iter().map(|f| f.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["borker.host", "broker.port", "log", "message.interval_seconds"], "{faults:?}");
    }
}
