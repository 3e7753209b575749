//! The data messages of the client port: put, get, delete.
//!
//! Both directions stand side by side, so that what the client writes is what the server reads.

use core::time::Duration;

use paravon_model::limits::{MAX_REQUEST_ID_BYTES, MAX_REQUEST_TIMEOUT, MAX_TTL};
use paravon_model::{Consistency, Delete, Get, InvalidKey, Key, Kind, Put, Value};

use crate::code::{Code, Refusal};
use crate::envelope::{Envelope, append_message};
use crate::reader::{DecodeError, MAX_VALUE_DEPTH, Problem, Reader};
use crate::writer;

/// A request of a client, with what goes with every request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientRequest {
    /// What is asked.
    pub message: ClientMessage,
    /// How long the client waits; the server's default where absent. At most
    /// [`MAX_REQUEST_TIMEOUT`].
    pub timeout: Option<Duration>,
    /// Echoed in the reply.
    pub request_id: Option<RequestId>,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Store a value.
    Put(Put),
    /// Read a key.
    Get(Get),
    /// Delete a key.
    Delete(Delete),
}

/// What a client calls its request: text, bytes or a number, kept as it came and without an
/// allocation, because every request has one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId {
    encoded: [u8; Self::MAX_ENCODED],
    length: u8,
}

impl RequestId {
    /// The longest head of a text or of bytes up to [`MAX_REQUEST_ID_BYTES`], and what follows it.
    const MAX_ENCODED: usize = 2 + MAX_REQUEST_ID_BYTES;

    /// An id that is a text; cut to what fits into [`MAX_REQUEST_ID_BYTES`].
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let end = text.floor_char_boundary(MAX_REQUEST_ID_BYTES);
        let mut encoded = Vec::with_capacity(Self::MAX_ENCODED);
        writer::text(&mut encoded, &text[..end]);
        Self::from_encoded(&encoded).unwrap_or_else(|| unreachable!("it has been cut to fit"))
    }

    /// The text of 32 hexadecimal digits that two numbers make: for a request that came without an id.
    #[must_use]
    pub fn from_numbers(high: u64, low: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        /// The marker of a text of 32 to 255 bytes, and its length.
        const HEAD: [u8; 2] = [0xd9, 32];
        let mut id = Self { encoded: [0; Self::MAX_ENCODED], length: 34 };
        id.encoded[..2].copy_from_slice(&HEAD);
        let bytes = [high.to_be_bytes(), low.to_be_bytes()];
        for (pair, byte) in id.encoded[2..34].chunks_exact_mut(2).zip(bytes.as_flattened()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        id
    }

    /// What the client chose: the text or the bytes; nothing of a number, which is too short to be told
    /// from others.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        let encoded = &self.encoded[..usize::from(self.length)];
        match encoded {
            [0xa0..=0xbf, content @ ..] | [0xd9 | 0xc4, _, content @ ..] => content,
            _ => &[],
        }
    }

    /// The id of this encoding; none where it is too long.
    fn from_encoded(raw: &[u8]) -> Option<Self> {
        let mut encoded = [0; Self::MAX_ENCODED];
        encoded.get_mut(..raw.len())?.copy_from_slice(raw);
        Some(Self { encoded, length: u8::try_from(raw.len()).ok()? })
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const EXPECTED: Problem = Problem::WrongType { expected: "a string, bytes or a number" };
        const LIMIT: Problem = Problem::OutOfRange { expected: "at most 64 bytes" };
        let mut inside = *reader;
        let raw = reader.raw()?;
        let length = match inside.bytes_or_text() {
            Ok(bytes) => bytes.len(),
            Err(_) if inside.unsigned().is_ok() => 0,
            Err(_) => return reader.error(EXPECTED),
        };
        match Self::from_encoded(raw) {
            Some(id) if length <= MAX_REQUEST_ID_BYTES => Ok(id),
            _ => reader.error(LIMIT),
        }
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded[..usize::from(self.length)]
    }
}

impl core::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RequestId({})", self.encoded().escape_ascii())
    }
}

/// The fields of a data message, as they come.
#[derive(Default)]
struct Fields<'a> {
    key: Option<&'a [u8]>,
    namespace: Option<&'a str>,
    value: Option<(Kind, &'a [u8])>,
    ttl: Option<f64>,
    consistency: Option<Consistency>,
    timeout: Option<f64>,
    request_id: Option<RequestId>,
}

impl ClientRequest {
    /// Reads a data message of the client port whose values may have `max_value_bytes`.
    ///
    /// # Errors
    /// The refusal to send back: it names the field, or says that the type is unknown.
    pub fn decode(envelope: &Envelope<'_>, max_value_bytes: usize) -> Result<Self, Refusal> {
        if !matches!(envelope.kind, "put" | "get" | "delete") {
            let message = format!(
                "there is no message '{}' on the client port; there are put, get, delete and hello",
                envelope.kind.escape_debug()
            );
            return Err(Refusal::new(Code::UnknownType, message));
        }
        let fields = Fields::decode(envelope.data)?;
        let missing = |field| DecodeError { field, problem: Problem::Missing };
        let key = fields.key.ok_or(missing("key"))?;
        let key = Key::new(fields.namespace.unwrap_or(Key::DEFAULT_NAMESPACE), key)?;
        let consistency = fields.consistency.unwrap_or_default();
        let message = match envelope.kind {
            "put" => {
                let (kind, bytes) = fields.value.ok_or(missing("value"))?;
                if bytes.len() > max_value_bytes {
                    return Err(value_too_large(bytes.len(), max_value_bytes));
                }
                let value = Value { kind, bytes: bytes.into() };
                let ttl = fields.ttl.map(time_to_live).transpose()?;
                ClientMessage::Put(Put { key, value, ttl, consistency })
            }
            "get" => ClientMessage::Get(Get { key, consistency }),
            _ => ClientMessage::Delete(Delete { key, consistency }),
        };
        Ok(Self {
            message,
            timeout: fields.timeout.and_then(request_timeout),
            request_id: fields.request_id,
        })
    }

    /// Appends this request as a frame.
    pub fn encode(&self, id: Option<u64>, out: &mut Vec<u8>) {
        let (kind, key, consistency) = match &self.message {
            ClientMessage::Put(put) => ("put", &put.key, put.consistency),
            ClientMessage::Get(get) => ("get", &get.key, get.consistency),
            ClientMessage::Delete(delete) => ("delete", &delete.key, delete.consistency),
        };
        let put = match &self.message {
            ClientMessage::Put(put) => Some(put),
            _ => None,
        };
        let ttl = put.and_then(|put| put.ttl);
        let namespace = Some(key.namespace()).filter(|n| *n != Key::DEFAULT_NAMESPACE);
        let pairs = 1
            + u32::from(namespace.is_some())
            + u32::from(put.is_some())
            + u32::from(ttl.is_some())
            + u32::from(consistency != Consistency::Quorum)
            + u32::from(self.timeout.is_some())
            + u32::from(self.request_id.is_some());
        append_message(out, id, kind, |out| {
            writer::map(out, pairs);
            writer::text(out, "key");
            writer::binary(out, key.bytes());
            if let Some(namespace) = namespace {
                writer::text(out, "namespace");
                writer::text(out, namespace);
            }
            if let Some(put) = put {
                writer::text(out, "value");
                write_value(out, &put.value);
            }
            if let Some(ttl) = ttl {
                writer::text(out, "ttl");
                writer::float(out, ttl.as_secs_f64());
            }
            write_consistency(out, consistency);
            if let Some(timeout) = self.timeout {
                writer::text(out, "timeout");
                writer::float(out, timeout.as_secs_f64());
            }
            if let Some(request_id) = &self.request_id {
                writer::text(out, "request_id");
                out.extend_from_slice(request_id.encoded());
            }
        });
    }
}

impl<'a> Fields<'a> {
    fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data, "data");
        let mut fields = Self::default();
        for _ in 0..reader.map()? {
            match reader.at("data").text()? {
                "key" => {
                    let key = reader.at("key").bytes_or_text()?;
                    once(&mut fields.key, key, &reader)?;
                }
                "namespace" => {
                    let namespace = reader.at("namespace").text()?;
                    once(&mut fields.namespace, namespace, &reader)?;
                }
                "value" => {
                    let value = match reader.at("value").binary()? {
                        Some(bytes) => (Kind::Bytes, bytes),
                        None => (Kind::Msgpack, reader.raw_within(MAX_VALUE_DEPTH)?),
                    };
                    once(&mut fields.value, value, &reader)?;
                }
                "ttl" => {
                    let ttl = reader.at("ttl").seconds()?;
                    once(&mut fields.ttl, ttl, &reader)?;
                }
                "timeout" => {
                    let timeout = reader.at("timeout").seconds()?;
                    once(&mut fields.timeout, timeout, &reader)?;
                }
                // These two mean the same, so only one of them may be there.
                "consistency" => {
                    let level = consistency_by_name(reader.at("consistency"))?;
                    once(&mut fields.consistency, level, &reader)?;
                }
                "quorum" => {
                    let level = consistency_by_count(reader.at("quorum"))?;
                    once(&mut fields.consistency, level, &reader)?;
                }
                "request_id" => {
                    let request_id = RequestId::decode(reader.at("request_id"))?;
                    once(&mut fields.request_id, request_id, &reader)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(fields)
    }
}

/// Keeps the value of the field that `reader` has just read; a second one is an error.
pub(crate) fn once<T>(
    slot: &mut Option<T>,
    value: T,
    reader: &Reader<'_>,
) -> Result<(), DecodeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => reader.error(Problem::Twice),
    }
}

fn consistency_by_name(reader: &mut Reader<'_>) -> Result<Consistency, DecodeError> {
    match reader.text()? {
        "one" => Ok(Consistency::One),
        "quorum" => Ok(Consistency::Quorum),
        "all" => Ok(Consistency::All),
        _ => reader.error(Problem::OutOfRange { expected: "one, quorum or all" }),
    }
}

fn consistency_by_count(reader: &mut Reader<'_>) -> Result<Consistency, DecodeError> {
    match Consistency::from_count(reader.unsigned()?) {
        Some(level) => Ok(level),
        None => reader.error(Problem::OutOfRange { expected: "a number of replicas" }),
    }
}

fn write_consistency(out: &mut Vec<u8>, consistency: Consistency) {
    let name = match consistency {
        Consistency::Quorum => return,
        Consistency::Count(count) => {
            writer::text(out, "quorum");
            return writer::unsigned(out, u64::from(count));
        }
        Consistency::One => "one",
        Consistency::All => "all",
    };
    writer::text(out, "consistency");
    writer::text(out, name);
}

/// Bytes as bin, anything else in the encoding that its writer chose.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value.kind {
        Kind::Bytes => writer::binary(out, &value.bytes),
        Kind::Msgpack => out.extend_from_slice(&value.bytes),
    }
}

/// Zero means the default, as in the Python program; what is longer than allowed is cut.
fn request_timeout(seconds: f64) -> Option<Duration> {
    let longest = MAX_REQUEST_TIMEOUT.as_secs_f64();
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(longest)))
}

fn time_to_live(seconds: f64) -> Result<Duration, DecodeError> {
    let ttl = Duration::from_secs_f64(seconds.min(MAX_TTL.as_secs_f64()));
    if ttl.as_millis() > 0 {
        return Ok(ttl);
    }
    let problem = Problem::OutOfRange { expected: "at least a millisecond" };
    Err(DecodeError { field: "ttl", problem })
}

fn value_too_large(bytes: usize, limit: usize) -> Refusal {
    let message = format!(
        "the value has {bytes} bytes, this node takes {limit}; \
         split it or raise server.max_message_size"
    );
    Refusal::new(Code::ValueTooLarge, message)
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(Code::BadRequest, error.to_string())
    }
}

impl From<InvalidKey> for Refusal {
    fn from(error: InvalidKey) -> Self {
        let code = match error {
            InvalidKey::TooLarge { .. } => Code::KeyTooLarge,
            _ => Code::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::HEADER_BYTES;

    const MAX_VALUE: usize = 16;

    fn round_trip(request: &ClientRequest) -> Result<ClientRequest, Refusal> {
        round_trip_within(request, MAX_VALUE)
    }

    fn round_trip_within(request: &ClientRequest, most: usize) -> Result<ClientRequest, Refusal> {
        let mut frame = Vec::new();
        request.encode(Some(7), &mut frame);
        let envelope = Envelope::decode(&frame[HEADER_BYTES..]).expect("our own envelope");
        assert_eq!(envelope.id, Some(7));
        ClientRequest::decode(&envelope, most)
    }

    fn put(value: Value) -> ClientRequest {
        let key = Key::new("default", b"k").expect("a valid key");
        let message = ClientMessage::Put(Put {
            key,
            value,
            ttl: Some(Duration::from_millis(1500)),
            consistency: Consistency::Count(2),
        });
        let request_id = Some(RequestId::from_text("r-1"));
        ClientRequest { message, timeout: Some(Duration::from_secs(1)), request_id }
    }

    #[test]
    fn what_the_client_writes_the_server_reads() {
        let bytes = put(Value::bytes(b""));
        assert_eq!(round_trip(&bytes), Ok(bytes));
        let typed = put(Value { kind: Kind::Msgpack, bytes: (&[0x93, 1, 2, 3][..]).into() });
        assert_eq!(round_trip(&typed), Ok(typed));
        let key = Key::new("users", b"k").expect("a valid key");
        let get = ClientMessage::Get(Get { key, consistency: Consistency::All });
        let get = ClientRequest { message: get, timeout: None, request_id: None };
        assert_eq!(round_trip(&get), Ok(get));
    }

    #[test]
    fn a_value_is_measured_before_it_is_kept() {
        let refusal = round_trip(&put(Value::bytes(&[0; MAX_VALUE + 1]))).unwrap_err();
        assert_eq!(refusal.code, Code::ValueTooLarge);
        assert!(round_trip(&put(Value::bytes(&[0; MAX_VALUE]))).is_ok());
    }

    fn refusal_of(kind: &str, data: &[u8]) -> Refusal {
        let envelope = Envelope { kind, data, id: None };
        ClientRequest::decode(&envelope, MAX_VALUE).unwrap_err()
    }

    #[test]
    fn refusals_name_the_field() {
        let cases: [(&str, &[u8], Code, &str); 9] = [
            ("get", b"\x82\xa3key\xa1k\xa3key\xa1l", Code::BadRequest, "`key` is given twice"),
            ("nope", b"\x80", Code::UnknownType, "'nope'"),
            ("get", b"\x80", Code::BadRequest, "`key` is missing"),
            ("put", b"\x81\xa3key\xa1k", Code::BadRequest, "`value` is missing"),
            ("get", b"\x81\xa3key\x07", Code::BadRequest, "`key` must be bytes or a string"),
            ("get", b"\x81\xa3key\xa0", Code::BadRequest, "key is empty"),
            ("get", b"\x82\xa3key\xa1k\xa6quorum\xa1x", Code::BadRequest, "`quorum` must be"),
            (
                "get",
                b"\x83\xa3key\xa1k\xa6quorum\x01\xabconsistency\xa3one",
                Code::BadRequest,
                "`consistency` is given twice",
            ),
            ("put", b"\x83\xa3key\xa1k\xa5value\x01\xa3ttl\x00", Code::BadRequest, "`ttl`"),
        ];
        for (kind, data, code, text) in cases {
            let refusal = refusal_of(kind, data);
            assert_eq!(refusal.code, code, "{}", refusal.message);
            assert!(refusal.message.contains(text), "{}", refusal.message);
        }
    }

    #[test]
    fn the_deepest_value_that_is_taken_can_be_read_back() {
        let nested = |depth: u32| {
            let mut bytes = vec![0x91; depth as usize];
            bytes.push(0xc0);
            Value { kind: Kind::Msgpack, bytes: bytes.into() }
        };
        let refusal = round_trip_within(&put(nested(MAX_VALUE_DEPTH + 1)), 64).unwrap_err();
        assert!(refusal.message.contains("`value` nests deeper than 29"), "{}", refusal.message);
        let deepest = nested(MAX_VALUE_DEPTH);
        assert!(round_trip_within(&put(deepest.clone()), 64).is_ok());
        let version = paravon_model::Version {
            hlc: paravon_model::Hlc::ZERO,
            ordinal: paravon_model::Ordinal(1),
        };
        let found = paravon_model::Found { value: deepest, version, expires_ms: None };
        let (reading, id) =
            (paravon_model::Reading { found: Some(found) }, RequestId::from_text(""));
        let mut frame = Vec::new();
        crate::reply::encode_reading(&mut frame, None, &reading, "n", &id);
        assert!(Envelope::decode(&frame[HEADER_BYTES..]).is_ok());
    }

    #[test]
    fn a_request_id_of_numbers_is_a_text_of_hexadecimal_digits() {
        let text = RequestId::from_text("0123456789abcdef00000000000000ff");
        assert_eq!(RequestId::from_numbers(0x0123_4567_89ab_cdef, 0xff), text);
    }

    #[test]
    fn a_request_id_has_at_most_64_bytes_and_any_of_three_types() {
        let decode = |raw: &[u8]| RequestId::decode(&mut Reader::new(raw, "request_id"));
        let text = |length: usize| {
            [&[0xd9, u8::try_from(length).unwrap()][..], &vec![b'x'; length]].concat()
        };
        for good in [&b"\x07"[..], b"\xa1x", b"\xc4\x01x", &text(64)] {
            assert_eq!(decode(good).unwrap().encoded(), good);
        }
        for bad in [&b"\xc0"[..], b"\xff", b"\x91\x01", &text(65)] {
            assert!(decode(bad).is_err());
        }
        assert_eq!(RequestId::from_text(&"é".repeat(40)).encoded().len(), 66);
    }

    #[test]
    fn a_timeout_of_zero_is_the_default_and_a_long_one_is_cut() {
        assert_eq!(request_timeout(0.0), None);
        assert_eq!(request_timeout(600.0), Some(MAX_REQUEST_TIMEOUT));
        assert_eq!(request_timeout(f64::MAX), Some(MAX_REQUEST_TIMEOUT));
    }
}
