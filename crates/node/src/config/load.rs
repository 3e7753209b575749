//! From a file and the environment to a [`Config`]: first the file alone, then what overlays it.
//!
//! **Never:** starts from a file that is wrong because a variable would mend it, or ignores a
//! variable that begins with `PARAVON__`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::draft::{Draft, Given, Mistake};
use super::error::{ConfigError, Expected, Origin, Warning};
use super::file;
use super::keys::KEYS;
use super::paths::Places;
use super::settings::Config;

/// What the variables that overlay the file begin with.
const PREFIX: &str = "PARAVON__";

/// A configuration, and what its author should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What has no effect.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads the file at `path` and overlays `environment`, normally [`env::vars_os`], which also
    /// says where `~` is.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what would be right.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let unreadable = |source: io::Error| ConfigError::Unreadable { path: path.into(), source };
        let environment: Vec<_> = environment.into_iter().collect();
        let home = environment.iter().find(|(name, value)| name == "HOME" && !value.is_empty());
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let full_path = std::path::absolute(path).map_err(unreadable)?;
        let places = Places {
            home: home.map(|(_, value)| PathBuf::from(value)),
            working: env::current_dir().map_err(unreadable)?,
            folder: full_path.parent().unwrap_or(&full_path).to_owned(),
        };
        parse(&text, path, &places, environment)
    }
}

/// The configuration that `text`, read from `path`, and `environment` give.
pub(super) fn parse(
    text: &str,
    path: &Path,
    places: &Places,
    environment: Vec<(OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let mut draft = Draft::new(places);
    file::read(text, path, &mut draft)?;
    for (name, value) in environment {
        overlay(&mut draft, &name, value)?;
    }
    draft.finish(path)
}

/// The variable that sets the key `name`.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase().replace('.', "__"))
}

/// Gives `draft` the value of a variable, where its name begins with [`PREFIX`].
fn overlay(draft: &mut Draft<'_>, name: &OsStr, value: OsString) -> Result<(), ConfigError> {
    let name = name.to_string_lossy();
    let Some(rest) = name.strip_prefix(PREFIX) else { return Ok(()) };
    let origin = Origin::Environment { variable: name.clone().into_owned() };
    let Some(key) = KEYS.iter().find(|key| variable(key.name) == name) else {
        let name = rest.to_ascii_lowercase().replace("__", ".");
        return Err(Mistake::Unknown { name }.at(origin));
    };
    let text = value.into_string().map_err(|value| {
        let found = value.to_string_lossy().into_owned();
        Mistake::Value { key: key.name, found, expected: Expected::Unicode }.at(origin.clone())
    })?;
    draft.put(key, Given::Text(text)).map_err(|mistake| mistake.at(origin))
}
