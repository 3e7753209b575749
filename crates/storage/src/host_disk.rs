//! The [`Disk`] of the operating system: a directory that this process holds the lock of.
//!
//! Never gives two processes the same directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};

use crate::disk::{Disk, DiskFile};
use crate::error::Error;

/// Held locked as long as the directory is open; holds the process id as text.
const LOCK: &str = "LOCK";

/// A directory of the host, locked. Dropping it frees the lock.
#[derive(Debug)]
pub struct HostDisk {
    root: PathBuf,
    _lock: File,
}

impl HostDisk {
    /// Locks the directory at `root`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NotWritable`] or [`Error::Full`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        let failed = |path: &Path, source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull => Error::Full { path: path.into() },
            _ => Error::NotWritable { path: path.into(), source },
        };
        create_root(root).map_err(|e| failed(root, e))?;
        let path = root.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| failed(&path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse { path: root.into(), pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(&path, source)),
        }
        // The pid only makes the other process's message better, so a full disk may lack it.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self { root: root.into(), _lock: lock })
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let file = options.read(true).write(true).open(self.root.join(name))?;
        Ok(Arc::new(HostFile(file)))
    }
}

/// Creates `root` and what lacks above it, and makes every new name durable.
fn create_root(root: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<&Path> = root.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(root)?;
    for dir in missing {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl Disk for HostDisk {
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().create_new(true))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with(name, &mut OpenOptions::new())
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.root.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.root.join(dir))?;
        let mut names: Vec<String> = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.root.join(dir))?.sync_all()
    }
}

#[derive(Debug)]
struct HostFile(File);

impl DiskFile for HostFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let allocate = || rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len);
        match retry_on_intr(allocate) {
            Ok(()) => Ok(()),
            // Some file systems and kernels cannot; there, space shows to be missing when it is
            // written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.size()? >= len => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.set_len(len),
            Err(errno) => Err(errno.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_names_the_process_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = HostDisk::open(dir.path()).unwrap();
        let Err(Error::InUse { pid, .. }) = HostDisk::open(dir.path()) else {
            panic!("two owners of one directory")
        };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        HostDisk::open(dir.path()).unwrap();
    }

    #[test]
    fn what_lacks_above_a_directory_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("made/on/the/way");
        create_root(&root).unwrap();
        assert!(root.is_dir());
        create_root(&root).unwrap();
        create_root(Path::new(".")).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(HostDisk::open(&file), Err(Error::NotWritable { .. })));
    }
}
