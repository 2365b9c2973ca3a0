//! From bytes to a JSON document, and from a document to its digest.
//!
//! Stricter than JSON itself: a key that occurs twice is a fault, because two readers could take different
//! ones and run something else than was approved.

use std::cell::RefCell;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::fault::{Findings, Pointer, quoted};

/// Most bytes of a manifest.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most objects and lists inside each other.
pub const MAX_DEPTH: usize = 32;

/// Decodes `bytes`; what is wrong goes to `findings`, and without a document there is at least one fault.
pub(crate) fn decode(bytes: &[u8], findings: &mut Findings) -> Option<Value> {
    let root = Pointer::default();
    if bytes.len() > MAX_BYTES {
        let reason = format!("has {} bytes", bytes.len());
        findings.fault(&root, reason, format!("shorten it to {MAX_BYTES} bytes"));
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let reason = format!("is not UTF-8 from byte {} on", error.valid_up_to());
            findings.fault(&root, reason, "save the file as UTF-8");
            return None;
        }
    };
    if text.starts_with('\u{feff}') {
        let fix = "save the file as UTF-8 without byte order mark (RFC 8259 section 8.1)";
        findings.fault(&root, "begins with a byte order mark", fix);
        return None;
    }
    let state = State { place: RefCell::default(), findings: RefCell::new(findings) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let result = Strict { state: &state, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    let State { place, findings } = state;
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let at = place.into_inner().iter().fold(root, |at, step| at.step_of(step));
            let fix = "correct the JSON; a comma, quotation mark or bracket nearby is the usual cause";
            findings.into_inner().fault(&at, reason(&error), fix);
            None
        }
    }
}

/// Whether a document that was decoded elsewhere keeps the bounds of [`decode`].
pub(crate) fn bounded(value: &Value, findings: &mut Findings) -> bool {
    let root = Pointer::default();
    if depth(value) > MAX_DEPTH {
        let reason = format!("has more than {MAX_DEPTH} objects and lists inside each other");
        findings.fault(&root, reason, "make it flatter");
        return false;
    }
    let length = canonical(value).len();
    if length > MAX_BYTES {
        let reason = format!("has {length} bytes");
        findings.fault(&root, reason, format!("shorten it to {MAX_BYTES} bytes"));
        return false;
    }
    true
}

/// How many objects and lists stand inside each other; not by recursion, because the depth is not known.
fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(items) => {
                deepest = deepest.max(depth + 1);
                open.extend(items.iter().map(|item| (item, depth + 1)));
            }
            Value::Object(map) => {
                deepest = deepest.max(depth + 1);
                open.extend(map.values().map(|item| (item, depth + 1)));
            }
            _ => {}
        }
    }
    deepest
}

/// The error, without unbounded text of the document.
fn reason(error: &serde_json::Error) -> String {
    format!("cannot be read: {}", crate::fault::shown(&error.to_string(), 200))
}

/// `sha256:` and 64 hexadecimal digits, over the canonical form of `value`.
pub(crate) fn digest_of(value: &Value) -> String {
    let mut text = String::from("sha256:");
    for byte in digest(&SHA256, canonical(value).as_bytes()).as_ref() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// JSON without white space, the keys of every object in the order of their bytes.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            // Sorted here and not by the map, whose order depends on how serde_json was built.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(item, text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// One step from a value to a value inside it.
enum Step {
    Key(String),
    Index(usize),
}

impl Pointer {
    fn step_of(&self, step: &Step) -> Self {
        match step {
            Step::Key(key) => self.key(key),
            Step::Index(index) => self.index(*index),
        }
    }
}

struct State<'f> {
    /// Where the reading is; left as it is when it fails.
    place: RefCell<Vec<Step>>,
    findings: RefCell<&'f mut Findings>,
}

impl State<'_> {
    fn here(&self) -> Pointer {
        self.place.borrow().iter().fold(Pointer::default(), |at, step| at.step_of(step))
    }
}

#[derive(Clone, Copy)]
struct Strict<'s, 'f> {
    state: &'s State<'f>,
    depth: usize,
}

impl Strict<'_, '_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("more than {MAX_DEPTH} objects and lists inside each other")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn enter(&self, step: Step) {
        self.state.place.borrow_mut().push(step);
    }

    fn leave(&self) {
        self.state.place.borrow_mut().pop();
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        loop {
            self.enter(Step::Index(items.len()));
            let Some(item) = seq.next_element_seed(inner)? else {
                break;
            };
            items.push(item);
            self.leave();
        }
        self.leave();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.enter(Step::Key(key.clone()));
            let value = access.next_value_seed(inner)?;
            if map.contains_key(&key) {
                let reason = format!("the key {} occurs more than once in its object", quoted(&key));
                let at = self.state.here();
                self.state.findings.borrow_mut().fault(&at, reason, "keep one of them");
            } else {
                map.insert(key, value);
            }
            self.leave();
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(bytes: &[u8]) -> Vec<(String, String)> {
        let mut findings = Findings::default();
        decode(bytes, &mut findings);
        findings.faults().into_list().into_iter().map(|f| (f.pointer, f.reason)).collect()
    }

    fn check(bytes: &[u8], pointer: &str, reason: &str) {
        let found = faults(bytes);
        assert!(
            found.iter().any(|(p, r)| p == pointer && r.contains(reason)),
            "{found:?} instead of {pointer:?} {reason:?}"
        );
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        check(&vec![b' '; MAX_BYTES + 1], "", "has 262145 bytes");
        check(b"{\"a\": \"\xff\"}", "", "not UTF-8 from byte 7");
        check(b"\xef\xbb\xbf{}", "", "byte order mark");
        check(b"", "", "cannot be read: EOF");
        check(b"{\"a\": {\"b\": [1, tru]}}", "/a/b/1", "line 1 column 20");
        check(b"{} {}", "", "trailing characters");
        check(b"{\"a\": 1e999}", "/a", "number out of range");
        check(b"{\"a\": \"\\ud800\"}", "/a", "cannot be read");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert_eq!(faults(&nested(MAX_DEPTH)), []);
        check(&nested(MAX_DEPTH + 1), &"/0".repeat(MAX_DEPTH), "more than 32");
        check(&nested(100_000), &"/0".repeat(MAX_DEPTH), "more than 32");
    }

    #[test]
    fn every_key_that_occurs_twice_is_a_fault() {
        let text = br#"{"a": 1, "a": 2, "b": [{"c": 1, "\u0063": 2}], "b/": 0, "b/": 0}"#;
        check(text, "/a", "the key \"a\" occurs more than once");
        check(text, "/b/0/c", "the key \"c\" occurs more than once");
        check(text, "/b~1", "occurs more than once");
        assert_eq!(faults(text).len(), 3);
    }

    #[test]
    fn the_canonical_form_does_not_depend_on_order_and_white_space() {
        let canonical_of =
            |text: &str| canonical(&decode(text.as_bytes(), &mut Findings::default()).expect("JSON"));
        let text = canonical_of(" { \"b\" : [1, 2.5, null, true], \"a\\n\": {\"y\": \"é\", \"x\": {}} }");
        assert_eq!(text, "{\"a\\n\":{\"x\":{},\"y\":\"é\"},\"b\":[1,2.5,null,true]}");
        assert_eq!(canonical_of(&text), text);
        let empty = digest_of(&Value::Object(Map::new()));
        // printf '{}' | sha256sum
        assert_eq!(empty, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }
}
