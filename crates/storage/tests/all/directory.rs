//! The data directory on a real file system: founding, locks, and everything that can be wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paravon_storage::{Error, Options, Storage};

use crate::rig::{Inbox, small_options};

fn open(path: &Path) -> Result<Storage, Error> {
    let options = Options { path: path.into(), ..small_options() };
    Storage::open(&options, Arc::new(Inbox::default()))
}

fn close(storage: Storage) {
    storage.closer.close(storage.stores, Duration::from_secs(10)).unwrap();
}

#[test]
fn a_directory_is_founded_once_and_its_shape_is_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/on/the/way");
    let storage = open(&path).unwrap();
    assert!(storage.recovered.founded);
    assert_eq!(storage.recovered.document, b"founding document");
    storage.documents.replace(b"another".to_vec()).unwrap();
    close(storage);

    let other = Options { path, shards: 7, document: Vec::new(), ..small_options() };
    let storage = Storage::open(&other, Arc::new(Inbox::default())).unwrap();
    assert!(!storage.recovered.founded);
    assert_eq!((storage.stores.len(), storage.recovered.start_counter), (2, 2));
    assert_eq!(storage.recovered.document, b"another");
    close(storage);
}

#[test]
fn a_directory_in_use_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path()).unwrap();
    match open(dir.path()).map(|_| ()) {
        Err(error @ Error::InUse { pid: Some(pid), .. }) => {
            assert_eq!(pid, std::process::id());
            assert!(error.to_string().contains("stop that process"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    close(storage);
    close(open(dir.path()).unwrap());
}

#[test]
fn a_last_checkpoint_that_fails_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path()).unwrap();
    fs::rename(dir.path().join("data"), dir.path().join("elsewhere")).unwrap();
    let closed = storage.closer.close(storage.stores, Duration::from_secs(10));
    assert!(matches!(closed, Err(Error::Io { .. })), "{closed:?}");
}

#[test]
fn a_half_founded_directory_is_founded_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("founding/log")).unwrap();
    fs::write(dir.path().join("founding/shard-00.redb"), b"half").unwrap();
    let storage = open(dir.path()).unwrap();
    assert!(storage.recovered.founded);
    assert!(!dir.path().join("founding").exists());
    close(storage);
}

#[test]
fn a_later_format_and_a_damaged_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    close(open(dir.path()).unwrap());
    let path = dir.path().join("data/format");
    let bytes = fs::read(&path).unwrap();

    let mut damaged = bytes.clone();
    damaged[9] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::Damaged { .. })));

    let mut later = bytes[..bytes.len() - 8].to_vec();
    later[7] = 2;
    later.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&later).to_be_bytes());
    fs::write(&path, &later).unwrap();
    let error = open(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_redb_file_that_is_something_else_is_set_aside_as_often_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    close(open(dir.path()).unwrap());
    let contents = [&b""[..], b"not a database at all", &[0xff; 100_000]];
    for content in contents {
        fs::write(dir.path().join("data/shard-01.redb"), content).unwrap();
        let storage = open(dir.path()).unwrap();
        assert_eq!(storage.recovered.quarantined.len(), 1);
        assert_eq!(fs::read(&storage.recovered.quarantined[0]).unwrap(), content);
        close(storage);
    }
    for (number, content) in (1..).zip(contents) {
        let name = format!("data/shard-01.redb.quarantined-{number}");
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), content, "nothing is deleted");
    }
    assert!(open(dir.path()).unwrap().recovered.quarantined.is_empty());
}
