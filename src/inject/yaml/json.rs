//! Reads JSON values one after the other; their keys must be unique.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{Error, Reason};
use super::{Document, MAX_DEPTH, MAX_WEIGHT, at_end_of, weight_of};

/// Reads all values but nulls; returns `None` if the text is not JSON with unique keys.
///
/// Fails if the values exceed [`MAX_WEIGHT`].
pub(super) fn read(text: &str) -> Result<Option<Vec<Document>>, Error> {
    let mut weight = 0;
    let documents = documents(text, &mut weight);
    if weight > MAX_WEIGHT {
        return Err(at_end_of("", Reason::TooMuch));
    }
    Ok(documents)
}

fn documents(text: &str, weight: &mut usize) -> Option<Vec<Document>> {
    let mut documents = Vec::new();
    let (mut rest, mut line) = skip(text, 0, 1)?;
    while !rest.is_empty() {
        let mut reader = serde_json::Deserializer::from_str(rest);
        let value = Strict(weight, 0).deserialize(&mut reader).ok()?;
        // Only a stream reports its offset, but it cannot deserialize with a seed.
        let mut stream =
            serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
        stream.next()?.ok()?;
        if !value.is_null() {
            documents.push(Document { value, line });
        }
        (rest, line) = skip(rest, stream.byte_offset(), line)?;
    }
    Some(documents)
}

/// Skips `length` bytes and the white space after them, and counts the lines.
fn skip(text: &str, length: usize, line: usize) -> Option<(&str, usize)> {
    let rest = text.get(length..)?.trim_start();
    let skipped = text.get(..text.len() - rest.len())?;
    Some((rest, line + skipped.matches('\n').count()))
}

/// Reads a value; rejects duplicate keys, and values that exceed a limit. The fields are the weight so far and the depth.
struct Strict<'a>(&'a mut usize, usize);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        *self.0 += 1;
        if *self.0 > MAX_WEIGHT || self.1 > MAX_DEPTH {
            return Err(D::Error::custom("too much"));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        *self.0 += weight_of(value);
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict(self.0, self.1 + 1))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            *self.0 += weight_of(&name);
            let value = fields.next_value_seed(Strict(self.0, self.1 + 1))?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a key occurs twice"));
            }
        }
        Ok(object.into())
    }
}
