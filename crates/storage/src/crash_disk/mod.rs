//! A disk in memory that crashes: it records every operation, so that a test can cut the list
//! anywhere and start from what a real disk might hold then.
//!
//! It must never be kinder than a real one: contents survive only by `sync_data`, names only by
//! `sync_dir`, and of what was not synced any part may survive in any order.

mod image;
mod replay;
mod rot;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::disk::{Disk, DiskFile};

pub use image::Image;
use image::{FileId, Node};
pub use replay::{Replay, Survival};
pub use rot::rot_record;

/// One operation that reached the disk.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A name for a new, empty file.
    Create {
        /// Its name.
        name: String,
        /// The file.
        file: FileId,
    },
    /// A new directory.
    CreateDir {
        /// Its name.
        name: String,
    },
    /// Another name for a file or directory.
    Rename {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
    },
    /// A name gone, with all below it.
    Remove {
        /// The name.
        name: String,
    },
    /// The names in a directory made durable.
    SyncDir {
        /// The directory.
        dir: String,
    },
    /// Bytes written.
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// A file cut or grown.
    SetLen {
        /// The file.
        file: FileId,
        /// Its new length.
        len: u64,
    },
    /// A file's contents made durable.
    Sync {
        /// The file.
        file: FileId,
    },
    /// A byte that rots, durable or not.
    Corrupt {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// Which bits flip.
        mask: u8,
    },
    /// A sync that failed: what was not durable is lost, as Linux does it.
    FailedSync {
        /// The file.
        file: FileId,
    },
}

/// What is to go wrong. Counters count down per operation; none is armed at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The sync of a file that fails: 0 the next one.
    pub fail_sync: Option<u64>,
    /// The write that fails: 0 the next one.
    pub fail_write: Option<u64>,
    /// The read that fails, as the disk's own error: 0 the next one.
    pub fail_read: Option<u64>,
    /// The most bytes that all files together may have; growing beyond is `StorageFull`.
    pub capacity: Option<u64>,
    /// Every sync says yes and does nothing: no test may pass on such a disk.
    pub lying_sync: bool,
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct CrashDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    image: Image,
    trace: Vec<Operation>,
    faults: Faults,
    next_file: u64,
}

impl CrashDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::from_image(Image::default())
    }

    /// A disk that holds what survived.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        let next_file = image.next_file();
        let state = State { image, trace: Vec::new(), faults: Faults::default(), next_file };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What a reader sees now, synced or not.
    #[must_use]
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Changes a byte of a file under the running storage. See [`Image::corrupt`].
    ///
    /// # Panics
    /// There is no such file.
    pub fn corrupt(&self, name: &str, offset: u64, mask: u8) {
        let mut state = self.state();
        let Some(Node::File(file)) = state.image.get(name) else { panic!("no file {name}") };
        state.run(Operation::Corrupt { file, offset, mask });
    }

    /// How many operations reached the disk so far.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().trace.len()
    }

    /// Space taken by all files.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.state().image.allocated()
    }

    /// Every operation so far.
    #[must_use]
    pub fn trace(&self) -> Vec<Operation> {
        self.state().trace.clone()
    }

    /// Arms faults, in place of those armed before.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// What is still armed.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().faults
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CrashDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn run(&mut self, operation: Operation) {
        self.image.apply(&operation);
        self.trace.push(operation);
    }

    fn check_capacity(&self, more: u64) -> io::Result<()> {
        match self.faults.capacity {
            Some(capacity) if more > 0 && self.image.allocated() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

/// Counts down; true at the operation that is to fail.
fn strikes(counter: &mut Option<u64>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl Disk for CrashDisk {
    fn path(&self, name: &str) -> PathBuf {
        Path::new("/crash-disk").join(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.image.check_parent(name)?;
        if state.image.get(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = FileId(state.next_file);
        state.next_file += 1;
        state.run(Operation::Create { name: name.into(), file });
        Ok(Arc::new(CrashFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.state().image.get(name) {
            Some(Node::File(file)) => Ok(Arc::new(CrashFile { disk: self.clone(), file })),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.image.check_parent(name)?;
        if state.image.get(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.run(Operation::CreateDir { name: name.into() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.image.get(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.image.check_parent(to)?;
        state.run(Operation::Rename { from: from.into(), to: to.into() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.image.get(name).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.run(Operation::Remove { name: name.into() });
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.state().image.list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.faults.lying_sync {
            state.run(Operation::SyncDir { dir: dir.into() });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct CrashFile {
    disk: CrashDisk,
    file: FileId,
}

impl DiskFile for CrashFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().image.content(self.file).len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if strikes(&mut state.faults.fail_read) {
            return Err(Errno::IO.into());
        }
        state.image.content(self.file).read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if strikes(&mut state.faults.fail_write) {
            return Err(io::ErrorKind::Other.into());
        }
        let grows = state.image.content(self.file).lacks(offset, data.len() as u64);
        state.check_capacity(grows)?;
        state.run(Operation::Write { file: self.file, offset, data: data.into() });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.state().run(Operation::SetLen { file: self.file, len });
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let content = state.image.content(self.file);
        let (size, lacks) = (content.len(), content.lacks(0, len));
        state.check_capacity(lacks)?;
        if size < len {
            state.run(Operation::SetLen { file: self.file, len });
        }
        state.image.note_allocated(self.file, len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.faults.lying_sync {
            return Ok(());
        }
        if strikes(&mut state.faults.fail_sync) {
            state.run(Operation::FailedSync { file: self.file });
            return Err(io::ErrorKind::Other.into());
        }
        state.run(Operation::Sync { file: self.file });
        Ok(())
    }
}
