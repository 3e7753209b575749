//! `shard-NN.marks`: what a shard remembers beside its records, in a file that no quarantine touches.
//!
//! Replaced as a whole at a checkpoint, where anything has changed, before the log lets go of what it
//! says. The log is replayed over it as far back as there is one. It must never be taken for empty
//! where one was written: what it says was promised to others.
//!
//! ```text
//! "PVNM" | format u32 | shard u16 | edition u64 | quarantines u32 |
//! count u32 | target u32 of each |
//! count u32 | the marks of each partition, see `partitions.rs` |
//! count u32 | key hash u64, key length u16, key of each damaged one |
//! xxh3-64 of everything before u64
//! ```

mod partitions;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paravon_model::{Damage, Key, Ordinal};
use paravon_ring::KeyHash;
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::Disk;
use crate::error::Error;
use crate::marks::ShardMarks;
use crate::record_stage::Slot;
use crate::small_file::{self, failed};

const MAGIC: [u8; 4] = *b"PVNM";
/// Format 1 had the marks of partitions in fields of one length.
const FORMAT: u32 = 2;

/// More than the marks of all partitions that there can be; a length beyond this is damage.
const MAX_BYTES: u64 = 1 << 30;

/// How a damaged partition is written, here and in the log. Numbers are given once.
#[must_use]
pub(crate) fn damage_number(damage: Damage) -> u8 {
    match damage {
        Damage::None => 0,
        Damage::Lost => 1,
    }
}

/// What a number stands for; none where a later version gave it.
#[must_use]
pub(crate) fn damage_of(number: u8) -> Option<Damage> {
    match number {
        0 => Some(Damage::None),
        1 => Some(Damage::Lost),
        _ => None,
    }
}

/// The file, and what is to be in it. Shared by the shard's store, which changes it, and the
/// checkpointer, which writes it.
#[derive(Debug)]
pub(crate) struct MarksFile {
    disk: Arc<dyn Disk>,
    dir: String,
    name: String,
    shard: u16,
    marks: Mutex<ShardMarks>,
    saved: Mutex<Saved>,
}

/// What the file holds.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    /// Counts the files that were written in this place; 0 before the first.
    edition: u64,
    /// Of [`ShardMarks::changes`].
    changes: u64,
}

impl MarksFile {
    /// Reads the file of a shard, which must be of `least` or a later edition; where that is 0 there need
    /// be none.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        shard: u16,
        least: u64,
    ) -> Result<Self, Error> {
        let name = format!("{dir}/shard-{shard:02}.marks");
        let path = disk.path(&name);
        let (edition, marks) = match small_file::read(&*disk, &name, MAX_BYTES) {
            Ok(bytes) => decode(shard, &bytes).map_err(|found| match found {
                Some(found) => Error::NewerFormat { path: path.clone(), found, known: FORMAT },
                None => Error::LostMarks { path: path.clone() },
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, ShardMarks::default()),
            Err(error) => return Err(failed(&*disk, &name, "read", error)),
        };
        if edition < least {
            return Err(Error::LostMarks { path });
        }
        let saved = Mutex::new(Saved { edition, changes: marks.changes });
        Ok(Self { disk, dir: dir.into(), name, shard, marks: Mutex::new(marks), saved })
    }

    /// What is to be in the file.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ShardMarks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The edition of the file; 0 where there is none.
    pub(crate) fn edition(&self) -> u64 {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).edition
    }

    /// Replaces the file durably, if anything has changed. Gives its edition.
    ///
    /// # Errors
    /// On the disk stands the old file or the new one; it is tried again at the next call.
    pub(crate) fn save(&self) -> Result<u64, Error> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let edition = saved.edition + 1;
        let (bytes, changes) = {
            let marks = self.lock();
            if marks.changes == saved.changes {
                return Ok(saved.edition);
            }
            (encode(self.shard, edition, &marks), marks.changes)
        };
        small_file::replace(&*self.disk, &self.dir, &self.name, &bytes)
            .map_err(|error| failed(&*self.disk, &self.name, "replaced", error))?;
        *saved = Saved { edition, changes };
        Ok(edition)
    }
}

fn encode(shard: u16, edition: u64, marks: &ShardMarks) -> Vec<u8> {
    let count = |len: usize| u32::try_from(len).expect("fewer than 2^32").to_be_bytes();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&shard.to_be_bytes());
    bytes.extend_from_slice(&edition.to_be_bytes());
    bytes.extend_from_slice(&marks.quarantines.to_be_bytes());
    bytes.extend_from_slice(&count(marks.targets.len()));
    marks.targets.iter().for_each(|target| bytes.extend_from_slice(&target.0.to_be_bytes()));
    bytes.extend_from_slice(&count(marks.partitions.len()));
    partitions::encode(&mut bytes, &marks.partitions);
    bytes.extend_from_slice(&count(marks.damaged.len()));
    for Slot { hash, key } in &marks.damaged {
        let length = u16::try_from(key.encoded().len()).expect("a key is shorter than 64 KiB");
        bytes.extend_from_slice(&hash.0.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(key.encoded());
    }
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The edition and the marks in `bytes`; the format found where it is not ours; nothing where they are
/// damaged, or those of another shard.
fn decode(shard: u16, bytes: &[u8]) -> Result<(u64, ShardMarks), Option<u32>> {
    let (content, checksum) = bytes.split_last_chunk::<8>().ok_or(None)?;
    let mut rest = Rest(content);
    if xxh3_64(content) != u64::from_be_bytes(*checksum) || rest.take() != Some(MAGIC) {
        return Err(None);
    }
    let format = rest.u32().ok_or(None)?;
    if !(1..=FORMAT).contains(&format) {
        return Err(Some(format));
    }
    if rest.take().map(u16::from_be_bytes) != Some(shard) {
        return Err(None);
    }
    let decoded = decode_marks(&mut rest, format).ok_or(None)?;
    if rest.0.is_empty() { Ok(decoded) } else { Err(None) }
}

fn decode_marks(rest: &mut Rest<'_>, format: u32) -> Option<(u64, ShardMarks)> {
    let edition = rest.u64()?;
    let mut marks = ShardMarks { quarantines: rest.u32()?, ..ShardMarks::default() };
    for _ in 0..rest.u32()? {
        marks.targets.insert(Ordinal(rest.u32()?));
    }
    let count = rest.u32()?;
    marks.partitions = match format {
        1 => partitions::decode_format_1(rest, count)?,
        _ => partitions::decode(rest, count)?,
    };
    for _ in 0..rest.u32()? {
        let hash = KeyHash(rest.u64()?);
        let length = usize::from(u16::from_be_bytes(rest.take()?));
        let (key, behind) = rest.0.split_at_checked(length)?;
        rest.0 = behind;
        marks.damaged.insert(Slot { hash, key: Key::from_encoded(key).ok()? });
    }
    Some((edition, marks))
}

/// What is not decoded yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use paravon_model::{Hlc, Marks};
    use paravon_ring::Partition;

    use super::*;
    use crate::conformance::key;
    use crate::crash_disk::CrashDisk;
    use crate::marks::Marked;

    impl MarksFile {
        /// A file that says nothing, on a disk of its own.
        pub(crate) fn empty() -> Arc<Self> {
            let disk = CrashDisk::new();
            disk.create_dir("data").unwrap();
            Arc::new(Self::open(Arc::new(disk), "data", 0, 0).unwrap())
        }
    }

    fn sample() -> ShardMarks {
        let (hash, key) = key(1);
        let [floor, full, closed] = [(1, 2), (3, 4), (5, 6)].map(|(ms, n)| Hlc::new(ms, n));
        let whole = Marks { floor, full, closed, damage: Damage::None };
        let lost = Marks { damage: Damage::Lost, ..Marks::default() };
        ShardMarks {
            quarantines: 2,
            partitions: [
                (Partition(3), Marked { marks: whole, quarantines: 1 }),
                (Partition(0x00ab_cdef), Marked { marks: lost, quarantines: 2 }),
            ]
            .into(),
            damaged: [Slot { hash, key }].into(),
            targets: [Ordinal(4), Ordinal(9)].into(),
            changes: 0,
        }
    }

    #[test]
    fn the_frozen_marks_of_both_formats_are_still_read_and_those_of_the_second_written() {
        assert_eq!(decode(5, include_bytes!("../fixtures/marks-1.bin")), Ok((7, sample())));
        let fixture = include_bytes!("../fixtures/marks-2.bin");
        assert_eq!(decode(5, fixture), Ok((7, sample())));
        assert_eq!(encode(5, 7, &sample()), fixture);
    }

    #[test]
    fn no_flipped_bit_no_cut_and_no_other_shard_gives_marks() {
        let bytes = encode(5, 7, &sample());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(5, &flipped), Err(None));
        }
        for len in 0..bytes.len() {
            assert_eq!(decode(5, &bytes[..len]), Err(None));
        }
        assert_eq!(decode(4, &bytes), Err(None));
    }

    #[test]
    fn counts_that_lie_are_no_marks() {
        let bytes = encode(5, 7, &sample());
        let (hash, key) = key(1);
        let damaged = size_of_val(&hash) + size_of::<u16>() + key.encoded().len();
        let checksum = size_of::<u64>();
        let counts = [22, 26 + 4 * 2, bytes.len() - checksum - damaged - 4];
        for (at, count) in counts.into_iter().zip([2, 2, 1_u32]) {
            assert_eq!(bytes[at..at + 4], count.to_be_bytes(), "the count at {at}");
        }
        for at in 22..bytes.len() - 8 {
            for lie in [0, 1, 0xff].into_iter().filter(|lie| *lie != bytes[at]) {
                let mut content = bytes[..bytes.len() - 8].to_vec();
                content[at] = lie;
                let checksum = xxh3_64(&content);
                content.extend_from_slice(&checksum.to_be_bytes());
                // Whatever it gives elsewhere, it does not panic.
                let decoded = decode(5, &content);
                if counts.iter().any(|count| (*count..count + 4).contains(&at)) {
                    assert_eq!(decoded, Err(None), "byte {at}");
                }
            }
        }
        let mut longer = bytes[..bytes.len() - 8].to_vec();
        longer.push(0);
        let checksum = xxh3_64(&longer);
        longer.extend_from_slice(&checksum.to_be_bytes());
        assert_eq!(decode(5, &longer), Err(None));
    }

    #[test]
    fn a_later_format_says_so() {
        let mut bytes = encode(5, 7, &sample());
        bytes.truncate(bytes.len() - 8);
        bytes[7] = 3;
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        assert_eq!(decode(5, &bytes), Err(Some(3)));
    }

    #[test]
    fn a_file_of_the_first_format_is_written_anew_in_the_second() {
        let disk = CrashDisk::new();
        disk.create_dir("data").unwrap();
        let name = "data/shard-05.marks";
        let first = include_bytes!("../fixtures/marks-1.bin");
        small_file::replace(&disk, "data", name, first).unwrap();
        let on_disk = || small_file::read(&disk, name, MAX_BYTES).unwrap();
        let open = || MarksFile::open(Arc::new(disk.clone()), "data", 5, 7).unwrap();
        let file = open();
        assert_eq!(*file.lock(), sample());
        assert_eq!(file.save().unwrap(), 7, "nothing has changed");
        assert_eq!(on_disk(), first);
        file.lock().note_target(Ordinal(1));
        assert_eq!(file.save().unwrap(), 8);
        assert_eq!(on_disk()[4..8], FORMAT.to_be_bytes());
        let mut expected = sample();
        expected.targets.insert(Ordinal(1));
        assert_eq!(*open().lock(), expected);
    }

    #[test]
    fn a_file_that_says_nothing_sure_stops_the_start() {
        let disk = CrashDisk::new();
        disk.create_dir("data").unwrap();
        let open = |bytes: &[u8]| {
            small_file::replace(&disk, "data", "data/shard-05.marks", bytes).unwrap();
            MarksFile::open(Arc::new(disk.clone()), "data", 5, 0).map(|file| file.edition())
        };
        let bytes = encode(5, 7, &sample());
        assert_eq!(open(&bytes).unwrap(), 7);
        for broken in [&[], &bytes[..1], &bytes[..bytes.len() - 1], &bytes[1..], &[0xff; 4096]] {
            let error = open(broken).unwrap_err();
            assert!(
                matches!(&error, Error::LostMarks { path } if path.ends_with("shard-05.marks")),
                "{error}"
            );
        }
        let mut newer = bytes[..bytes.len() - 8].to_vec();
        newer[4..8].copy_from_slice(&(FORMAT + 1).to_be_bytes());
        let checksum = xxh3_64(&newer);
        newer.extend_from_slice(&checksum.to_be_bytes());
        let error = open(&newer).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 3, known: 2, .. }), "{error}");
    }

    #[test]
    fn a_file_is_written_where_something_changed_and_an_older_one_is_refused() {
        let disk = CrashDisk::new();
        disk.create_dir("data").unwrap();
        let open = |least| MarksFile::open(Arc::new(disk.clone()), "data", 5, least);
        assert!(matches!(open(1), Err(Error::LostMarks { .. })));
        let file = open(0).unwrap();
        assert_eq!(file.save().unwrap(), 0);
        file.lock().note_target(Ordinal(4));
        assert_eq!((file.save().unwrap(), file.save().unwrap()), (1, 1));
        file.lock().quarantine(0);
        assert_eq!(file.save().unwrap(), 2);
        assert_eq!(open(2).unwrap().lock().quarantines, 1);
        assert!(matches!(open(3), Err(Error::LostMarks { .. })));
    }
}
