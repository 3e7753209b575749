//! What a path in the configuration means: `~`, the working directory, the file's own folder.
//!
//! **Never:** creates anything or reads what lies there; it only looks whether something does.

use std::path::{Path, PathBuf};

use super::error::Expected;

/// The three places from which a path can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// What `~` means, where it is known.
    pub(super) home: Option<PathBuf>,
    /// Where relative paths are looked for first, as in the Python program.
    pub(super) working: PathBuf,
    /// The configuration file's folder, where they are looked for next.
    pub(super) folder: PathBuf,
}

impl Places {
    /// What `text` means. A relative path that exists nowhere yet lies in the file's own folder.
    pub(super) fn resolve(&self, text: &str) -> Result<PathBuf, Expected> {
        if let Some(rest) = text.strip_prefix('~') {
            let inside = match rest.strip_prefix('/') {
                Some(inside) => inside,
                None if rest.is_empty() => "",
                None => return Err(Expected::Path),
            };
            return Ok(self.home.as_ref().ok_or(Expected::Path)?.join(inside));
        }
        let path = Path::new(text);
        let working = self.working.join(path);
        let found = path.is_absolute() || working.exists();
        Ok(if found { working } else { self.folder.join(path) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_directory_comes_before_the_files_folder() {
        let root = tempfile::tempdir().unwrap();
        let [working, folder] = ["working", "folder"].map(|name| root.path().join(name));
        std::fs::create_dir_all(working.join("both")).unwrap();
        std::fs::create_dir_all(folder.join("both")).unwrap();
        std::fs::create_dir_all(folder.join("beside")).unwrap();
        let home = Some(PathBuf::from("/home/ada"));
        let places = Places { home, working: working.clone(), folder: folder.clone() };
        let resolve = |text| places.resolve(text).unwrap();

        assert_eq!(resolve("both"), working.join("both"));
        assert_eq!(resolve("beside"), folder.join("beside"));
        assert_eq!(resolve("nowhere"), folder.join("nowhere"));
        assert_eq!(resolve("/absent"), PathBuf::from("/absent"));
        assert_eq!(resolve("~"), PathBuf::from("/home/ada/"));
        assert_eq!(resolve("~/data"), PathBuf::from("/home/ada/data"));
        assert_eq!(places.resolve("~bob/data"), Err(Expected::Path));
    }

    #[test]
    fn a_tilde_needs_a_home() {
        let here = PathBuf::from("/");
        let places = Places { home: None, working: here.clone(), folder: here };
        assert_eq!(places.resolve("~/data"), Err(Expected::Path));
    }
}
