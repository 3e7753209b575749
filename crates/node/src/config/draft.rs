//! A configuration under way: values arrive one by one, then it is complete or something is
//! missing.
//!
//! **Never:** lets a placeholder out: [`Draft::finish`] refuses while a key without a default is
//! not given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use paravon_model::NodeId;
use paravon_transport::TlsFiles;

use super::error::{ConfigError, Expected, Origin, Warning};
use super::keys::{self, KEYS, Key, Kind};
use super::load::Loaded;
use super::paths::Places;
use super::settings::Config;

/// A configuration under way.
pub(super) struct Draft<'p> {
    config: Config,
    places: &'p Places,
    /// Keys that stand in the file, empty ones included.
    seen: BTreeSet<&'static str>,
    /// Keys that have a value.
    given: BTreeSet<&'static str>,
    warnings: Vec<Warning>,
}

/// A value as it was written.
pub(super) enum Given {
    /// One text.
    Text(String),
    /// A list of texts.
    Items(Vec<String>),
}

/// An error that does not know its place yet.
pub(super) enum Mistake {
    /// No such key.
    Unknown {
        /// The name with its sections.
        name: String,
    },
    /// A key that was there before.
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A value that does not fit.
    Value {
        /// The key.
        key: &'static str,
        /// What was written.
        found: String,
        /// What would be right.
        expected: Expected,
    },
}

impl<'p> Draft<'p> {
    /// Nothing is given yet; relative paths will start from `places`.
    pub(super) fn new(places: &'p Places) -> Self {
        let tls = TlsFiles {
            certfile: PathBuf::new(),
            keyfile: PathBuf::new(),
            cafile: PathBuf::new(),
            crlfile: None,
        };
        // A constant that obeys the rule for node ids.
        let placeholder = NodeId::new("unnamed").expect("letters are allowed");
        Self {
            config: Config::new(placeholder, tls, PathBuf::new()),
            places,
            seen: BTreeSet::new(),
            given: BTreeSet::new(),
            warnings: Vec::new(),
        }
    }

    /// Takes the value of a key of the file; a second one is a mistake.
    pub(super) fn give(&mut self, key: &'static Key, value: Given) -> Result<(), Mistake> {
        if !self.seen.insert(key.name) {
            return Err(Mistake::Twice { key: key.name });
        }
        if matches!(key.kind, Kind::NoEffect) {
            self.warnings.push(Warning::NoEffect { key: key.name });
        }
        self.put(key, value)
    }

    /// Takes a value, over an earlier one. An empty or null value is none: what was before remains.
    pub(super) fn put(&mut self, key: &'static Key, value: Given) -> Result<(), Mistake> {
        let wrong = |found, expected| Mistake::Value { key: key.name, found, expected };
        match (&key.kind, value) {
            (Kind::NoEffect, _) => return Ok(()),
            (Kind::List(set), value) => {
                let items = value.into_items();
                set(&mut self.config, &items).map_err(|e| wrong(items.join(", "), e))?;
            }
            (_, Given::Text(text)) if matches!(text.as_str(), "" | "~" | "null") => return Ok(()),
            (Kind::One(set), Given::Text(text)) => {
                set(&mut self.config, &text).map_err(|e| wrong(text, e))?;
            }
            (Kind::Path(set), Given::Text(text)) => {
                let path = self.places.resolve(&text).map_err(|e| wrong(text, e))?;
                set(&mut self.config, path);
            }
            (Kind::One(_) | Kind::Path(_), Given::Items(items)) => {
                return Err(wrong(items.join(", "), Expected::OneValue));
            }
        }
        self.given.insert(key.name);
        Ok(())
    }

    /// The configuration, complete and consistent; `path` is named in errors.
    pub(super) fn finish(self, path: &Path) -> Result<Loaded, ConfigError> {
        let missing = KEYS.iter().find(|key| key.required && !self.given.contains(key.name));
        if let Some(key) = missing {
            return Err(ConfigError::Missing { path: path.to_owned(), key: key.name });
        }
        let server = &self.config.server;
        if server.max_buffer_size < server.max_message_size {
            return Err(ConfigError::Order {
                path: path.to_owned(),
                smaller: "server.max_buffer_size",
                smaller_bytes: server.max_buffer_size,
                larger: "server.max_message_size",
                larger_bytes: server.max_message_size,
            });
        }
        Ok(Loaded { config: self.config, warnings: self.warnings })
    }
}

impl Given {
    /// As a list: a text is split at its commas.
    fn into_items(self) -> Vec<String> {
        match self {
            Self::Items(items) => items,
            Self::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(str::to_owned).collect()
            }
        }
    }
}

impl Mistake {
    /// The error, now that its place is known.
    pub(super) fn at(self, origin: Origin) -> ConfigError {
        match self {
            Self::Unknown { name } => {
                let nearest = keys::nearest(&name);
                ConfigError::UnknownKey { origin, key: name, nearest }
            }
            Self::Twice { key } => ConfigError::Twice { origin, key },
            Self::Value { key, found, expected } => {
                ConfigError::Value { origin, key, found, expected }
            }
        }
    }
}
