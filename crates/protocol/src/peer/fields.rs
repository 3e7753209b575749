//! The fields that several messages share, both directions side by side. What is decoded is checked
//! here, once.

use paravon_model::limits::{MAX_ADDRESS_BYTES, MAX_SHIFT};
use paravon_model::{
    Address, Body, ChangeId, Fence, Hlc, Key, Kind, NodeId, Ordinal, Record, Revision, Size, Value,
    Version,
};

use super::items::Items;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// How the kinds of values travel.
const BYTES: u64 = 0;
const MSGPACK: u64 = 1;

/// The two items of a version.
pub(crate) fn write_version(out: &mut Vec<u8>, version: Version) {
    writer::unsigned(out, version.hlc.as_u64());
    writer::unsigned(out, u64::from(version.ordinal.0));
}

pub(crate) fn read_version(items: &mut Items<'_, '_>) -> Read<Version> {
    let hlc = read_hlc(items.at("hlc")?)?;
    let ordinal = Ordinal(items.at("ordinal")?.fitting()?);
    Ok(Version { hlc, ordinal })
}

pub(crate) fn read_hlc(reader: &mut Reader<'_>) -> Read<Hlc> {
    reader.unsigned().map(Hlc::from_u64)
}

/// The two items of a fence.
pub(crate) fn write_fence(out: &mut Vec<u8>, fence: Fence) {
    writer::unsigned(out, fence.generation);
    writer::unsigned(out, fence.number);
}

pub(crate) fn read_fence(items: &mut Items<'_, '_>) -> Read<Fence> {
    let generation = items.at("generation")?.unsigned()?;
    let number = items.at("fence")?.unsigned()?;
    Ok(Fence { generation, number })
}

/// The two items of a revision.
pub(crate) fn write_revision(out: &mut Vec<u8>, revision: Revision) {
    writer::unsigned(out, revision.generation);
    writer::unsigned(out, revision.version);
}

pub(crate) fn read_revision(items: &mut Items<'_, '_>) -> Read<Revision> {
    let generation = items.at("generation")?.unsigned()?;
    let version = items.at("version")?.unsigned()?;
    Ok(Revision { generation, version })
}

/// The number of a partition, in whatever number of them the document has.
pub(crate) fn read_partition(reader: &mut Reader<'_>) -> Read<u32> {
    match reader.fitting()? {
        partition if partition < 1 << MAX_SHIFT => Ok(partition),
        _ => reader.error(Problem::OutOfRange { expected: "a number below 2^24" }),
    }
}

pub(crate) fn read_key(reader: &mut Reader<'_>) -> Read<Key> {
    const EXPECTED: Problem = Problem::OutOfRange { expected: "a namespace and a key" };
    Key::from_encoded(reader.bytes()?).or_else(|_| reader.error(EXPECTED))
}

/// How many items [`write_record`] appends.
pub(crate) const RECORD_ITEMS: u32 = 4;

/// The items of a record: its version, its expiry or nil, and nil for a tombstone or the value.
pub(crate) fn write_record(out: &mut Vec<u8>, record: &Record) {
    write_version(out, record.version);
    match record.expires_ms {
        Some(expires_ms) => writer::unsigned(out, expires_ms),
        None => writer::nil(out),
    }
    match &record.body {
        Body::Tombstone => writer::nil(out),
        Body::Live(value) => {
            writer::array(out, 2);
            writer::unsigned(
                out,
                match value.kind {
                    Kind::Bytes => BYTES,
                    Kind::Msgpack => MSGPACK,
                },
            );
            writer::binary(out, &value.bytes);
        }
    }
}

pub(crate) fn read_record(items: &mut Items<'_, '_>, max_value_bytes: usize) -> Read<Record> {
    let version = read_version(items)?;
    let expiry = items.at("expires_ms")?;
    let expires_ms = if expiry.nil()? { None } else { Some(expiry.unsigned()?) };
    let body = items.at("body")?;
    let body = match body.nil()? {
        true => Body::Tombstone,
        false => Body::Live(read_value(body, max_value_bytes)?),
    };
    Ok(Record { version, expires_ms, body })
}

/// A value's bytes are measured, then copied once. The form of a [`Kind::Msgpack`] value was checked by
/// the node that took it from its client.
fn read_value(reader: &mut Reader<'_>, max_value_bytes: usize) -> Read<Value> {
    let mut items = Items::of(reader)?;
    let kind = items.at("kind")?;
    let kind = match kind.unsigned()? {
        BYTES => Kind::Bytes,
        MSGPACK => Kind::Msgpack,
        _ => return kind.error(Problem::OutOfRange { expected: "0 or 1" }),
    };
    let value = items.at("value")?;
    let bytes = value.bytes()?;
    if bytes.len() > max_value_bytes {
        return value.error(Problem::OutOfRange { expected: "a shorter value" });
    }
    let bytes = bytes.into();
    items.end()?;
    Ok(Value { kind, bytes })
}

/// Sixteen bytes, the largest first.
pub(crate) fn write_id(out: &mut Vec<u8>, id: u128) {
    writer::binary(out, &id.to_be_bytes());
}

pub(crate) fn read_id(reader: &mut Reader<'_>) -> Read<u128> {
    const EXPECTED: Problem = Problem::OutOfRange { expected: "16 bytes" };
    let bytes = reader.bytes()?;
    <[u8; 16]>::try_from(bytes).map(u128::from_be_bytes).or_else(|_| reader.error(EXPECTED))
}

pub(crate) fn read_change(reader: &mut Reader<'_>) -> Read<ChangeId> {
    read_id(reader).map(ChangeId)
}

pub(crate) fn write_ordinal(out: &mut Vec<u8>, ordinal: &Ordinal) {
    writer::unsigned(out, u64::from(ordinal.0));
}

pub(crate) fn read_ordinal(reader: &mut Reader<'_>) -> Read<Ordinal> {
    reader.fitting().map(Ordinal)
}

pub(crate) fn read_node_id(reader: &mut Reader<'_>) -> Read<NodeId> {
    const EXPECTED: Problem = Problem::OutOfRange { expected: "a name of 1 to 64 characters" };
    NodeId::new(reader.text()?).or_else(|_| reader.error(EXPECTED))
}

pub(crate) fn write_optional_name(out: &mut Vec<u8>, name: Option<&NodeId>) {
    match name {
        Some(name) => writer::text(out, name.as_str()),
        None => writer::nil(out),
    }
}

pub(crate) fn read_optional_name(reader: &mut Reader<'_>) -> Read<Option<NodeId>> {
    if reader.nil()? { Ok(None) } else { read_node_id(reader).map(Some) }
}

pub(crate) fn read_size(reader: &mut Reader<'_>) -> Read<Size> {
    match Size::from_name(reader.text()?) {
        Some(size) => Ok(size),
        None => reader.error(Problem::OutOfRange { expected: "a size from XS to XXL" }),
    }
}

pub(crate) fn read_address(reader: &mut Reader<'_>) -> Read<Address> {
    let text = reader.text()?;
    if is_address(text) { Ok(Address::new(text)) } else { reader.error(NO_ADDRESS) }
}

/// What a text that is no address is told.
pub(crate) const NO_ADDRESS: Problem =
    Problem::OutOfRange { expected: "an address of 1 to 512 printable characters" };

/// Whether this can be an address. Whether anybody answers there, only dialling tells.
pub(crate) fn is_address(text: &str) -> bool {
    let bytes = 1..=MAX_ADDRESS_BYTES;
    bytes.contains(&text.len()) && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}
