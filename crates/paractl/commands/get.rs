//! `get KEY`: prints a key's value and version, or the value alone.
//!
//! **Never:** says that a key is absent unless a server said so.

use std::time::{Duration, UNIX_EPOCH};

use paravon_client::{Found, Kind, RequestOptions};
use serde_json::{Map, Value as Json, json};

use super::{Caller, show_version};
use crate::args::{Form, KeyArgs};
use crate::error::Error;
use crate::output::{self, Output};
use crate::paraconf::KeyEncoding;
use crate::typed::{self, Stored};

pub(super) fn run(args: &KeyArgs, caller: &Caller, output: &Output) -> Result<(), Error> {
    let key = caller.context.key(&args.key)?;
    let options = RequestOptions { consistency: caller.context.consistency, timeout: None };
    let found = caller.ask(caller.client.get(&key, options))?;
    let found = found.ok_or_else(|| Error::Absent { key: args.key.clone() })?;
    let encoding = caller.context.key_encoding;
    match output.form() {
        Form::Raw => output.print_raw(&alone(&found, encoding)),
        _ => output.print(&show(&args.key, &found, encoding)),
    }
}

/// The value alone: bytes as they are, text as it is, anything else as JSON.
fn alone(found: &Found, encoding: KeyEncoding) -> Vec<u8> {
    match typed::decode(&found.value, encoding) {
        Stored::Bytes(bytes) => bytes,
        Stored::Typed(tree) => output::raw(&tree).into_bytes(),
    }
}

fn show(key: &str, found: &Found, encoding: KeyEncoding) -> Json {
    let kind = match found.value.kind {
        Kind::Bytes => "bytes",
        Kind::Msgpack => "msgpack",
    };
    let mut tree = Map::new();
    tree.insert("key".to_owned(), key.into());
    tree.insert("value".to_owned(), typed::decode(&found.value, encoding).show());
    tree.insert("kind".to_owned(), kind.into());
    tree.insert("version".to_owned(), show_version(&found.version));
    if let Some(expires) = found.expires_ms.and_then(instant) {
        tree.insert("expires".to_owned(), expires);
    }
    Json::Object(tree)
}

fn instant(ms: u64) -> Option<Json> {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms))?;
    // Further than the calendar of RFC 3339 goes.
    let representable = ms < 253_402_300_800_000;
    representable.then(|| json!(humantime::format_rfc3339_millis(at).to_string()))
}

#[cfg(test)]
mod tests {
    use paravon_client::{Hlc, Value, Version};

    use super::*;

    fn found(value: Value) -> Found {
        let version = Version { hlc: Hlc::new(1_000, 2), node_id: "node-1".into() };
        Found { value, version, expires_ms: Some(2_000) }
    }

    #[test]
    fn a_value_is_shown_with_kind_version_and_expiry() {
        let shown = show("k", &found(Value::bytes(b"souls")), KeyEncoding::Raw);
        let expected = json!({
            "key": "k", "value": "souls", "kind": "bytes",
            "version": {"physical": 1000, "logical": 2, "node_id": "node-1"},
            "expires": "1970-01-01T00:00:02.000Z",
        });
        assert_eq!(shown, expected);
        assert_eq!(instant(u64::MAX), None);
    }

    #[test]
    fn raw_is_the_value_alone_by_its_kind() {
        let raw = |value| alone(&found(value), KeyEncoding::Raw);
        let msgpack = |bytes: &[u8]| Value { kind: Kind::Msgpack, bytes: bytes.into() };
        assert_eq!(raw(Value::bytes(b"\xff\0")), b"\xff\0");
        assert_eq!(raw(msgpack(b"\xa5souls")), b"souls");
        assert_eq!(raw(msgpack(b"\x92\x01\xa1a")), b"[1,\"a\"]");
    }
}
