//! What a schema costs to apply, counted before it is.
//!
//! A few lines of JSON Schema can ask for more work than there is time: references that double at each level,
//! a schema inside itself, long patterns. So the schema is counted as if each reference were written out, each
//! choice between alternatives twice (once to decide, once to say why not), and each pattern as many words;
//! one that counts too much is a fault. References lead to other places of the same schema only.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::fault::{Findings, Pointer, quoted};

/// The most that a schema may cost; one of a hundred properties with references costs about a thousand.
const MOST: u64 = 10_000;
/// What a pattern costs, beside its length.
const PATTERN: u64 = 50;
/// Most objects and lists inside each other when each reference is written out: whoever applies a schema goes
/// as deep.
const DEEPEST: usize = 64;
/// Longest pattern, in bytes.
const LONGEST_PATTERN: usize = 512;

/// Keys whose value is data, whatever it looks like.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Keys whose value is an object of schemas by names of the plugin's choice.
const NAMED: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// Keys that make a check look at the same value more than once.
const TWICE: [&str; 8] =
    ["anyOf", "contains", "dependencies", "if", "not", "oneOf", "unevaluatedItems", "unevaluatedProperties"];
/// Keys that move what a reference means.
const MOVING: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];
/// Drafts that are understood.
const DRAFTS: [&str; 3] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
];

/// What a schema without faults costs.
pub(super) fn of(schema: &Map<String, Value>) -> u64 {
    let document = Value::Object(schema.clone());
    Count::new(&document, None).schema(&document, &Pointer::default(), true).cost
}

/// Finds what cannot be applied in bounded time, or without looking elsewhere.
pub(crate) fn check(schema: &Map<String, Value>, at: &Pointer, found: &mut Findings) {
    let document = Value::Object(schema.clone());
    let size = Count::new(&document, Some(found)).schema(&document, at, true);
    if size.cost > MOST {
        let fix = "use fewer references, alternatives (anyOf, oneOf, if) and patterns";
        found.fault(at, "takes too long to apply", fix);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    cost: u64,
    height: usize,
}

impl Size {
    fn flat(cost: u64) -> Self {
        Self { cost, height: 0 }
    }

    fn add(&mut self, inner: Self) {
        self.cost = self.cost.saturating_add(inner.cost);
        self.height = self.height.max(inner.height + 1);
    }
}

struct Count<'a, 'f> {
    document: &'a Value,
    /// What is behind a reference; `None` while it is being counted.
    known: HashMap<&'a str, Option<Size>>,
    level: usize,
    found: Option<&'f mut Findings>,
}

impl<'a, 'f> Count<'a, 'f> {
    fn new(document: &'a Value, found: Option<&'f mut Findings>) -> Self {
        Self { document, known: HashMap::new(), level: 0, found }
    }

    fn fault(&mut self, at: &Pointer, reason: impl Into<String>, fix: &str) {
        if let Some(found) = &mut self.found {
            found.fault(at, reason, fix);
        }
    }

    fn too_deep(&mut self, at: &Pointer) -> Size {
        self.fault(at, "lies too deep inside of other schemas", "let references lead through fewer others");
        Size::flat(1)
    }

    fn schema(&mut self, value: &'a Value, at: &Pointer, top: bool) -> Size {
        if self.level == DEEPEST {
            return self.too_deep(at);
        }
        self.level += 1;
        let mut size = Size::flat(1);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    size.add(self.schema(item, &at.index(index), false));
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    size.add(self.keyword(key, value, &at.key(key), top));
                }
                if map.keys().any(|key| TWICE.contains(&key.as_str())) {
                    size.cost = size.cost.saturating_mul(2);
                }
            }
            _ => {}
        }
        self.level -= 1;
        size
    }

    fn keyword(&mut self, key: &'a str, value: &'a Value, at: &Pointer, top: bool) -> Size {
        match (key, value) {
            ("$ref", Value::String(to)) => return self.reference(to, at),
            ("$schema", Value::String(draft)) if !top || !DRAFTS.contains(&draft.trim_end_matches('#')) => {
                let reason = format!("{} is not a draft that is understood here", quoted(draft));
                let fix =
                    "write \"https://json-schema.org/draft/2020-12/schema\" at the top, or leave it out";
                self.fault(at, reason, fix);
            }
            ("$id", _) if !top => {
                self.fault(at, "gives a part of the schema another address", "leave it out");
            }
            ("pattern", Value::String(pattern)) => return Size::flat(self.pattern(pattern, at)),
            _ if MOVING.contains(&key) => {
                self.fault(at, "changes what references mean", "refer to \"#/$defs/...\" with \"$ref\"");
            }
            _ if DATA.contains(&key) => return Size::flat(data(value)),
            (_, Value::Object(map)) if NAMED.contains(&key) => return self.named(key, map, at),
            _ => {}
        }
        self.schema(value, at, false)
    }

    fn named(&mut self, key: &str, map: &'a Map<String, Value>, at: &Pointer) -> Size {
        let mut size = Size::flat(1);
        for (name, value) in map {
            let at = at.key(name);
            if key == "patternProperties" {
                size.add(Size::flat(self.pattern(name, &at)));
            }
            size.add(self.schema(value, &at, false));
        }
        size
    }

    fn pattern(&mut self, pattern: &str, at: &Pointer) -> u64 {
        if pattern.len() > LONGEST_PATTERN {
            let reason = format!("is a pattern of {} bytes", pattern.len());
            self.fault(at, reason, "shorten it to 512, or use several");
        }
        PATTERN.saturating_add(pattern.len() as u64 / 8)
    }

    fn reference(&mut self, to: &'a str, at: &Pointer) -> Size {
        match self.known.get(to).copied() {
            Some(Some(size)) if self.level + size.height > DEEPEST => return self.too_deep(at),
            Some(Some(size)) => return size,
            Some(None) => {
                self.fault(at, "leads back to itself", "write a schema that ends");
                return Size::flat(1);
            }
            None => {}
        }
        // An escape could be read as another place than we have counted.
        let place = to.strip_prefix('#').filter(|place| place.starts_with('/') && !place.contains('%'));
        let Some(target) = place.and_then(|place| self.document.pointer(place)) else {
            let reason = format!("{} is no place in this schema", quoted(to));
            self.fault(at, reason, "refer to \"#/$defs/...\"; nothing is fetched from elsewhere");
            return Size::flat(1);
        };
        self.known.insert(to, None);
        let size = self.schema(target, at, false);
        self.known.insert(to, Some(size));
        size
    }
}

fn data(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(data).sum(),
        Value::Object(map) => map.values().map(data).sum::<u64>(),
        _ => 0,
    }
}
