//! The file that marks a folder as made by `paravon dev`, and what it remembers of the cluster there.
//!
//! **Never:** is missing in a folder that `--clean` removes.

use std::fs;
use std::io;
use std::path::Path;

/// Its name within the folder.
pub(super) const NAME: &str = ".paravon-dev";

/// The cluster of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Nodes that belong to the cluster.
    pub(super) nodes: u16,
    /// The client port of the first node when the cluster was made. Its nodes know each other by it.
    pub(super) base_port: Option<u16>,
}

impl Mark {
    /// What the folder remembers; none where it was not made by `paravon dev`.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(dir.join(NAME)) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A mark without numbers is that of a single node of an earlier version.
    fn parse(text: &str) -> Self {
        let number = |name| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        Self { nodes: number("nodes: ").unwrap_or(1), base_port: number("base_port: ") }
    }

    pub(super) fn write(self, dir: &Path) -> io::Result<()> {
        let mut text =
            "# Made by `paravon dev`; `paravon dev --clean` removes this folder.\n".to_owned();
        text += &format!("nodes: {}\n", self.nodes);
        if let Some(port) = self.base_port {
            text += &format!("base_port: {port}\n");
        }
        fs::write(dir.join(NAME), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_and_an_old_one_is_that_of_one_node() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Mark::read(dir.path()).expect("read"), None);
        for mark in [Mark { nodes: 3, base_port: Some(2000) }, Mark { nodes: 1, base_port: None }] {
            mark.write(dir.path()).expect("written");
            assert_eq!(Mark::read(dir.path()).expect("read"), Some(mark));
        }
        let old = "Made by `paravon dev`; `paravon dev --clean` removes this folder.\n";
        assert_eq!(Mark::parse(old), Mark { nodes: 1, base_port: None });
    }
}
