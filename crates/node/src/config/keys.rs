//! Every key of `paranode.yaml`: a row says its name and how its value is read.
//!
//! **Never:** a key that is known elsewhere and not here. The defaults stand in `settings.rs`, what
//! a key is for in `paranode.yaml`.

use std::path::PathBuf;
use std::time::Duration;

use paravon_model::limits::{MAX_REQUEST_TIMEOUT, MAX_VALUE_BYTES};

use super::error::Expected;
use super::settings::{Config, MIB};
use super::value::{
    address, address_or_off, boolean, buffer, bytes, common_name, durability, engine, host,
    node_id, shift, size_class, time, whole,
};

/// A key of the file.
pub(super) struct Key {
    /// Its name with its sections, joined by dots.
    pub(super) name: &'static str,
    /// Whether it has no default.
    pub(super) required: bool,
    /// How its value is read.
    pub(super) kind: Kind,
}

/// How a value is read and where it is put.
pub(super) enum Kind {
    /// One value.
    One(fn(&mut Config, &str) -> Result<(), Expected>),
    /// A path, resolved before it is put.
    Path(fn(&mut Config, PathBuf)),
    /// A list; one text with commas in the environment.
    List(fn(&mut Config, &[String]) -> Result<(), Expected>),
    /// Of the Python program; accepted with a warning.
    NoEffect,
}

/// Every key, by section.
pub(super) const KEYS: &[Key] = &[
    required("node.id", Kind::One(|c, t| put(&mut c.node.id, node_id(t)))),
    one("node.size", |c, t| put(&mut c.node.size, size_class(t))),
    one("node.auto_join", |c, t| put(&mut c.node.auto_join, boolean(t))),
    one("node.zone", |c, t| put(&mut c.node.zone, node_id(t).map(Some))),
    one("server.api.host", |c, t| put(&mut c.server.api.bind.host, host(t))),
    one("server.api.port", |c, t| put(&mut c.server.api.bind.port, whole(t, 0..=u16::MAX))),
    one("server.peer.host", |c, t| put(&mut c.server.peer.bind.host, host(t))),
    one("server.peer.port", |c, t| put(&mut c.server.peer.bind.port, whole(t, 0..=u16::MAX))),
    list("server.peer.seeds", |c, t| put(&mut c.server.peer.seeds, each(t, address))),
    one("server.peer.listener", |c, t| put(&mut c.server.peer.listener, address(t).map(Some))),
    required("server.tls.certfile", Kind::Path(|c, p| c.server.tls.certfile = p)),
    required("server.tls.keyfile", Kind::Path(|c, p| c.server.tls.keyfile = p)),
    required("server.tls.cafile", Kind::Path(|c, p| c.server.tls.cafile = p)),
    path("server.tls.crlfile", |c, p| c.server.tls.crlfile = Some(p)),
    one("server.event_loops", |c, t| put(&mut c.server.event_loops, whole(t, 1..=256).map(Some))),
    one("server.backlog", |c, t| put(&mut c.server.backlog, whole(t, 1..=65_535))),
    one("server.timeout_graceful_shutdown", |c, t| {
        put(&mut c.server.timeout_graceful_shutdown, time(t, Duration::ZERO..=HOUR))
    }),
    one("server.limit_concurrency", |c, t| {
        put(&mut c.server.limit_concurrency, whole(t, 1..=1_000_000))
    }),
    one("server.max_buffer_size", |c, t| {
        put(&mut c.server.max_buffer_size, buffer(t, 64 * 1024..=1024 * MIB))
    }),
    one("server.max_message_size", |c, t| {
        put(&mut c.server.max_message_size, buffer(t, 1024..=MAX_VALUE_BYTES))
    }),
    one("server.max_connections", |c, t| {
        put(&mut c.server.max_connections, whole(t, 1..=1_000_000))
    }),
    one("server.max_connection_age", |c, t| {
        put(&mut c.server.max_connection_age, time(t, SECOND..=365 * DAY))
    }),
    one("server.handshake_timeout", |c, t| {
        put(&mut c.server.handshake_timeout, time(t, 100 * MILLISECOND..=MINUTE))
    }),
    one("server.metrics", |c, t| put(&mut c.server.metrics, address_or_off(t))),
    required("storage.data_dir", Kind::Path(|c, p| c.storage.data_dir = p)),
    Key { name: "storage.replication_dir", required: false, kind: Kind::NoEffect },
    one("storage.engine", |c, t| put(&mut c.storage.engine, engine(t))),
    one("storage.durability", |c, t| put(&mut c.storage.durability, durability(t))),
    one("storage.sync_interval", |c, t| {
        put(&mut c.storage.sync_interval, time(t, MILLISECOND..=10 * SECOND))
    }),
    one("storage.cache_size", |c, t| put(&mut c.storage.cache_size, bytes(t, 1 << 20..=1 << 44))),
    one("placement.shift", |c, t| put(&mut c.placement.shift, shift(t))),
    one("placement.replication_factor", |c, t| {
        put(&mut c.placement.replication_factor, whole(t, 1..=7))
    }),
    one("membership.join_timeout", |c, t| {
        put(&mut c.membership.join_timeout, time(t, SECOND..=DAY))
    }),
    one("clock.max_skew", |c, t| put(&mut c.clock.max_skew, time(t, 10 * MILLISECOND..=MINUTE))),
    one("handoff.max_bytes", |c, t| put(&mut c.handoff.max_bytes, bytes(t, 0..=1 << 50))),
    one("request.timeout", |c, t| {
        put(&mut c.request.timeout, time(t, MILLISECOND..=MAX_REQUEST_TIMEOUT))
    }),
    list("security.admins", |c, t| put(&mut c.security.admins, each(t, common_name))),
];

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether keys begin with this name and a dot.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The known name that the author of an unknown one probably meant.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    let most = unknown.len() / 4 + 1;
    let distance = |name: &'static str| (strsim::osa_distance(name, unknown), name);
    let close = KEYS.iter().flat_map(|key| with_sections(key.name)).map(distance).min();
    let close = close.filter(|&(distance, _)| distance <= most).map(|(_, name)| name);
    // The right key in the wrong section.
    let last = unknown.rsplit('.').next();
    close.or_else(|| KEYS.iter().map(|key| key.name).find(|name| name.rsplit('.').next() == last))
}

/// `a.b.c` gives `a`, `a.b` and `a.b.c`.
fn with_sections(name: &'static str) -> impl Iterator<Item = &'static str> {
    name.match_indices('.').map(|(dot, _)| &name[..dot]).chain([name])
}

const fn one(name: &'static str, set: fn(&mut Config, &str) -> Result<(), Expected>) -> Key {
    Key { name, required: false, kind: Kind::One(set) }
}

const fn path(name: &'static str, set: fn(&mut Config, PathBuf)) -> Key {
    Key { name, required: false, kind: Kind::Path(set) }
}

const fn list(name: &'static str, set: fn(&mut Config, &[String]) -> Result<(), Expected>) -> Key {
    Key { name, required: false, kind: Kind::List(set) }
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key { name, required: true, kind }
}

fn put<T>(slot: &mut T, value: Result<T, Expected>) -> Result<(), Expected> {
    *slot = value?;
    Ok(())
}

fn each<T>(texts: &[String], read: fn(&str) -> Result<T, Expected>) -> Result<Vec<T>, Expected> {
    texts.iter().map(|text| read(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_suggests_the_key_that_was_meant() {
        for (unknown, known) in [
            ("server.api.prot", "server.api.port"),
            ("sever", "server"),
            ("storage.datadir", "storage.data_dir"),
            ("node.replication_factor", "placement.replication_factor"),
        ] {
            assert_eq!(nearest(unknown), Some(known), "{unknown}");
        }
        assert_eq!(nearest("colour"), None);
    }

    #[test]
    fn no_key_is_a_section_too_and_none_stands_twice() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(!is_section(key.name), "{}", key.name);
            assert!(KEYS[index + 1..].iter().all(|other| other.name != key.name), "{}", key.name);
        }
    }
}
