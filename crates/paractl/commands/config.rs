//! `config`: looks at `paraconf.yaml` and chooses its current context.
//!
//! **Never:** loses a comment, the order of keys, or the old file before the new one is whole.

use std::fs::{self, File as Handle};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Value as Json, json};
use yaml_edit::YamlFile;

use crate::args::{ConfigCommand, Global};
use crate::context::File;
use crate::error::Error;
use crate::output::Output;
use crate::paraconf::Paraconf;

pub(super) fn run(command: &ConfigCommand, global: &Global, output: &Output) -> Result<(), Error> {
    let file = File::load(global)?;
    match command {
        ConfigCommand::CurrentContext => output.print(&json!(file.choose(global)?.0)),
        ConfigCommand::GetContexts => output.print(&contexts(&file)),
        ConfigCommand::UseContext { name } => {
            let chosen = Global { context: Some(name.clone()), ..Global::default() };
            file.choose(&chosen)?;
            let uneditable = || Error::Uneditable { path: file.path.clone() };
            let text = with_current(&file.text, name).ok_or_else(uneditable)?;
            replace(&file.path, &text)
                .map_err(|source| Error::Unwritable { path: file.path.clone(), source })?;
            output.print(&json!({ "current-context": name }))
        }
    }
}

fn contexts(file: &File) -> Json {
    let row = |(name, section): (&String, &crate::paraconf::Section)| {
        json!({
            "current": file.paraconf.current_context.as_ref() == Some(name),
            "name": name,
            "server": section.servers.join(","),
            "admin": section.admin.join(","),
        })
    };
    file.paraconf.contexts.iter().map(row).collect()
}

/// The file's text with another current context and all else as it was; `None` where the editor made
/// anything else of it.
fn with_current(text: &str, name: &str) -> Option<String> {
    let file = YamlFile::from_str(text).ok()?;
    file.document()?.as_mapping()?.set("current-context", name);
    let edited = file.to_string();
    let expected =
        Paraconf { current_context: Some(name.to_owned()), ..Paraconf::parse(text).ok()? };
    (Paraconf::parse(&edited).ok()? == expected).then_some(edited)
}

/// Puts `text` in the place of the file: whole or not at all. A link is followed, and the permissions
/// stay.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = path.canonicalize()?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let aside: PathBuf = target.with_file_name(name);
    let written = write(&aside, &target, text);
    if written.is_err() {
        // What is left of it helps nobody; the error that counts is the first.
        let _left = fs::remove_file(&aside);
    }
    written
}

fn write(aside: &Path, target: &Path, text: &str) -> io::Result<()> {
    let mut file = Handle::create_new(aside)?;
    file.set_permissions(fs::metadata(target)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(aside, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_keeps_comments_order_and_line_ends() {
        let text = "# mine\ncontexts:\n  b: {server: 'x:1'} # one\n  a:\n    server: y:1\n\n\
                    current-context: a   # chosen\n# end\n";
        let edited = with_current(text, "b").unwrap();
        let current = edited.lines().find(|line| line.starts_with("current-context")).unwrap();
        assert!(current.contains('b') && current.ends_with("  # chosen"), "{current}");
        let rest = |text: &str| -> Vec<String> {
            let other = |line: &&str| !line.starts_with("current-context");
            text.lines().filter(other).map(str::to_owned).collect()
        };
        assert_eq!(rest(&edited), rest(text));
        let dos = "current-context: a\r\ncontexts:\r\n  b:\r\n    server: x:1\r\n";
        assert_eq!(with_current(dos, "b").unwrap().matches("\r\n").count(), 4);
    }

    #[test]
    fn a_file_without_a_current_context_gets_one() {
        let edited = with_current("contexts:\n  1.0:\n    server: x:1\n", "1.0").unwrap();
        assert_eq!(Paraconf::parse(&edited).unwrap().current_context.as_deref(), Some("1.0"));
    }

    #[test]
    fn the_new_file_takes_the_place_of_the_old_one_and_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paraconf.yaml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let link = folder.path().join("link.yaml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
