//! Reads PEM files, and writes certificates and keys, each whole or not at all.
//!
//! **Never:** a key that is readable by others for even a moment, or a file replaced that was to be
//! kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};

use crate::tls_error::{Item, TlsError};

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is refused.
    Keep,
    /// It is replaced at once by the whole new one.
    Replace,
}

/// The mode of a key.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// The mode of a certificate.
pub(crate) const PUBLIC: u32 = 0o644;

/// Every item of its kind in the file, at least one.
pub(crate) fn read_all<T: PemObject>(path: &Path, what: Item) -> Result<Vec<T>, TlsError> {
    let text = fs::read(path).map_err(|source| unreadable(path, source))?;
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&text).collect();
    match items {
        Ok(items) if items.is_empty() => Err(TlsError::Absent { path: path.to_owned(), what }),
        Ok(items) => Ok(items),
        Err(source) => Err(TlsError::BadPem { path: path.to_owned(), source }),
    }
}

pub(crate) fn unreadable(path: &Path, source: io::Error) -> TlsError {
    TlsError::Unreadable { path: path.to_owned(), source }
}

/// An error where something lies at `path`.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), TlsError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(TlsError::Exists { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

/// Makes `directory` with its parents, where it is not there.
pub(crate) fn make_directory(directory: &Path) -> Result<(), TlsError> {
    fs::create_dir_all(directory)
        .map_err(|source| TlsError::Unwritable { path: directory.to_owned(), source })
}

/// Writes `text` to `path` with `mode`, over what is there if `existing` says so.
pub(crate) fn write(
    path: &Path,
    text: &str,
    mode: u32,
    existing: Existing,
) -> Result<(), TlsError> {
    let written = match existing {
        Existing::Keep => write_new(path, text, mode),
        Existing::Replace => replace(path, text, mode),
    };
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => TlsError::Exists { path: path.to_owned() },
        _ => TlsError::Unwritable { path: path.to_owned(), source },
    })
}

/// Fails with `AlreadyExists` where anything, a dangling link included, lies at `path`.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = create(path, mode)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A half-written file would stand in the way of the next attempt.
    written.or_else(|error| fs::remove_file(path).and(Err(error)))
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut aside = PathBuf::from(path).into_os_string();
    aside.push(".new");
    let aside = Path::new(&aside);
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(aside, text, mode)?;
    fs::rename(aside, path)
}

#[cfg(unix)]
fn create(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
