//! Walks the YAML of a configuration file and hands each value, as it was written, to its key.
//!
//! **Never:** interprets a value: a plain scalar is taken as its text, so that `node.id: 0123`
//! keeps its zero. What is wrong is reported from inside the walk, because only there the parser
//! knows the line.

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::draft::{Draft, Given, Mistake};
use super::error::{ConfigError, Origin};
use super::keys::{self, Key, Kind};

/// Puts every value of the YAML `text` into `draft`; `path` is named in errors.
pub(super) fn read(text: &str, path: &Path, draft: &mut Draft) -> Result<(), ConfigError> {
    let mut walk = Walk { draft, mistake: None };
    let section = Section { walk: &mut walk, name: String::new() };
    let Err(source) = section.deserialize(serde_yaml::Deserializer::from_str(text)) else {
        return Ok(());
    };
    let place = source.location();
    match (walk.mistake, place) {
        (Some(mistake), Some(place)) => {
            let (line, column) = (place.line(), place.column());
            Err(mistake.at(Origin::File { path: path.to_owned(), line, column }))
        }
        _ => Err(ConfigError::Yaml { path: path.to_owned(), source }),
    }
}

/// What is common to the whole walk. A mistake is kept here, because the parser carries only its
/// text.
struct Walk<'w, 'd> {
    draft: &'w mut Draft<'d>,
    mistake: Option<Mistake>,
}

impl Walk<'_, '_> {
    /// The parser's error for `mistake`: it adds the place, [`read`] the rest.
    fn stop<E: serde::de::Error>(&mut self, mistake: Mistake) -> E {
        self.mistake = Some(mistake);
        E::custom("see the mistake that was kept")
    }
}

/// A mapping whose keys are sections or keys; the outermost has the empty name.
struct Section<'s, 'w, 'd> {
    walk: &'s mut Walk<'w, 'd>,
    name: String,
}

impl<'de> DeserializeSeed<'de> for Section<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Section<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section: keys with values, indented below its name")
    }

    /// An empty file.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    /// A section all of whose keys are commented out.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, name: section } = self;
        while let Some(name) = map.next_key_seed(Name { walk, section: &section })? {
            match keys::find(&name) {
                Some(key) => map.next_value_seed(Leaf { walk, key })?,
                None => map.next_value_seed(Section { walk, name })?,
            }
        }
        Ok(())
    }
}

/// The name of a key or section, known or refused.
struct Name<'s, 'w, 'd> {
    walk: &'s mut Walk<'w, 'd>,
    section: &'s str,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a key")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        let dot = if self.section.is_empty() { "" } else { "." };
        let name = format!("{}{dot}{text}", self.section);
        if keys::find(&name).is_none() && !keys::is_section(&name) {
            return Err(self.walk.stop(Mistake::Unknown { name }));
        }
        Ok(name)
    }
}

/// The value of a key.
struct Leaf<'s, 'w, 'd> {
    walk: &'s mut Walk<'w, 'd>,
    key: &'static Key,
}

impl Leaf<'_, '_, '_> {
    fn give<E: serde::de::Error>(self, given: Given) -> Result<(), E> {
        let given = self.walk.draft.give(self.key, given);
        given.map_err(|mistake| self.walk.stop(mistake))
    }
}

impl<'de> DeserializeSeed<'de> for Leaf<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.key.kind {
            Kind::List(_) => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_str(self),
        }
    }
}

impl<'de> Visitor<'de> for Leaf<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.key.kind {
            Kind::List(_) => "a list: [a, b], or one line `- a` for each",
            _ => "one value, not a list or a section",
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.give(Given::Text(text.to_owned()))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.give(Given::Items(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<String>()? {
            items.push(item);
        }
        self.give(Given::Items(items))
    }
}
