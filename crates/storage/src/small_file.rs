//! Small files that are read and replaced as a whole.
//!
//! A reader finds the old contents or the new ones, never a mix. What is in them is believed only under
//! a checksum of their own, which whoever writes them adds.

use std::io;

use crate::disk::{Disk, is_full};
use crate::error::Error;

/// All bytes of `name`, but no more than `max`: a longer file is damaged, and cut so it says so.
pub(crate) fn read(disk: &dyn Disk, name: &str, max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let size = usize::try_from(file.size()?.min(max)).unwrap_or_default();
    let mut bytes = vec![0; size];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces `name` in `dir` durably. Writes aside, then renames: the name never stands for half a file.
pub(crate) fn replace(disk: &dyn Disk, dir: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = aside(name);
    remove_if_there(disk, &aside)?;
    let file = disk.create(&aside)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&aside, name)?;
    disk.sync_dir(dir)
}

/// Where what is to be `name` is made.
pub(crate) fn aside(name: &str) -> String {
    format!("{name}.new")
}

/// Removes a file that a crash may have left.
pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What an operator is told when the operating system failed on `name`.
pub(crate) fn failed(
    disk: &dyn Disk,
    name: &str,
    operation: &'static str,
    source: io::Error,
) -> Error {
    let path = disk.path(name);
    if is_full(&source) { Error::Full { path } } else { Error::Io { path, operation, source } }
}
