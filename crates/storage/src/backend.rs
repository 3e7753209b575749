//! redb's file on a [`Disk`](crate::disk::Disk).
//!
//! redb refuses everything after one failed call, reads included, until it is opened anew. A full
//! disk must not do that, so growing never fails here: it leaves a file with a hole and says so, and
//! the engine touches nothing before [`Space::settle`] has filled the hole.
//!
//! What is read is compared with what was written or read before, page by page, because redb itself
//! notices no flipped bit while it runs (`NO_SILENT_ROT`).

use std::collections::HashMap;
use std::io;
#[cfg(test)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::disk::{DiskFile, is_full};

/// Whether the file has all its space. Shared by the engine and its backend.
#[derive(Debug)]
pub(crate) struct Space {
    file: Arc<dyn DiskFile>,
    /// The length that could not be allocated; 0 while nothing lacks.
    lacking: AtomicU64,
    /// The first call that the disk has failed.
    failure: Mutex<Option<io::Error>>,
    pages: Mutex<HashMap<u64, Seen>>,
    cuts: Mutex<Cuts>,
    /// Lets pages be read that have rotten, to see what becomes of it behind this check.
    #[cfg(test)]
    is_blind: AtomicBool,
}

impl Space {
    fn new(file: Arc<dyn DiskFile>) -> Self {
        Self {
            file,
            lacking: AtomicU64::new(0),
            failure: Mutex::default(),
            pages: Mutex::default(),
            cuts: Mutex::default(),
            #[cfg(test)]
            is_blind: false.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn blind(&self) {
        self.is_blind.store(true, Ordering::Relaxed);
    }

    #[cfg(test)]
    fn is_blind(&self) -> bool {
        self.is_blind.load(Ordering::Relaxed)
    }

    #[cfg(not(test))]
    fn is_blind(&self) -> bool {
        false
    }

    /// The first call that the disk has failed, if any. That says nothing of what is in the file: it may
    /// be whole.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, called: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &called
            && is_of_disk(error)
        {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| same(error));
        }
        called
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<u64, Seen>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cuts(&self) -> MutexGuard<'_, Cuts> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the file is not cut but is said to be: for work that somebody waits for, because the
    /// cut of a long file takes a while.
    pub(crate) fn put_cuts_off(&self) {
        self.cuts().are_put_off = true;
    }

    /// Ends that, and makes the cut that was put off, if any.
    ///
    /// # Errors
    /// The disk's; the file is as long as before.
    pub(crate) fn catch_up_with_cuts(&self) -> io::Result<()> {
        let mut cuts = self.cuts();
        cuts.are_put_off = false;
        cuts.said.map_or(Ok(()), |len| self.cut(len))?;
        cuts.said = None;
        Ok(())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_len(len))?;
        self.lacking.store(0, Ordering::Release);
        self.pages().retain(|&at, _| at < len);
        Ok(())
    }

    /// The length of the file; 0 where the disk does not say.
    pub(crate) fn size(&self) -> u64 {
        self.file.size().unwrap_or(0)
    }

    /// How many bytes of it were read or written so far. Behind an open that has checked the file these are
    /// all that it holds, or 4 GiB and more.
    pub(crate) fn used(&self) -> u64 {
        self.pages().values().map(|seen| u64::from(seen.len)).sum()
    }

    /// Tries again to get what lacks.
    ///
    /// # Errors
    /// `StorageFull` while there is still no space.
    pub(crate) fn settle(&self) -> io::Result<()> {
        if self.lacking.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        // What a cut has made short meanwhile is not made long again.
        let _cuts = self.cuts();
        let lacking = self.lacking.load(Ordering::Acquire);
        if lacking != 0 {
            self.file.allocate(lacking)?;
            self.lacking.store(0, Ordering::Release);
        }
        Ok(())
    }
}

/// What becomes of cuts. Held while the length changes.
///
/// A file that is longer than it is said to be is what a crash before any cut leaves: redb makes a shorter
/// file of it durable first, and takes a longer one at its length when it opens it.
#[derive(Debug, Default)]
struct Cuts {
    are_put_off: bool,
    /// The length that redb was told, where the file is longer.
    said: Option<u64>,
}

/// Whether the disk has failed. Else what is in the file is wrong: bytes that changed, or too few.
fn is_of_disk(error: &io::Error) -> bool {
    let is_of_bytes =
        matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
    error.raw_os_error().is_some() || !is_of_bytes
}

/// An error that says the same: redb keeps the first one.
fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Pages whose checksum is remembered, at 24 bytes each: a file of 4 GiB. Pages beyond are checked by
/// redb at the next start alone.
const MAX_SEEN: usize = 1 << 20;

/// What redb reads and writes through.
#[derive(Debug)]
pub(crate) struct FileBackend {
    file: Arc<dyn DiskFile>,
    space: Arc<Space>,
}

/// The checksum of a page as it was last written or first read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    len: u32,
    checksum: u32,
}

impl FileBackend {
    /// The backend over `file`, and its view of the space.
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> io::Result<(Self, Arc<Space>)> {
        let space = Arc::new(Space::new(Arc::clone(&file)));
        let size = file.size()?;
        if size != 0 {
            // A hole that an earlier run left.
            allocate(&file, &space, size)?;
        }
        let backend = Self { file, space: Arc::clone(&space) };
        Ok((backend, space))
    }

    fn remember(&self, offset: u64, data: &[u8]) {
        let mut pages = self.space.pages();
        if pages.len() < MAX_SEEN || pages.contains_key(&offset) {
            pages.insert(offset, Seen::of(data));
        }
    }
}

impl Seen {
    fn of(data: &[u8]) -> Self {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self { len, checksum: crc32c::crc32c(data) }
    }
}

fn allocate(file: &Arc<dyn DiskFile>, space: &Space, len: u64) -> io::Result<()> {
    match file.allocate(len) {
        Err(error) if is_full(&error) => {
            space.lacking.store(len, Ordering::Release);
            file.set_len(len)
        }
        result => result,
    }
}

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        let cuts = self.space.cuts();
        cuts.said.map_or_else(|| self.space.note(self.file.size()), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.space.note(self.file.read_at(out, offset))?;
        let found = Seen::of(out);
        let seen = {
            let mut pages = self.space.pages();
            match pages.get(&offset) {
                Some(&seen) => seen,
                None if pages.len() < MAX_SEEN => *pages.entry(offset).or_insert(found),
                None => found,
            }
        };
        // Of another length it is another page, at the place of one that was freed.
        if seen.len == found.len && seen.checksum != found.checksum && !self.space.is_blind() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut cuts = self.space.cuts();
        if len > self.file.size()? {
            cuts.said = None;
            return self.space.note(allocate(&self.file, &self.space, len));
        }
        cuts.said = Some(len);
        if !cuts.are_put_off {
            self.space.cut(len)?;
            cuts.said = None;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.space.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.remember(offset, data);
        self.space.note(self.file.write_at(data, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash_disk::CrashDisk;
    use crate::disk::Disk;

    fn backend(len: u64) -> (Arc<dyn DiskFile>, FileBackend, Arc<Space>) {
        let file = CrashDisk::new().create("file").unwrap();
        file.set_len(len).unwrap();
        let (backend, space) = FileBackend::new(Arc::clone(&file)).unwrap();
        (file, backend, space)
    }

    #[test]
    fn a_cut_that_is_put_off_is_seen_at_once_and_made_later() {
        let (file, backend, space) = backend(100);
        space.put_cuts_off();
        for len in [40, 60, 20, 30] {
            backend.set_len(len).unwrap();
            assert_eq!((backend.len().unwrap(), file.size().unwrap()), (len, 100));
        }
        space.catch_up_with_cuts().unwrap();
        assert_eq!((backend.len().unwrap(), file.size().unwrap()), (30, 30));
        space.catch_up_with_cuts().unwrap();
        backend.set_len(10).unwrap();
        assert_eq!((backend.len().unwrap(), file.size().unwrap()), (10, 10), "cut at once again");
    }

    #[test]
    fn a_file_that_grows_past_its_end_has_no_cut_to_make_any_more() {
        let (file, backend, space) = backend(100);
        space.put_cuts_off();
        backend.set_len(40).unwrap();
        backend.set_len(200).unwrap();
        assert_eq!((backend.len().unwrap(), file.size().unwrap()), (200, 200));
        space.catch_up_with_cuts().unwrap();
        assert_eq!(file.size().unwrap(), 200);
    }
}
