//! Reads `paraconf.yaml`: which clusters there are, and how each is reached.
//!
//! The file is walked by hand, because only inside the walk the parser knows the line of what is wrong.
//!
//! **Never:** accepts a key that it does not know, or resolves a path: that needs the caller's places.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::args::time;

/// The file, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paraconf {
    /// The context that is used when none is named.
    pub(crate) current_context: Option<String>,
    /// By name.
    pub(crate) contexts: BTreeMap<String, Section>,
}

/// One context, as it is written: by key, such as `tls.ca`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// `server`.
    pub(crate) servers: Vec<String>,
    /// `admin`.
    pub(crate) admin: Vec<String>,
    /// `tls.ca`.
    pub(crate) ca: Option<String>,
    /// `tls.cert`.
    pub(crate) cert: Option<String>,
    /// `tls.key`.
    pub(crate) key: Option<String>,
    /// `client.client_id`.
    pub(crate) client_id: Option<String>,
    /// `client.timeout`.
    pub(crate) timeout: Option<Duration>,
    /// `key_encoding`.
    pub(crate) key_encoding: KeyEncoding,
}

/// How keys travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyEncoding {
    /// The UTF-8 bytes of what was typed.
    #[default]
    Raw,
    /// A MessagePack string, as the Python client writes them; values likewise.
    Msgpack,
}

/// The keys of the file; `*` is a context's name.
const KEYS: [&str; 13] = [
    "current-context",
    "contexts",
    "contexts.*",
    "contexts.*.server",
    "contexts.*.admin",
    "contexts.*.tls",
    "contexts.*.tls.ca",
    "contexts.*.tls.cert",
    "contexts.*.tls.key",
    "contexts.*.client",
    "contexts.*.client.client_id",
    "contexts.*.client.timeout",
    "contexts.*.key_encoding",
];

impl Paraconf {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong first, with key, line and column.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_yaml::Error> {
        let mut paraconf = Self::default();
        let walk = Walk { paraconf: &mut paraconf, path: Vec::new() };
        walk.deserialize(serde_yaml::Deserializer::from_str(text))?;
        Ok(paraconf)
    }
}

/// What lies at `path`: a section, or a value.
struct Walk<'p> {
    paraconf: &'p mut Paraconf,
    path: Vec<String>,
}

impl Walk<'_> {
    /// The path with `*` for a context's name.
    fn pattern(&self) -> String {
        let name = |(depth, part)| if depth == 1 { "*" } else { part };
        let parts: Vec<&str> = self.path.iter().map(String::as_str).enumerate().map(name).collect();
        parts.join(".")
    }

    fn is_section(&self) -> bool {
        let pattern = self.pattern();
        pattern.is_empty() || KEYS.iter().any(|key| inside(key, &pattern).is_some())
    }

    fn section(&mut self) -> &mut Section {
        let name = self.path.get(1).cloned().unwrap_or_default();
        self.paraconf.contexts.entry(name).or_default()
    }

    /// Takes one value, or one of a list.
    fn take<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        let pattern = self.pattern();
        let text = text.to_owned();
        if text.is_empty() {
            return Err(E::custom("is empty; give it a value, or remove it"));
        }
        match pattern.as_str() {
            "current-context" => self.paraconf.current_context = Some(text),
            "contexts.*.server" => self.section().servers.push(text),
            "contexts.*.admin" => self.section().admin.push(text),
            "contexts.*.tls.ca" => self.section().ca = Some(text),
            "contexts.*.tls.cert" => self.section().cert = Some(text),
            "contexts.*.tls.key" => self.section().key = Some(text),
            "contexts.*.client.client_id" => self.section().client_id = Some(text),
            "contexts.*.client.timeout" => {
                self.section().timeout = Some(time(&text).map_err(E::custom)?);
            }
            "contexts.*.key_encoding" => {
                self.section().key_encoding = match text.as_str() {
                    "raw" => KeyEncoding::Raw,
                    "msgpack" => KeyEncoding::Msgpack,
                    _ => return Err(E::custom("it must be raw or msgpack")),
                }
            }
            _ => return Err(E::custom(format_args!("this must be {}", Expecting(self)))),
        }
        Ok(())
    }

    fn takes_a_list(&self) -> bool {
        matches!(self.pattern().as_str(), "contexts.*.server" | "contexts.*.admin")
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // A value is taken as it is written, so that a context called 1.0 keeps its name.
        if self.is_section() || self.takes_a_list() {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_str(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_section(), self.takes_a_list()) {
            (true, _) => "a section: keys with values, indented below its name",
            (false, true) => "HOST:PORT, or a list of them",
            (false, false) => "one value, not a list or a section",
        })
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        match self.path.len() {
            // A context all of whose keys are commented out is one all the same.
            2 => {
                self.section();
                Ok(())
            }
            _ if self.is_section() => Ok(()),
            _ => self.take(""),
        }
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.take(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if !self.takes_a_list() {
            return Err(A::Error::custom(format_args!("this must be {}", Expecting(&self))));
        }
        while let Some(text) = seq.next_element::<String>()? {
            self.take(&text)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if !self.is_section() {
            return Err(A::Error::custom(format_args!("this must be {}", Expecting(&self))));
        }
        if self.path.len() == 2 {
            self.section();
        }
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = map.next_key_seed(Name { walk: &self, seen: &seen })? {
            let mut path = self.path.clone();
            path.push(name.clone());
            seen.push(name);
            map.next_value_seed(Walk { paraconf: &mut *self.paraconf, path })?;
        }
        Ok(())
    }
}

/// What belongs where the walk is, for messages.
struct Expecting<'w, 'p>(&'w Walk<'p>);

impl fmt::Display for Expecting<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// The name of a key below a section: known, and there for the first time.
struct Name<'w, 'p> {
    walk: &'w Walk<'p>,
    seen: &'w [String],
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        if self.seen.iter().any(|seen| seen == name) {
            return Err(E::custom(format_args!("{name} is given twice; keep one of them")));
        }
        let section = self.walk.pattern();
        let is_context = section == "contexts";
        let known: Vec<&str> = KEYS.iter().filter_map(|key| inside(key, &section)).collect();
        if is_context || known.contains(&name) {
            return Ok(name.to_owned());
        }
        let advice = match nearest(name, &known) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("there are {}", known.join(", ")),
        };
        Err(E::custom(format_args!("unknown key {name}; {advice}")))
    }
}

/// The name of `key` where it lies directly inside `section`.
fn inside(key: &'static str, section: &str) -> Option<&'static str> {
    let rest = match section {
        "" => key,
        section => key.strip_prefix(section)?.strip_prefix('.')?,
    };
    (!rest.contains('.')).then_some(rest)
}

/// The known name that the author of an unknown one probably meant.
fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |&name: &&'k str| (strsim::osa_distance(name, unknown), name);
    let close = known.iter().map(distance).min();
    close.filter(|&(distance, name)| distance <= name.len() / 2).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "\
current-context: local # chosen
contexts:
  local:
    server: [127.0.0.1:2000, '[::1]:2000']
    admin: 127.0.0.1:6000
    tls: {ca: ca.crt, cert: c.crt, key: c.key}
    client:
      client_id: ada
      timeout: 2
    key_encoding: msgpack
  1.0:
    server: db:2000
";

    #[test]
    fn every_key_is_read_and_names_stay_as_written() {
        let paraconf = Paraconf::parse(FULL).unwrap();
        assert_eq!(paraconf.current_context.as_deref(), Some("local"));
        let local = &paraconf.contexts["local"];
        assert_eq!(local.servers, ["127.0.0.1:2000", "[::1]:2000"]);
        assert_eq!(local.admin, ["127.0.0.1:6000"]);
        assert_eq!(local.key.as_deref(), Some("c.key"));
        assert_eq!(local.client_id.as_deref(), Some("ada"));
        assert_eq!(local.timeout, Some(Duration::from_secs(2)));
        assert_eq!(local.key_encoding, KeyEncoding::Msgpack);
        assert_eq!(paraconf.contexts["1.0"].servers, ["db:2000"]);
    }

    #[test]
    fn what_is_wrong_names_its_line_and_what_would_be_right() {
        for (text, line, expected) in [
            ("contexts:\n  a:\n    sever: x:1\n", 3, "unknown key sever; did you mean server?"),
            ("contexts:\n  a:\n    tls:\n      crt: x\n", 4, "did you mean cert?"),
            ("curent-context: a\n", 1, "did you mean current-context?"),
            ("contexts:\n  a:\n    colour: x\n", 3, "there are server, admin, tls"),
            ("contexts:\n  a:\n    client: {timeout: soon}\n", 3, "it must be a time"),
            ("contexts:\n  a:\n    key_encoding: json\n", 3, "raw or msgpack"),
            ("contexts:\n  a:\n    tls: x\n", 3, "a section"),
            ("contexts:\n  a:\n    server: {b: c}\n", 3, "HOST:PORT"),
            ("current-context: a\ncurrent-context: b\n", 2, "given twice"),
            ("- a\n", 1, "this must be a section"),
        ] {
            let error = Paraconf::parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text:?}: {error}");
            assert_eq!(error.location().map(|place| place.line()), Some(line), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_empty_file_is_no_error_here() {
        assert_eq!(Paraconf::parse("").unwrap(), Paraconf::default());
        assert!(Paraconf::parse("contexts:\n  a:\n").unwrap().contexts.contains_key("a"));
    }
}
