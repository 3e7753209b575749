//! The faults put in on purpose do what they say. In a process of its own: they are chosen for all.

use std::sync::Arc;

use paravon_storage::conformance::{key, record};
use paravon_storage::crash_disk::{CrashDisk, Image};
use paravon_storage::{Completion, Completions, Error, Options, Stepped, mutants};

struct Nobody;

impl Completions for Nobody {
    fn deliver(&self, _: Vec<Completion>) {}
}

fn open(image: Image) -> Result<Stepped, Error> {
    let options = Options { segment_bytes: 32 << 10, ..Options::new("unused") };
    Stepped::open(Arc::new(CrashDisk::from_image(image)), &options, Arc::new(Nobody))
}

#[test]
fn without_its_checksum_a_torn_batch_is_believed() {
    let disk = CrashDisk::new();
    let options = Options { segment_bytes: 32 << 10, ..Options::new("unused") };
    let mut open_now = Stepped::open(Arc::new(disk.clone()), &options, Arc::new(Nobody)).unwrap();
    let (hash, key) = key(1);
    open_now.stores[0].merge(1, hash, key, record(1, Some(1))).unwrap();
    open_now.journal.submit(open_now.stores[0].take_group().into_iter().collect());
    open_now.steps.commit();
    let mut image = disk.image();
    let log = image.files().into_iter().find(|name| name.ends_with(".log")).unwrap();
    image.corrupt(&log, 90, 1);
    assert!(open(image.clone()).is_ok_and(|open| open.recovered.start_counter == 2));
    mutants::skip_log_checksum(true);
    assert!(matches!(open(image.clone()), Err(Error::DamagedLog { .. })));
    mutants::skip_log_checksum(false);
    assert!(open(image).is_ok());
}
