//! Values between the three forms that they have: typed by a person, stored, shown.
//!
//! Typed JSON is stored as MessagePack. Shown values are a JSON tree, from which `output.rs` makes every
//! form. What JSON does not have is shown as a map with one marked key: `$base64` for bytes, `$map` for a
//! map whose keys are no strings, `$ext` for an extension, `$float` for what is no finite number.
//!
//! **Never:** stores a number other than the one that was typed, or shows bytes as if they were text when
//! they are not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use paravon_client::{Kind, MAX_VALUE_DEPTH, Value};
use rmpv::Value as Msgpack;
use serde_json::{Map, Value as Json, json};

use crate::error::Error;
use crate::paraconf::KeyEncoding;

/// How a typed value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// JSON where it can be read as JSON, else a string.
    Guess,
    /// A string.
    Text,
    /// JSON.
    Json,
}

/// The value that a person typed.
pub(crate) fn encode(typed: &str, meaning: Meaning, encoding: KeyEncoding) -> Result<Value, Error> {
    let json = match meaning {
        Meaning::Text => Json::String(typed.to_owned()),
        Meaning::Json => serde_json::from_str(typed).map_err(|source| Error::Json { source })?,
        Meaning::Guess => {
            serde_json::from_str(typed).unwrap_or_else(|_| Json::String(typed.to_owned()))
        }
    };
    let is_whole = typed.trim().trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
    if json.is_f64() && is_whole {
        return Err(Error::TooBig);
    }
    if depth(&json) > MAX_VALUE_DEPTH {
        return Err(Error::TooDeep { limit: MAX_VALUE_DEPTH });
    }
    let bytes = write(&to_msgpack(json));
    // The Python client knows bytes only, and puts MessagePack into them.
    let kind = match encoding {
        KeyEncoding::Raw => Kind::Msgpack,
        KeyEncoding::Msgpack => Kind::Bytes,
    };
    Ok(Value { kind, bytes: bytes.into() })
}

/// The bytes of a file as a value.
pub(crate) fn encode_bytes(bytes: &[u8], encoding: KeyEncoding) -> Value {
    match encoding {
        KeyEncoding::Raw => Value::bytes(bytes),
        KeyEncoding::Msgpack => Value::bytes(&write(&Msgpack::Binary(bytes.to_vec()))),
    }
}

/// The key that a person typed, as it travels.
pub(crate) fn encode_key(typed: &str, encoding: KeyEncoding) -> Vec<u8> {
    match encoding {
        KeyEncoding::Raw => typed.as_bytes().to_vec(),
        KeyEncoding::Msgpack => write(&Msgpack::from(typed)),
    }
}

/// A stored value, as it is meant.
pub(crate) enum Stored {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Anything else, to be shown.
    Typed(Json),
}

/// Reads a stored value.
pub(crate) fn decode(value: &Value, encoding: KeyEncoding) -> Stored {
    let inside = match (value.kind, encoding) {
        (Kind::Msgpack, _) | (Kind::Bytes, KeyEncoding::Msgpack) => read(&value.bytes),
        (Kind::Bytes, KeyEncoding::Raw) => None,
    };
    match inside {
        Some(Msgpack::Binary(bytes)) => Stored::Bytes(bytes),
        Some(msgpack) => Stored::Typed(to_json(msgpack)),
        None => Stored::Bytes(value.bytes.to_vec()),
    }
}

impl Stored {
    /// The value as a tree; bytes are text where they are text.
    pub(crate) fn show(self) -> Json {
        match self {
            Self::Bytes(bytes) => bytes_to_json(&bytes),
            Self::Typed(tree) => tree,
        }
    }
}

fn write(msgpack: &Msgpack) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = rmpv::encode::write_value(&mut bytes, msgpack);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    bytes
}

/// The one value that these bytes encode; none where they are something else. The reader's own bound on
/// depth is far above the protocol's, and holds for bytes that only look like MessagePack.
fn read(mut bytes: &[u8]) -> Option<Msgpack> {
    let value = rmpv::decode::read_value(&mut bytes).ok();
    value.filter(|_| bytes.is_empty())
}

fn depth(json: &Json) -> u32 {
    let deepest = match json {
        Json::Array(items) => items.iter().map(depth).max(),
        Json::Object(pairs) => pairs.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or_default()
}

fn to_msgpack(json: Json) -> Msgpack {
    match json {
        Json::Null => Msgpack::Nil,
        Json::Bool(flag) => Msgpack::Boolean(flag),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(unsigned), _) => unsigned.into(),
            (None, Some(signed)) => signed.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => Msgpack::Array(items.into_iter().map(to_msgpack).collect()),
        Json::Object(pairs) => Msgpack::Map(
            pairs.into_iter().map(|(key, value)| (key.into(), to_msgpack(value))).collect(),
        ),
    }
}

fn to_json(msgpack: Msgpack) -> Json {
    match msgpack {
        Msgpack::Nil => Json::Null,
        Msgpack::Boolean(flag) => flag.into(),
        Msgpack::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(unsigned), _) => unsigned.into(),
            (None, signed) => signed.into(),
        },
        Msgpack::F32(number) => float(number.into()),
        Msgpack::F64(number) => float(number),
        Msgpack::String(text) => bytes_to_json(text.as_bytes()),
        Msgpack::Binary(bytes) => base64(&bytes),
        Msgpack::Array(items) => items.into_iter().map(to_json).collect(),
        Msgpack::Map(pairs) => map_to_json(pairs),
        Msgpack::Ext(kind, bytes) => {
            json!({ "$ext": { "type": kind, "base64": STANDARD.encode(bytes) } })
        }
    }
}

/// An object where all keys are different strings, else a list of pairs.
fn map_to_json(pairs: Vec<(Msgpack, Msgpack)>) -> Json {
    let mut object = Map::new();
    let count = pairs.len();
    for (key, value) in &pairs {
        if let Some(key) = key.as_str() {
            object.insert(key.to_owned(), to_json(value.clone()));
        }
    }
    if object.len() == count {
        return Json::Object(object);
    }
    let pair = |(key, value)| json!([to_json(key), to_json(value)]);
    json!({ "$map": pairs.into_iter().map(pair).collect::<Json>() })
}

fn float(number: f64) -> Json {
    match serde_json::Number::from_f64(number) {
        Some(number) => Json::Number(number),
        None => json!({ "$float": number.to_string() }),
    }
}

/// Text where the bytes are text.
fn bytes_to_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => base64(bytes),
    }
}

fn base64(bytes: &[u8]) -> Json {
    json!({ "$base64": STANDARD.encode(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(typed: &str) -> Value {
        encode(typed, Meaning::Guess, KeyEncoding::Raw).unwrap()
    }

    fn shown(bytes: &[u8]) -> Json {
        decode(&Value { kind: Kind::Msgpack, bytes: bytes.into() }, KeyEncoding::Raw).show()
    }

    #[test]
    fn what_reads_as_json_is_typed_and_anything_else_a_string() {
        for (typed, expected) in [
            ("5", &b"\x05"[..]),
            ("-1", b"\xff"),
            ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
            ("0.5", b"\xcb\x3f\xe0\0\0\0\0\0\0"),
            ("null", b"\xc0"),
            ("[1, \"a\"]", b"\x92\x01\xa1a"),
            ("{\"b\":1,\"a\":2}", b"\x82\xa1b\x01\xa1a\x02"),
            ("souls", b"\xa5souls"),
            ("{not json", b"\xa9{not json"),
            ("", b"\xa0"),
        ] {
            assert_eq!(
                raw(typed),
                Value { kind: Kind::Msgpack, bytes: expected.into() },
                "{typed}"
            );
        }
        let text = encode("5", Meaning::Text, KeyEncoding::Raw).unwrap();
        assert_eq!(&*text.bytes, b"\xa15");
        assert!(encode("x", Meaning::Json, KeyEncoding::Raw).is_err());
    }

    #[test]
    fn no_number_is_rounded_and_no_depth_is_sent_in_vain() {
        let guess = |typed: &str| encode(typed, Meaning::Guess, KeyEncoding::Raw);
        assert!(matches!(guess("18446744073709551616"), Err(Error::TooBig)));
        assert!(matches!(guess("-9223372036854775809"), Err(Error::TooBig)));
        assert!(guess("1e30").is_ok());
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(guess(&nested(29)).is_ok());
        assert!(matches!(guess(&nested(30)), Err(Error::TooDeep { .. })));
    }

    #[test]
    fn what_json_lacks_is_marked() {
        assert_eq!(shown(b"\xc4\x02\xff\x00"), json!({"$base64": "/wA="}));
        assert_eq!(shown(b"\x81\x01\xa1a"), json!({"$map": [[1, "a"]]}));
        assert_eq!(shown(b"\xcb\x7f\xf0\0\0\0\0\0\0"), json!({"$float": "inf"}));
        assert_eq!(shown(b"\xd4\x07\x01"), json!({"$ext": {"type": 7, "base64": "AQ=="}}));
        assert_eq!(shown(b"\x82\xa1a\x01\xa1a\x02"), json!({"$map": [["a", 1], ["a", 2]]}));
    }

    #[test]
    fn bytes_are_text_only_where_they_are() {
        let bytes = |bytes: &[u8]| decode(&Value::bytes(bytes), KeyEncoding::Raw).show();
        assert_eq!(bytes(b"plain"), json!("plain"));
        assert_eq!(bytes(b"\xff"), json!({"$base64": "/w=="}));
        assert_eq!(bytes(b"\x05"), json!("\u{5}"));
    }

    #[test]
    fn with_the_python_clients_encoding_both_read_each_others_data() {
        assert_eq!(encode_key("users/souls", KeyEncoding::Msgpack), b"\xabusers/souls");
        let value = encode("{\"a\": [1]}", Meaning::Guess, KeyEncoding::Msgpack).unwrap();
        assert_eq!(value, Value::bytes(b"\x81\xa1a\x91\x01"));
        let shown = |value: &Value| decode(value, KeyEncoding::Msgpack).show();
        assert_eq!(shown(&value), json!({"a": [1]}));
        let file = encode_bytes(b"\xff", KeyEncoding::Msgpack);
        assert_eq!(file, Value::bytes(b"\xc4\x01\xff"));
        assert_eq!(shown(&file), json!({"$base64": "/w=="}));
        // Not everything in the store is the Python client's.
        assert_eq!(shown(&Value::bytes(b"\x92\x01")), json!({"$base64": "kgE="}));
    }
}
