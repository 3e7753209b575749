//! A copy of a data directory in memory, put back as often as a test wants to damage it.
//!
//! Most of a log is zeros that wait to be used, so only blocks with content are kept and written.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that are kept or left out together.
const BLOCK: usize = 512;

/// The files of a directory and below, by name.
pub(crate) struct Image {
    files: Vec<ImageFile>,
}

/// One file.
pub(crate) struct ImageFile {
    /// Its path within the directory.
    pub(crate) name: String,
    pub(crate) length: u64,
    /// Blocks that are not all zeros, by offset.
    blocks: Vec<(u64, Vec<u8>)>,
}

impl Image {
    /// What `directory` holds, but for its lock.
    pub(crate) fn of(directory: &Path) -> Self {
        let mut files = Vec::new();
        let mut to_visit = vec![PathBuf::new()];
        while let Some(below) = to_visit.pop() {
            for entry in fs::read_dir(directory.join(&below)).expect("a directory") {
                let entry = entry.expect("an entry");
                let name = below.join(entry.file_name());
                match entry.file_type().expect("a type").is_dir() {
                    true => to_visit.push(name),
                    false if entry.file_name() == "LOCK" => {}
                    false => files.push(ImageFile::of(directory, &name)),
                }
            }
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Self { files }
    }

    pub(crate) fn files(&self) -> &[ImageFile] {
        &self.files
    }

    /// Makes `directory` hold exactly this.
    pub(crate) fn restore(&self, directory: &Path) {
        fs::remove_dir_all(directory).expect("removed");
        for file in &self.files {
            let path = directory.join(&file.name);
            fs::create_dir_all(path.parent().expect("below the directory")).expect("made");
            let restored = File::create(path).expect("made");
            restored.set_len(file.length).expect("grown");
            for (offset, block) in &file.blocks {
                restored.write_all_at(block, *offset).expect("written");
            }
        }
    }
}

impl ImageFile {
    fn of(directory: &Path, name: &Path) -> Self {
        let bytes = fs::read(directory.join(name)).expect("a file");
        let blocks = bytes.chunks(BLOCK).zip((0..).step_by(BLOCK));
        let used = blocks.filter(|(block, _)| block.iter().any(|&byte| byte != 0));
        Self {
            name: name.to_str().expect("text").to_owned(),
            length: bytes.len() as u64,
            blocks: used.map(|(block, offset)| (offset, block.to_vec())).collect(),
        }
    }

    /// The name without its folders.
    pub(crate) fn base_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Where the last block with content ends.
    pub(crate) fn used(&self) -> u64 {
        self.blocks.last().map_or(self.length, |(offset, block)| offset + block.len() as u64)
    }

    /// About `count` offsets, spread evenly over the blocks with content and the bytes in them; anywhere
    /// where there are none.
    pub(crate) fn spread(&self, count: usize) -> Vec<u64> {
        let pick = |index: usize| {
            let Some((offset, block)) = self.blocks.get(index * self.blocks.len() / count) else {
                return self.length / count as u64 * index as u64;
            };
            offset + (index * block.len() / count) as u64
        };
        (0..count).map(pick).collect()
    }
}
