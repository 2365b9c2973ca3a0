//! Manifests in records.

use manifest::Manifest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A manifest as its author wrote it, together with what it says. Only the first is stored.
#[derive(Debug, Clone)]
pub struct Recorded {
    document: Value,
    whole: Manifest,
}

impl Recorded {
    /// `whole` is what `document` says.
    pub fn new(document: Value, whole: Manifest) -> Self {
        Self { document, whole }
    }

    /// As its author wrote it.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// With everything that it asks for, granted or not.
    pub fn whole(&self) -> &Manifest {
        &self.whole
    }
}

impl PartialEq for Recorded {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

impl Serialize for Recorded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(serializer)
    }
}

/// Only a manifest that this version takes: one that another version recorded may ask for what is refused by now.
impl<'de> Deserialize<'de> for Recorded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        match manifest::parse_value(document.clone(), &manifest::framework_version()) {
            Ok(parsed) => Ok(Self::new(document, parsed.manifest)),
            Err(faults) => {
                Err(D::Error::custom(format!("this version of the framework refuses its manifest: {faults}")))
            }
        }
    }
}

#[cfg(test)]
impl From<Value> for Recorded {
    fn from(document: Value) -> Self {
        serde_json::from_value(document).expect("no faults")
    }
}
