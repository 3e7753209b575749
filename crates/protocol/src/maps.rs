//! Maps whose fields come in any order, and lists: what the document, the node's state and the admin
//! messages have in common.
//!
//! **Never:** takes a field twice, or reads a list before its length was held against its limit.

use crate::reader::{DecodeError, Problem, Reader};
use crate::request::once;
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// Reads the head of a map and its first field, `format`, which must be one of `known`. Gives it, and
/// the number of pairs that follow.
pub(crate) fn read_format(reader: &mut Reader<'_>, known: &[u64]) -> Read<(u64, usize)> {
    let pairs = reader.map()?;
    let missing = DecodeError { field: "format", problem: Problem::Missing };
    let pairs = pairs.checked_sub(1).ok_or(missing)?;
    if reader.at("format").text()? != "format" {
        return Err(missing);
    }
    let format = reader.unsigned()?;
    if !known.contains(&format) {
        return reader.error(Problem::OutOfRange { expected: "a format that this version knows" });
    }
    Ok((format, pairs))
}

/// The field, which must be there.
pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Read<T> {
    field.ok_or(DecodeError { field: name, problem: Problem::Missing })
}

/// Says that a field has the right type and no sense.
pub(crate) fn wrong<T>(field: &'static str, expected: &'static str) -> Read<T> {
    Err(DecodeError { field, problem: Problem::OutOfRange { expected } })
}

/// Reads a field that may be there once.
pub(crate) fn keep<'a, T>(
    slot: &mut Option<T>,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Read<T>,
) -> Read<()> {
    let value = read(reader)?;
    once(slot, value, reader)
}

/// An array of at most `most` items, which is checked before any is read.
pub(crate) fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    most: usize,
    read: impl Fn(&mut Reader<'a>) -> Read<T>,
) -> Read<Vec<T>> {
    let count = reader.array()?;
    if count > most {
        return reader.error(Problem::OutOfRange { expected: "a shorter list" });
    }
    (0..count).map(|_| read(reader)).collect()
}

/// Appends an array of `items`, each as `write` appends it.
pub(crate) fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    writer::array(out, u32::try_from(items.len()).unwrap_or(u32::MAX));
    items.iter().for_each(|item| write(out, item));
}

/// Appends a field that is a number.
pub(crate) fn write_number(out: &mut Vec<u8>, field: &str, number: u64) {
    writer::text(out, field);
    writer::unsigned(out, number);
}
