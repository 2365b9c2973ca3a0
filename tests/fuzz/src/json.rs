//! JSON made from a fuzzer's bytes: any value, and a good document with anything changed in it.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::{Map, Value};

/// Deepest value that is made; readers stop at 128 levels and less, which raw bytes find too.
const DEPTH: usize = 4;

/// Any value. Texts and keys are often one of `words`.
pub fn value(u: &mut Unstructured<'_>, words: &[&str]) -> Result<Value> {
    nested(u, words, DEPTH)
}

fn nested(u: &mut Unstructured<'_>, words: &[&str], depth: usize) -> Result<Value> {
    let kinds = if depth == 0 { 7 } else { 9 };
    Ok(match u.int_in_range(0..=kinds - 1)? {
        0 => Value::Null,
        1 => Value::Bool(u.arbitrary()?),
        2 => u.arbitrary::<i64>()?.into(),
        3 => i64::from(u.arbitrary::<i8>()?).into(),
        4 => u.arbitrary::<f64>()?.into(),
        5 | 6 => text(u, words)?.into(),
        7 => {
            let many = u.int_in_range(0..=3)?;
            (0..many).map(|_| nested(u, words, depth - 1)).collect::<Result<Vec<_>>>()?.into()
        }
        _ => {
            let many = u.int_in_range(0..=3)?;
            let member = |_| Ok((text(u, words)?, nested(u, words, depth - 1)?));
            Value::Object((0..many).map(member).collect::<Result<Map<_, _>>>()?)
        }
    })
}

/// One of `words`, two of them joined, one with a character put into it, or any text.
pub fn text(u: &mut Unstructured<'_>, words: &[&str]) -> Result<String> {
    Ok(match u.int_in_range(0..=5)? {
        0 | 1 => (*u.choose(words)?).to_owned(),
        2 => format!("{}{}", u.choose(words)?, u.choose(words)?),
        3 => {
            let mut word = (*u.choose(words)?).to_owned();
            let place = word.char_indices().map(|(at, _)| at).nth(u.int_in_range(0..=7)?);
            word.insert(place.unwrap_or(word.len()), u.arbitrary()?);
            word
        }
        4 if u.ratio(1, 8)? => "x".repeat(u.int_in_range(0..=600)?),
        _ => u.arbitrary::<&str>()?.chars().take(64).collect(),
    })
}

/// `document` with up to five changes at any of its places.
pub fn mutated(mut document: Value, u: &mut Unstructured<'_>, words: &[&str]) -> Result<Value> {
    for _ in 0..u.int_in_range(0..=5)? {
        let places = count(&document);
        let place = u.int_in_range(0..=places - 1)?;
        if let Some(slot) = nth(&mut document, &mut { place }) {
            change(slot, u, words)?;
        }
    }
    Ok(document)
}

fn change(slot: &mut Value, u: &mut Unstructured<'_>, words: &[&str]) -> Result<()> {
    match (u.int_in_range(0..=5)?, &mut *slot) {
        (0, Value::Object(members)) => {
            if let Some(key) = members.keys().nth(u.int_in_range(0..=15)?).cloned() {
                members.remove(&key);
            }
        }
        (1 | 2, Value::Object(members)) => {
            members.insert(text(u, words)?, value(u, words)?);
        }
        (0, Value::Array(items)) => {
            items.pop();
        }
        (1, Value::Array(items)) => items.push(value(u, words)?),
        (2, Value::Array(items)) => {
            // One too many is found by repeating, which is slow, so it is done seldom.
            if let Some(item) = items.first().cloned() {
                let many = if u.ratio(1, 32)? { u.int_in_range(0..=300)? } else { 1 };
                items.extend(std::iter::repeat_n(item, many));
            }
        }
        (0 | 1, Value::String(old)) => *old = text(u, words)?,
        (2, Value::String(old)) => old.push_str(&text(u, words)?),
        (0..=2, Value::Number(number)) => {
            let near = number.as_i64().unwrap_or_default().saturating_add(u.int_in_range(-2..=2)?);
            *slot = near.into();
        }
        (3, inner) => *inner = Value::Array(vec![inner.take()]),
        (_, any) => *any = value(u, words)?,
    }
    Ok(())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at place `left`, counted from the outside in.
fn nth<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, left)),
        _ => None,
    }
}

/// The text of `document`, sometimes with a member of its outermost object said twice, or a byte changed.
/// Tells whether a member is there twice.
pub fn written(document: &Value, u: &mut Unstructured<'_>) -> Result<(Vec<u8>, bool)> {
    let mut bytes = document.to_string().into_bytes();
    match u.int_in_range(0..=7)? {
        0 => {
            let first = document.as_object().and_then(|members| members.iter().next());
            if let Some((key, value)) = first {
                bytes.pop();
                bytes.extend_from_slice(format!(",{}:{value}}}", Value::from(key.as_str())).as_bytes());
                return Ok((bytes, true));
            }
        }
        1 => {
            let place = u.int_in_range(0..=bytes.len() - 1)?;
            bytes[place] = u.arbitrary()?;
        }
        _ => {}
    }
    Ok((bytes, false))
}
