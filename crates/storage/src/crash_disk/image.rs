//! What a disk holds: names and contents, cheap to copy.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Operation;

const PAGE_BYTES: usize = 4096;
const PAGE: u64 = PAGE_BYTES as u64;
type Page = [u8; PAGE_BYTES];

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(FileId),
}

/// Names and contents of a whole disk. Copies share the pages that they do not change.
#[derive(Clone, Debug, Default)]
pub struct Image {
    names: BTreeMap<String, Node>,
    contents: BTreeMap<FileId, Content>,
}

/// The bytes of a file; pages that were never written are zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: BTreeMap<u64, Arc<Page>>,
    /// Bytes below this have their space, written or not.
    allocated: u64,
}

impl Image {
    /// The contents of the file of this name, for a test to look into.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let Some(Node::File(file)) = self.get(name) else { return None };
        let content = self.content(file);
        let mut bytes = vec![0; usize::try_from(content.len).ok()?];
        content.read_at(&mut bytes, 0).ok()?;
        Some(bytes)
    }

    /// Changes the byte at `offset` of a file: bit rot.
    ///
    /// # Panics
    /// There is no such byte.
    pub fn corrupt(&mut self, name: &str, offset: u64, mask: u8) {
        let Some(Node::File(file)) = self.get(name) else { panic!("no file {name}") };
        assert!(offset < self.content(file).len, "no byte {offset} in {name}");
        self.apply(&Operation::Corrupt { file, offset, mask });
    }

    /// Cuts a file short: a truncated copy.
    ///
    /// # Panics
    /// There is no such file.
    pub fn truncate(&mut self, name: &str, len: u64) {
        let Some(Node::File(file)) = self.get(name) else { panic!("no file {name}") };
        self.contents.entry(file).or_default().set_len(len);
    }

    /// Puts a file there as it was on another disk: one file restored from an older copy.
    ///
    /// # Panics
    /// One of the disks has no such file.
    pub fn restore(&mut self, name: &str, from: &Self) {
        let (Some(Node::File(file)), Some(Node::File(older))) = (self.get(name), from.get(name))
        else {
            panic!("no file {name}")
        };
        self.contents.insert(file, from.content(older).clone());
    }

    /// Removes a file: a mistaken operator.
    pub fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// The names of all files, with their directories.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let files = self.names.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<Node> {
        if name.is_empty() { Some(Node::Dir) } else { self.names.get(name).copied() }
    }

    pub(super) fn content(&self, file: FileId) -> &Content {
        static EMPTY: Content = Content { len: 0, pages: BTreeMap::new(), allocated: 0 };
        self.contents.get(&file).unwrap_or(&EMPTY)
    }

    pub(super) fn note_allocated(&mut self, file: FileId, len: u64) {
        let content = self.contents.entry(file).or_default();
        content.allocated = content.allocated.max(len);
    }

    pub(super) fn check_parent(&self, name: &str) -> io::Result<()> {
        match self.get(parent(name)) {
            Some(Node::Dir) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        if self.get(dir) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let within = self.names.keys().filter(|name| parent(name) == dir);
        Ok(within.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    pub(super) fn next_file(&self) -> u64 {
        self.contents.keys().next_back().map_or(0, |file| file.0 + 1)
    }

    /// Space taken by all files that have a name.
    pub(super) fn allocated(&self) -> u64 {
        let named = self.names.values().filter_map(|node| match node {
            Node::File(file) => Some(self.content(*file)),
            Node::Dir => None,
        });
        named.map(Content::space).sum()
    }

    /// Does what `operation` does; syncs change nothing.
    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, file } => {
                self.names.insert(name.clone(), Node::File(*file));
                self.contents.entry(*file).or_default();
            }
            Operation::CreateDir { name } => {
                self.names.insert(name.clone(), Node::Dir);
            }
            Operation::Rename { from, to } => self.rename(from, to),
            Operation::Remove { name } => {
                self.names.retain(|other, _| !is_within(other, name));
            }
            Operation::Write { file, offset, data } => {
                self.contents.entry(*file).or_default().write_at(data, *offset);
            }
            Operation::SetLen { file, len } => {
                self.contents.entry(*file).or_default().set_len(*len);
            }
            Operation::Corrupt { file, offset, mask } => {
                let (content, mut byte) = (self.contents.entry(*file).or_default(), [0]);
                // Past the end there is nothing to rot yet.
                if content.read_at(&mut byte, *offset).is_ok() {
                    content.write_at(&[byte[0] ^ mask], *offset);
                }
            }
            Operation::SyncDir { .. } | Operation::Sync { .. } | Operation::FailedSync { .. } => {}
        }
    }

    /// Forgets every name whose directory has none. Parents sort before their children.
    pub(super) fn drop_orphans(&mut self) {
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            if self.get(parent(&name)) != Some(Node::Dir) {
                self.names.remove(&name);
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let moved: Vec<(String, Node)> = self
            .names
            .iter()
            .filter(|(name, _)| is_within(name, from))
            .map(|(name, node)| (name.clone(), *node))
            .collect();
        for (name, node) in moved {
            self.names.remove(&name);
            self.names.insert(format!("{to}{}", &name[from.len()..]), node);
        }
    }
}

pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_within(name: &str, dir: &str) -> bool {
    name.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn space(&self) -> u64 {
        let beyond = self.pages.range(self.allocated.div_ceil(PAGE)..).count() as u64;
        self.allocated + beyond * PAGE
    }

    /// How much space a write or an allocation there would take.
    pub(super) fn lacks(&self, offset: u64, len: u64) -> u64 {
        let first = (offset / PAGE).max(self.allocated.div_ceil(PAGE));
        let end = (offset + len).div_ceil(PAGE);
        if first >= end {
            return 0;
        }
        (end - first - self.pages.range(first..end).count() as u64) * PAGE
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for_pages(offset, buffer.len(), |page, within, range| match self.pages.get(&page) {
            Some(bytes) => buffer[range.clone()].copy_from_slice(&bytes[within..][..range.len()]),
            None => buffer[range].fill(0),
        });
        Ok(())
    }

    pub(super) fn write_at(&mut self, data: &[u8], offset: u64) {
        for_pages(offset, data.len(), |page, within, range| {
            let bytes = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(bytes)[within..][..range.len()].copy_from_slice(&data[range]);
        });
        self.len = self.len.max(offset + data.len() as u64);
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.retain(|&page, _| page * PAGE < len);
            if let Some(last) = self.pages.get_mut(&(len / PAGE)) {
                Arc::make_mut(last)[within_page(len)..].fill(0);
            }
            self.allocated = self.allocated.min(len);
        }
        self.len = len;
    }
}

/// Calls `visit(page, offset within the page, range of the buffer)` for every page touched.
fn for_pages(offset: u64, len: usize, mut visit: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let within = within_page(at);
        let step = (PAGE_BYTES - within).min(len - done);
        visit(at / PAGE, within, done..done + step);
        done += step;
    }
}

fn within_page(offset: u64) -> usize {
    usize::try_from(offset % PAGE).expect("less than a page")
}
