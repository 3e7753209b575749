//! What replicas compare instead of their records, asked and answered: folds of totals, the sums of one
//! partition, marks.
//!
//! **Never:** reads more folds than [`MAX_FOLDS`] or more marks than [`MAX_MARKS`]; takes a class that
//! holds no partition, marks out of order, or a place to go on with that does not lead on.

use paravon_model::limits::{MAX_FOLDS, MAX_MARKS, MAX_SHIFT};
use paravon_model::{Class, Compare, Compared, Damage, Digest, Marks, Moment, PARTS, Unlisted};

use super::fields::{read_hlc, read_id, read_partition, write_id};
use super::items::Items;
use crate::maps::{read_list, write_list};
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

const FOLDS: u64 = 0;
const DIGEST: u64 = 1;
const MARKS: u64 = 2;
const SHARDS: u64 = 3;

/// A partition's, its three marks and its damage; or nil for all of these.
const MARKS_ITEMS: u32 = 5;
const UNSAID_ITEMS: u32 = 2;

const UNCHANGED: u64 = 0;
const UNMARKED: u64 = 1;

const UNDAMAGED: u64 = 0;
const LOST: u64 = 1;

/// The bytes of a digest: its sums in their order, the largest byte of each first.
const DIGEST_BYTES: usize = PARTS * size_of::<u128>();

/// How many items [`write_compare`] appends.
pub(super) fn compare_items(compare: &Compare) -> u32 {
    match compare {
        Compare::Folds { .. } | Compare::Marks { .. } => 6,
        Compare::Digest { .. } => 2,
    }
}

/// The kind; then the class's two, the span, the first fold and how many; the partition; or the class's
/// two, the moment's two and the first partition.
pub(super) fn write_compare(out: &mut Vec<u8>, compare: &Compare) {
    match compare {
        Compare::Folds { class, span, first, count } => {
            writer::unsigned(out, FOLDS);
            write_class(out, *class);
            writer::unsigned(out, u64::from(*span));
            writer::unsigned(out, u64::from(*first));
            writer::unsigned(out, u64::from(*count));
        }
        Compare::Digest { partition } => {
            writer::unsigned(out, DIGEST);
            writer::unsigned(out, u64::from(*partition));
        }
        Compare::Marks { class, since, first } => {
            writer::unsigned(out, MARKS);
            write_class(out, *class);
            write_moment(out, *since);
            writer::unsigned(out, u64::from(*first));
        }
    }
}

pub(super) fn read_compare(items: &mut Items<'_, '_>) -> Read<Compare> {
    let reader = items.at("compare")?;
    Ok(match reader.unsigned()? {
        FOLDS => {
            let class = read_class(items)?;
            let span = read_span(items.at("span")?)?;
            let first = read_partition(items.at("first")?)?;
            Compare::Folds { class, span, first, count: read_count(items.at("count")?)? }
        }
        DIGEST => Compare::Digest { partition: read_partition(items.at("partition")?)? },
        MARKS => {
            let class = read_class(items)?;
            let since = read_moment(items)?;
            Compare::Marks { class, since, first: read_partition(items.at("first")?)? }
        }
        _ => return reader.error(Problem::OutOfRange { expected: "0, 1 or 2" }),
    })
}

fn write_class(out: &mut Vec<u8>, class: Class) {
    writer::unsigned(out, u64::from(class.modulus));
    writer::unsigned(out, u64::from(class.residue));
}

fn read_class(items: &mut Items<'_, '_>) -> Read<Class> {
    let reader = items.at("modulus")?;
    let modulus: u32 = reader.fitting()?;
    if modulus == 0 {
        return reader.error(Problem::OutOfRange { expected: "at least 1" });
    }
    let reader = items.at("residue")?;
    let residue = read_partition(reader)?;
    if residue >= modulus {
        return reader.error(Problem::OutOfRange { expected: "less than the modulus" });
    }
    Ok(Class { modulus, residue })
}

fn read_span(reader: &mut Reader<'_>) -> Read<u8> {
    match reader.fitting()? {
        span if span <= MAX_SHIFT => Ok(span),
        _ => reader.error(Problem::OutOfRange { expected: "0 to 24" }),
    }
}

fn read_count(reader: &mut Reader<'_>) -> Read<u16> {
    match reader.fitting()? {
        count @ 1..=MAX_FOLDS => Ok(count),
        _ => reader.error(Problem::OutOfRange { expected: "1 to 1024" }),
    }
}

fn write_moment(out: &mut Vec<u8>, moment: Moment) {
    writer::unsigned(out, moment.run);
    writer::unsigned(out, moment.changes);
}

fn read_moment(items: &mut Items<'_, '_>) -> Read<Moment> {
    let run = items.at("run")?.unsigned()?;
    let changes = items.at("changes")?.unsigned()?;
    Ok(Moment { run, changes })
}

/// How many items [`write_compared`] appends.
pub(super) fn compared_items(compared: &Compared) -> u32 {
    match compared {
        Compared::Folds(_) | Compared::Digest(_) | Compared::Shards(_) => 2,
        Compared::Marks { .. } => 6,
    }
}

/// The kind; then the folds, each 18 bytes or nil; the sums of a partition in one, or nil; the marks,
/// what is said of those that are not listed, the partition to go on with or nil, and the moment's two; or
/// the number of shards.
pub(super) fn write_compared(out: &mut Vec<u8>, compared: &Compared) {
    match compared {
        Compared::Folds(folds) => {
            writer::unsigned(out, FOLDS);
            write_list(out, folds, |out, fold| match fold {
                Some(sum) => write_id(out, *sum),
                None => writer::nil(out),
            });
        }
        Compared::Digest(digest) => {
            writer::unsigned(out, DIGEST);
            match digest {
                Some(digest) => write_digest(out, digest),
                None => writer::nil(out),
            }
        }
        Compared::Marks { marks, unlisted, next, moment } => {
            writer::unsigned(out, MARKS);
            write_list(out, marks, |out, (partition, marks)| match marks {
                Some(marks) => write_marks(out, *partition, marks),
                None => write_unsaid(out, *partition),
            });
            write_unlisted(out, *unlisted);
            match next {
                Some(next) => writer::unsigned(out, u64::from(*next)),
                None => writer::nil(out),
            }
            write_moment(out, *moment);
        }
        Compared::Shards(shards) => {
            writer::unsigned(out, SHARDS);
            writer::unsigned(out, u64::from(*shards));
        }
    }
}

pub(super) fn read_compared(items: &mut Items<'_, '_>) -> Read<Compared> {
    let reader = items.at("compared")?;
    Ok(match reader.unsigned()? {
        FOLDS => Compared::Folds(read_list(items.at("folds")?, MAX_FOLDS.into(), read_fold)?),
        DIGEST => Compared::Digest(read_digest(items.at("digest")?)?.map(Box::new)),
        MARKS => {
            let marks = read_all_marks(items.at("marks")?)?;
            let unlisted = read_unlisted(items.at("unlisted")?)?;
            let next = read_next(items.at("next")?, &marks)?;
            Compared::Marks { marks, unlisted, next, moment: read_moment(items)? }
        }
        SHARDS => Compared::Shards(read_shards(items.at("shards")?)?),
        _ => return reader.error(Problem::OutOfRange { expected: "0 to 3" }),
    })
}

fn read_fold(reader: &mut Reader<'_>) -> Read<Option<u128>> {
    if reader.nil()? { Ok(None) } else { read_id(reader).map(Some) }
}

fn write_digest(out: &mut Vec<u8>, digest: &Digest) {
    let mut bytes = [0; DIGEST_BYTES];
    for (place, sum) in bytes.chunks_exact_mut(size_of::<u128>()).zip(digest.0) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    writer::binary(out, &bytes);
}

fn read_digest(reader: &mut Reader<'_>) -> Read<Option<Digest>> {
    if reader.nil()? {
        return Ok(None);
    }
    let (sums, rest) = reader.bytes()?.as_chunks();
    if sums.len() != PARTS || !rest.is_empty() {
        return reader.error(Problem::OutOfRange { expected: "256 bytes" });
    }
    let mut digest = Digest::default();
    for (sum, bytes) in digest.0.iter_mut().zip(sums) {
        *sum = u128::from_be_bytes(*bytes);
    }
    Ok(Some(digest))
}

fn write_marks(out: &mut Vec<u8>, partition: u32, marks: &Marks) {
    writer::array(out, MARKS_ITEMS);
    writer::unsigned(out, u64::from(partition));
    for mark in [marks.floor, marks.full, marks.closed] {
        writer::unsigned(out, mark.as_u64());
    }
    writer::unsigned(
        out,
        match marks.damage {
            Damage::None => UNDAMAGED,
            Damage::Lost => LOST,
        },
    );
}

fn write_unsaid(out: &mut Vec<u8>, partition: u32) {
    writer::array(out, UNSAID_ITEMS);
    writer::unsigned(out, u64::from(partition));
    writer::nil(out);
}

fn read_marks(reader: &mut Reader<'_>) -> Read<(u32, Option<Marks>)> {
    let mut items = Items::of(reader)?;
    let partition = read_partition(items.at("partition")?)?;
    let reader = items.at("floor")?;
    if reader.nil()? {
        items.end()?;
        return Ok((partition, None));
    }
    let floor = read_hlc(reader)?;
    let full = read_hlc(items.at("full")?)?;
    let reader = items.at("closed")?;
    let closed = read_hlc(reader)?;
    if floor > full || full > closed {
        return reader.error(Problem::OutOfRange { expected: "floor, full and closed in order" });
    }
    let reader = items.at("damage")?;
    let damage = match reader.unsigned()? {
        UNDAMAGED => Damage::None,
        LOST => Damage::Lost,
        _ => return reader.error(Problem::OutOfRange { expected: "0 or 1" }),
    };
    items.end()?;
    Ok((partition, Some(Marks { floor, full, closed, damage })))
}

fn write_unlisted(out: &mut Vec<u8>, unlisted: Unlisted) {
    writer::unsigned(
        out,
        match unlisted {
            Unlisted::Unchanged => UNCHANGED,
            Unlisted::Unmarked => UNMARKED,
        },
    );
}

fn read_unlisted(reader: &mut Reader<'_>) -> Read<Unlisted> {
    Ok(match reader.unsigned()? {
        UNCHANGED => Unlisted::Unchanged,
        UNMARKED => Unlisted::Unmarked,
        _ => return reader.error(Problem::OutOfRange { expected: "0 or 1" }),
    })
}

/// Whoever asks goes through them by partition, so each comes once and in order.
fn read_all_marks(reader: &mut Reader<'_>) -> Read<Vec<(u32, Option<Marks>)>> {
    let marks = read_list(reader, MAX_MARKS, read_marks)?;
    if marks.is_sorted_by(|one, other| one.0 < other.0) {
        return Ok(marks);
    }
    reader.at("marks").error(Problem::OutOfRange { expected: "ascending partitions" })
}

/// One that led back, or from nothing on, would be asked for again and again.
fn read_next(reader: &mut Reader<'_>, marks: &[(u32, Option<Marks>)]) -> Read<Option<u32>> {
    if reader.nil()? {
        return Ok(None);
    }
    let next = read_partition(reader)?;
    if marks.last().is_none_or(|(last, _)| next <= *last) {
        return reader.error(Problem::OutOfRange { expected: "a partition behind the last one" });
    }
    Ok(Some(next))
}

fn read_shards(reader: &mut Reader<'_>) -> Read<u16> {
    match reader.fitting()? {
        0 => reader.error(Problem::OutOfRange { expected: "at least 1" }),
        shards => Ok(shards),
    }
}
