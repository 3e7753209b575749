//! What a broken disk may hold: bytes of every file of a data directory are changed, then it is
//! opened and read. It may refuse to open or to answer; it must not panic or answer with another value.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use paravon_model::{Body, Damage, Hlc, Key, Marks, Ordinal, Record, Value, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};
use paravon_storage::crash_disk::{CrashDisk, Image};
use paravon_storage::{Completion, Completions, Options, PageLimit, Stepped, Store};

const KEYS: u64 = 40;
/// Records beyond those that are stored and dropped. A log that lost its end may have them still.
const DROPPED: u64 = 4;
const TARGETS: [Ordinal; 2] = [Ordinal(7), Ordinal(8)];

#[derive(Default)]
struct News(Mutex<Vec<Completion>>);

impl Completions for News {
    fn deliver(&self, completions: Vec<Completion>) {
        self.0.lock().expect("no panic").extend(completions);
    }
}

/// A data directory with some records and hints in redb and some in the log, and the marks of as many
/// partitions in their file and in the log.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let (disk, news) = (CrashDisk::new(), Arc::new(News::default()));
    let mut open =
        Stepped::open(Arc::new(disk.clone()), &options(), news.clone()).expect("founded");
    for number in 0..KEYS + DROPPED {
        let (key, record) = entry(number);
        let store = &mut open.stores[0];
        let hash = KeyHash::of(&key, 0);
        for target in TARGETS {
            store.keep_hint(target, hash, key.clone(), record.clone()).expect("room");
        }
        let version = record.version;
        store.merge(number, hash, key.clone(), record).expect("room");
        if number >= KEYS {
            store.drop_record(number, hash, key, version).expect("room");
        }
        let partition = Partition(u32::try_from(number).expect("few"));
        store.set_marks(number, partition, marks(partition)).expect("room");
        open.journal.submit(store.take_group().into_iter().collect());
        open.steps.commit();
        for completion in std::mem::take(&mut *news.0.lock().expect("no panic")) {
            store.complete(completion);
        }
        if number == KEYS / 2 {
            store.flush();
            while open.steps.apply(0) {}
            open.steps.checkpoint().expect("a checkpoint");
        }
    }
    disk.image()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((head, masks)) = bytes.split_first_chunk::<4>() else { return };
    let mut image = IMAGE.clone();
    let files = image.files();
    let name = files[usize::from(head[0]) % files.len()].clone();
    let length = image.read(&name).map_or(0, |content| content.len());
    let offset = u64::from(u32::from_be_bytes([0, head[1], head[2], head[3]]));
    for (at, mask) in (offset..).zip(masks).filter(|(at, _)| *at < length as u64) {
        image.corrupt(&name, at, *mask);
    }
    let disk = Arc::new(CrashDisk::from_image(image));
    let Ok(mut open) = Stepped::open(disk, &options(), Arc::new(News::default())) else { return };
    for number in 0..KEYS {
        let (key, record) = entry(number);
        if let Ok(Some(found)) = open.stores[0].get(KeyHash::of(&key, 0), &key) {
            assert_eq!(found, record);
        }
    }
    let few = PageLimit { count: 3, bytes: u64::MAX };
    let mut after = None;
    while let Ok(page) = open.stores[0].scan(HashArc::ALL, after.as_ref(), few)
        && let Some((hash, key, _)) = page.last()
    {
        let next = Some((*hash, key.clone()));
        assert!(after < next);
        after = next;
        for (_, key, record) in page {
            let found = (key, record);
            assert!((0..KEYS + DROPPED).map(entry).any(|entry| entry == found));
        }
    }
    for target in TARGETS {
        list(&mut *open.stores[0], target);
    }
    for (partition, found) in open.stores[0].marks() {
        assert_eq!(found, Marks { damage: found.damage, ..marks(partition) });
    }
});

/// Lists the hints of a target, and again once the store has found what is wrong with them. The end of
/// a log may be lost with its hints: who breaks it makes it look like a write that was cut short.
fn list(store: &mut dyn Store, target: Ordinal) {
    let all = PageLimit { count: usize::MAX, bytes: u64::MAX };
    for _ in 0..2 {
        let Ok(found) = store.hints(target, None, all) else { return };
        assert!(found.is_sorted_by(|a, b| (a.hash, &a.key) < (b.hash, &b.key)));
        for hint in found {
            let kept = (hint.key, hint.record);
            assert!((0..KEYS + DROPPED).map(entry).any(|entry| entry == kept));
        }
        let _ = store.hint_totals(Shift::DEFAULT);
        store.end_batch();
    }
}

fn options() -> Options {
    Options {
        cache_bytes: 1 << 20,
        table_bytes: 64 << 10,
        segment_bytes: 32 << 10,
        checkpoint_bytes: 64 << 10,
        ..Options::new("unused")
    }
}

fn marks(partition: Partition) -> Marks {
    let [floor, full, closed] = [1, 2, 3].map(|n| Hlc::from_u64(u64::from(partition.0) * n));
    Marks { floor, full, closed, damage: Damage::None }
}

fn entry(number: u64) -> (Key, Record) {
    let key = Key::new(Key::DEFAULT_NAMESPACE, &number.to_be_bytes()).expect("a valid key");
    let version = Version { hlc: Hlc::from_u64(number + 1), ordinal: Ordinal(1) };
    let body = Body::Live(Value::bytes(&number.to_le_bytes()));
    (key, Record { version, expires_ms: None, body })
}
