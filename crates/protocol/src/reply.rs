//! Replies to the data messages, and refusals of any message.
//!
//! An `ok` carries `versions` in the form of the Python program's development head, so that its
//! client prints them; what is ours besides (`kind`, `expires_ms`, `acks`, `replicas`) comes as
//! further fields.

use paravon_model::{Hlc, Kind, Outcome, Reading, Value, Version, Written};

use crate::code::{Code, Refusal};
use crate::envelope::append_message;
use crate::reader::{DecodeError, Problem, Reader};
use crate::request::{RequestId, write_value};
use crate::writer;

/// Appends the answer to a put or delete. `stamped_by` names the node of the version's ordinal.
pub fn encode_written(
    out: &mut Vec<u8>,
    id: Option<u64>,
    written: &Written,
    stamped_by: &str,
    request_id: &RequestId,
) {
    append_message(out, id, "ok", |out| {
        writer::map(out, 4);
        writer::text(out, "versions");
        writer::array(out, 1);
        let kind = written.kind.unwrap_or(Kind::Bytes);
        write_entry_head(out, kind, 5);
        writer::nil(out);
        write_entry_tail(out, written.version, stamped_by, written.kind.is_none());
        writer::text(out, "acks");
        writer::unsigned(out, u64::from(written.acks));
        writer::text(out, "replicas");
        writer::unsigned(out, u64::from(written.replicas));
        write_request_id(out, request_id);
    });
}

/// Appends the answer to a get. `stamped_by` names the node of the version's ordinal.
pub fn encode_reading(
    out: &mut Vec<u8>,
    id: Option<u64>,
    reading: &Reading,
    stamped_by: &str,
    request_id: &RequestId,
) {
    append_message(out, id, "ok", |out| {
        writer::map(out, 2);
        writer::text(out, "versions");
        match &reading.found {
            None => writer::array(out, 0),
            Some(found) => {
                writer::array(out, 1);
                write_entry_head(out, found.value.kind, 5 + u32::from(found.expires_ms.is_some()));
                write_value(out, &found.value);
                write_entry_tail(out, found.version, stamped_by, false);
                if let Some(expires_ms) = found.expires_ms {
                    writer::text(out, "expires_ms");
                    writer::unsigned(out, expires_ms);
                }
            }
        }
        write_request_id(out, request_id);
    });
}

/// Appends a refusal.
pub fn encode_refusal(
    out: &mut Vec<u8>,
    id: Option<u64>,
    refusal: &Refusal,
    request_id: Option<&RequestId>,
) {
    let details = u32::try_from(refusal.details.len()).unwrap_or_default();
    let pairs = 3
        + u32::from(request_id.is_some())
        + u32::from(refusal.retry_after_ms.is_some())
        + u32::from(details > 0);
    append_message(out, id, "ko", |out| {
        writer::map(out, pairs);
        writer::text(out, "code");
        writer::text(out, refusal.code.as_str());
        writer::text(out, "message");
        writer::text(out, &refusal.message);
        writer::text(out, "outcome");
        writer::text(out, outcome_name(refusal.outcome));
        if let Some(retry_after_ms) = refusal.retry_after_ms {
            writer::text(out, "retry_after_ms");
            writer::unsigned(out, retry_after_ms);
        }
        if details > 0 {
            writer::text(out, "details");
            writer::map(out, details);
            for (name, number) in &refusal.details {
                writer::text(out, name);
                writer::unsigned(out, *number);
            }
        }
        if let Some(request_id) = request_id {
            write_request_id(out, request_id);
        }
    });
}

fn write_entry_head(out: &mut Vec<u8>, kind: Kind, pairs: u32) {
    writer::map(out, pairs);
    writer::text(out, "kind");
    writer::text(out, kind_name(kind));
    writer::text(out, "value");
}

fn write_entry_tail(out: &mut Vec<u8>, version: Version, stamped_by: &str, is_tombstone: bool) {
    writer::text(out, "hlc");
    writer::map(out, 3);
    writer::text(out, "physical");
    writer::unsigned(out, version.hlc.physical_ms());
    writer::text(out, "logical");
    writer::unsigned(out, u64::from(version.hlc.logical()));
    writer::text(out, "node_id");
    writer::text(out, stamped_by);
    writer::text(out, "is_tombstone");
    writer::boolean(out, is_tombstone);
    writer::text(out, "origin");
    writer::nil(out);
}

fn write_request_id(out: &mut Vec<u8>, request_id: &RequestId) {
    writer::text(out, "request_id");
    out.extend_from_slice(request_id.encoded());
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes => "bytes",
        Kind::Msgpack => "msgpack",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Refused => "refused",
        Outcome::Unknown => "unknown",
    }
}

/// The data of an `ok` to a put, get or delete, as a client reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replied {
    /// The surviving versions; for a write its own.
    pub versions: Vec<Entry>,
    /// Replicas that had a write durably when it was answered.
    pub acks: Option<u64>,
    /// Replicas that store the key.
    pub replicas: Option<u64>,
}

/// One version of a key, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value; none for a write's own version and for a tombstone.
    pub value: Option<Value>,
    /// When it was written.
    pub hlc: Hlc,
    /// Which node stamped it.
    pub node_id: String,
    /// Whether it is the trace of a delete.
    pub is_tombstone: bool,
    /// When it stops being visible, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

/// A `ko`, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code; [`Code::Internal`] for one that this version does not know.
    pub code: Code,
    /// The sentence for people.
    pub message: String,
    /// Whether a write may be stored all the same; `Unknown` where the server did not say.
    pub outcome: Outcome,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Reads the data of a reply to a put, get or delete, or of a refusal of anything: `kind` is the
/// envelope's.
///
/// # Errors
/// The server sent something that is no reply.
pub fn decode_reply(kind: &str, data: &[u8]) -> Result<Result<Replied, Refused>, DecodeError> {
    match kind {
        "ok" => decode_done(data).map(Ok),
        "ko" => decode_refused(data).map(Err),
        _ => Reader::new(data, "type").error(Problem::OutOfRange { expected: "ok or ko" }),
    }
}

fn decode_done(data: &[u8]) -> Result<Replied, DecodeError> {
    let mut reader = Reader::new(data, "data");
    let mut replied = Replied::default();
    for _ in 0..reader.map()? {
        match reader.at("data").text()? {
            "versions" => {
                for _ in 0..reader.at("versions").array()? {
                    replied.versions.push(decode_entry(&mut reader)?);
                }
            }
            "acks" => replied.acks = Some(reader.at("acks").unsigned()?),
            "replicas" => replied.replicas = Some(reader.at("replicas").unsigned()?),
            _ => reader.skip()?,
        }
    }
    Ok(replied)
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let mut kind = Kind::Bytes;
    let mut value = None;
    let mut entry = Entry {
        value: None,
        hlc: Hlc::ZERO,
        node_id: String::new(),
        is_tombstone: false,
        expires_ms: None,
    };
    for _ in 0..reader.at("versions").map()? {
        match reader.at("versions").text()? {
            "kind" if reader.at("kind").text()? == "msgpack" => kind = Kind::Msgpack,
            "kind" => {}
            "value" => value = Some(reader.at("value").raw()?),
            "hlc" => (entry.hlc, entry.node_id) = decode_hlc(reader.at("hlc"))?,
            "is_tombstone" => entry.is_tombstone = reader.at("is_tombstone").boolean()?,
            "expires_ms" => entry.expires_ms = Some(reader.at("expires_ms").unsigned()?),
            _ => reader.skip()?,
        }
    }
    entry.value = match (kind, value) {
        (_, None) => None,
        (Kind::Bytes, Some(raw)) => Reader::new(raw, "value").binary()?.map(Value::bytes),
        (Kind::Msgpack, Some(_)) if entry.is_tombstone => None,
        (Kind::Msgpack, Some(raw)) => Some(Value { kind, bytes: raw.into() }),
    };
    Ok(entry)
}

fn decode_hlc(reader: &mut Reader<'_>) -> Result<(Hlc, String), DecodeError> {
    let (mut physical, mut logical, mut node_id) = (0, 0, String::new());
    for _ in 0..reader.map()? {
        match reader.text()? {
            "physical" => physical = reader.unsigned()?,
            "logical" => logical = reader.unsigned()?,
            "node_id" => reader.text()?.clone_into(&mut node_id),
            _ => reader.skip()?,
        }
    }
    Ok((Hlc::new(physical, u16::try_from(logical).unwrap_or(u16::MAX)), node_id))
}

fn decode_refused(data: &[u8]) -> Result<Refused, DecodeError> {
    let mut reader = Reader::new(data, "data");
    let mut refused = Refused {
        code: Code::Internal,
        message: String::new(),
        outcome: Outcome::Unknown,
        retry_after_ms: None,
    };
    for _ in 0..reader.map()? {
        match reader.at("data").text()? {
            "code" => {
                let code = Code::from_name(reader.at("code").text()?);
                refused.code = code.unwrap_or(Code::Internal);
            }
            "message" => reader.at("message").text()?.clone_into(&mut refused.message),
            "outcome" if reader.at("outcome").text()? == "refused" => {
                refused.outcome = Outcome::Refused;
            }
            "outcome" => {}
            "retry_after_ms" => {
                refused.retry_after_ms = Some(reader.at("retry_after_ms").unsigned()?);
            }
            _ => reader.skip()?,
        }
    }
    Ok(refused)
}
