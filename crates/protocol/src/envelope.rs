//! The envelope of every message: `{type, data}` and, where the sender wants replies out of order,
//! `id`.
//!
//! The envelope is read before the data, so that a request whose data is wrong is answered under its
//! own `id`. Unknown fields are ignored.

use crate::frame::append_frame;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

/// The type of the message by which a server asks a client to connect elsewhere.
pub const GOAWAY: &str = "goaway";

/// A message that cannot be read, and whom to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// What is wrong.
    pub error: DecodeError,
    /// The message's `id`, where it stands before what is wrong.
    pub id: Option<u64>,
}

/// A message whose data has not been read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What it is.
    pub kind: &'a str,
    /// The encoding of its fields: well formed, of bounded depth, and a map.
    pub data: &'a [u8],
    /// The correlation of request and reply.
    pub id: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of one frame's payload.
    ///
    /// # Errors
    /// Names the field that is missing, doubled or of a wrong type, or `message` where the whole is
    /// no map or more bytes follow.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Unreadable> {
        let mut id = None;
        Self::read(payload, &mut id).map_err(|error| Unreadable { error, id })
    }

    fn read(payload: &'a [u8], id: &mut Option<u64>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload, "message");
        let (mut kind, mut data) = (None, None);
        for _ in 0..reader.map()? {
            match reader.at("message").text()? {
                "type" if kind.is_none() => kind = Some(reader.at("type").text()?),
                "data" if data.is_none() => {
                    let raw = reader.at("data").raw()?;
                    Reader::new(raw, "data").map()?;
                    data = Some(raw);
                }
                "id" if id.is_none() => *id = Some(reader.at("id").unsigned()?),
                "type" => return reader.at("type").error(Problem::Twice),
                "data" => return reader.at("data").error(Problem::Twice),
                "id" => return reader.at("id").error(Problem::Twice),
                _ => reader.skip()?,
            }
        }
        reader.at("message").end()?;
        let missing = |field| DecodeError { field, problem: Problem::Missing };
        let kind = kind.ok_or(missing("type"))?;
        let data = data.ok_or(missing("data"))?;
        Ok(Self { kind, data, id: *id })
    }
}

/// Appends one framed message whose data `write` appends, as one map.
pub(crate) fn append_message(
    out: &mut Vec<u8>,
    id: Option<u64>,
    kind: &str,
    write_data: impl FnOnce(&mut Vec<u8>),
) {
    append_frame(out, |out| {
        writer::map(out, if id.is_some() { 3 } else { 2 });
        if let Some(id) = id {
            writer::text(out, "id");
            writer::unsigned(out, id);
        }
        writer::text(out, "type");
        writer::text(out, kind);
        writer::text(out, "data");
        write_data(out);
    });
}

/// Appends the frame that asks a client to finish what is in flight and connect elsewhere.
pub fn encode_goaway(out: &mut Vec<u8>) {
    append_message(out, None, GOAWAY, |out| writer::map(out, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_fields_of_the_python_program_suffice_in_any_order() {
        let first = b"\x82\xa4type\xa3get\xa4data\x80";
        let second = b"\x82\xa4data\x80\xa4type\xa3get";
        let expected = Envelope { kind: "get", data: b"\x80", id: None };
        assert_eq!(Envelope::decode(first), Ok(expected));
        assert_eq!(Envelope::decode(second), Ok(expected));
    }

    #[test]
    fn what_is_wrong_behind_the_id_is_told_under_it() {
        let unreadable =
            Envelope::decode(b"\x83\xa2id\x07\xa4type\xa3get\xa4data\xc1").unwrap_err();
        assert_eq!((unreadable.id, unreadable.error.field), (Some(7), "data"));
    }

    #[test]
    fn every_way_to_be_wrong_names_its_field() {
        let cases: [(&[u8], &str, Problem); 9] = [
            (b"", "message", Problem::CutShort),
            (b"\xc0", "message", Problem::WrongType { expected: "a map" }),
            (b"\x80", "type", Problem::Missing),
            (b"\x81\xa4type\xa3get", "data", Problem::Missing),
            (b"\x82\xa4type\xa3get\xa4type\xa3get", "type", Problem::Twice),
            (b"\x82\xa4type\x01\xa4data\x80", "type", Problem::WrongType { expected: "a string" }),
            (b"\x82\xa4type\xa3get\xa4data\xc0", "data", Problem::WrongType { expected: "a map" }),
            (b"\x82\xa4type\xa3get\xa4data\x80\x00", "message", Problem::Trailing),
            (b"\x82\xa4type\xa1\xff\xa4data\x80", "type", Problem::NotUtf8),
        ];
        for (payload, field, problem) in cases {
            let error = DecodeError { field, problem };
            assert_eq!(Envelope::decode(payload), Err(Unreadable { error, id: None }));
        }
    }
}
