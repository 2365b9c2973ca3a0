//! JSON objects without doubt: a member that stands twice is an error, at every depth.
//!
//! Two readers of `{"sub":"a","sub":"b"}` may each see another subject (RFC 8725 section 2.6), so
//! such a text is not interpreted at all.
//!
//! The manifest's reader is strict in the same way and not the same: it goes on after a repeat, to tell all
//! of them with their places, and so keeps the place of every value. A token is read with every request and
//! refused at the first one.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are not such an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not JSON, too deep, or not an object.
    Malformed,
    /// The named member stands twice in one object.
    Duplicate(String),
}

/// Reads one JSON object from all of `bytes`.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let duplicate = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&duplicate).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    if let Some(name) = duplicate.into_inner() {
        return Err(Fault::Duplicate(name));
    }
    match value {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(Fault::Malformed),
    }
}

/// Builds a value and leaves the name of a repeated member in the cell: serde's errors are text,
/// and text is not something to decide by.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.0.replace(Some(name));
                return Err(A::Error::custom("a member stands twice"));
            }
            let value = members.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_named_at_every_depth() {
        let cases = [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"x":{"b":1,"c":2,"b":3}}"#, "b"),
            (r#"{"x":[0,{"c":1,"\u0063":2}]}"#, "c"),
        ];
        for (text, name) in cases {
            assert_eq!(object(text.as_bytes()), Err(Fault::Duplicate(name.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_malformed() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(500), "}".repeat(500));
        for text in ["", "1", "[]", "null", "{", "{}{}", "{\"a\":\"\u{1}\"}", "\u{feff}{}", deep.as_str()] {
            assert_eq!(object(text.as_bytes()), Err(Fault::Malformed), "{text:?}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Fault::Malformed));
    }

    proptest! {
        #[test]
        fn an_object_without_repeats_reads_as_serde_json_reads_it(
            names in proptest::collection::btree_map(".{0,8}", any::<i64>(), 0..8),
        ) {
            let text = serde_json::to_string(&serde_json::json!({"inner": names, "list": [1.5, null, true]}))
                .expect("plain data");
            let plain: Value = serde_json::from_str(&text).expect("just written");
            prop_assert_eq!(object(text.as_bytes()).map(Value::Object), Ok(plain));
        }
    }
}
