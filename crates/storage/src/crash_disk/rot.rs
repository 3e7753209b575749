//! Rot that redb does not notice: of a record, on pages whose checksums are right.
//!
//! So it is with what rots in memory before it is written. A flipped byte of a page is
//! [`Image::corrupt`].

use paravon_model::Key;
use paravon_ring::KeyHash;
use redb::{Builder, ReadableTable};

use super::{CrashDisk, Image};
use crate::backend::FileBackend;
use crate::codec;
use crate::disk::Disk;
use crate::engine::RECORDS;

/// The disk of a stopped node after a bit of a record in the file `name` has flipped; none where the file
/// holds no such record.
///
/// # Panics
/// There is no such file that is whole.
#[must_use]
pub fn rot_record(image: &Image, name: &str, hash: KeyHash, key: &Key) -> Option<Image> {
    let disk = CrashDisk::from_image(image.clone());
    let flipped = flip(&disk, name, hash, key).expect("the file is whole");
    flipped.map(|()| disk.image())
}

fn flip(disk: &CrashDisk, name: &str, hash: KeyHash, key: &Key) -> Result<Option<()>, redb::Error> {
    let (backend, _) = FileBackend::new(disk.open(name)?)?;
    let database = Builder::new().set_cache_size(1 << 20).create_with_backend(backend)?;
    let transaction = database.begin_write()?;
    let mut records = transaction.open_table(RECORDS)?;
    let mut place = Vec::new();
    codec::encode_key(&mut place, hash, key);
    let stored = records.get(place.as_slice())?.map(|stored| stored.value().to_vec());
    let Some(mut stored) = stored else { return Ok(None) };
    let last = stored.last_mut().expect("a record has bytes");
    *last ^= 1;
    records.insert(place.as_slice(), stored.as_slice())?;
    drop(records);
    transaction.commit()?;
    Ok(Some(()))
}
