//! The wire, byte by byte: the vectors that another implementation can use, the exact frames of the
//! Python program, and everything a stranger may send instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rmpv::Value;

use crate::support::{Folder, Raw};

/// The frames of `tests/vectors/*.txt`: a name, a colon, hexadecimal digits; `#` begins a comment.
fn vectors(file: &str) -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = fs::read_to_string(path).expect("the vectors");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let parse = |line: &str| {
        let (name, digits) = line.split_once(':').expect("name: digits");
        let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
        };
        (name.trim().to_owned(), digits.chunks(2).map(byte).collect())
    };
    lines.map(parse).collect()
}

/// `reply` with its clock and its request id, which differ from run to run, replaced by zeros.
fn without_what_varies(mut reply: Value) -> Value {
    fn clear(value: &mut Value) {
        let Value::Map(pairs) = value else {
            if let Value::Array(items) = value {
                items.iter_mut().for_each(clear);
            }
            return;
        };
        for (key, value) in pairs {
            match (key.as_str(), &value) {
                (Some("physical" | "logical"), _) => *value = Value::from(0),
                (Some("request_id"), Value::String(text)) if text.as_bytes().len() == 32 => {
                    *value = Value::from("made by the server");
                }
                _ => clear(value),
            }
        }
    }
    clear(&mut reply);
    reply
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("written to memory");
    bytes
}

#[test]
fn every_vector_gets_its_reply_byte_for_byte() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    let (requests, replies) = (vectors("requests.txt"), vectors("replies.txt"));
    assert_eq!(requests.keys().collect::<Vec<_>>(), replies.keys().collect::<Vec<_>>());
    for (name, request) in requests {
        client.send(&request);
        let reply = encoded(&without_what_varies(client.receive_value()));
        let expected = &replies[&name][4..];
        let hex: String = reply.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(reply, expected, "{name}: {:08x}{hex}", reply.len());
    }
}

#[test]
fn the_python_program_s_status_request_works_on_the_peer_port() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.peer);
    client.send_frame(b"\x82\xa4type\xabstatus/node\xa4data\x80");
    let reply = client.receive_value();
    assert_eq!(reply["type"], Value::from("ok"));
    assert_eq!(reply["data"]["node_id"], Value::from("node-1"));
    assert_eq!(reply["data"]["phase"], Value::from("ready"));
    client.send_frame(b"\x82\xa4type\xa6reload\xa4data\x80");
    assert_eq!(client.receive_code(), "forbidden");
    client.send_frame(b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xa1k");
    assert_eq!(client.receive_code(), "unknown_type");
}

#[test]
fn requests_without_an_id_are_answered_in_order_and_those_with_one_under_it() {
    for more in ["", "  event_loops: 3\n"] {
        let folder = Folder::new();
        folder.configure(more);
        check_order_and_ids(&folder);
    }
}

fn check_order_and_ids(folder: &Folder) {
    let node = folder.start();
    let mut client = Raw::connect(folder, "client", node.api);
    let mut all = Vec::new();
    for number in 0..50_u8 {
        // A put takes a sync, a get none: without an id the get must wait all the same.
        let put = [
            &b"\x82\xa4type\xa3put\xa4data\x83\xa3key\xa1a\xa5value\x01\xaarequest_id"[..],
            &[number],
        ]
        .concat();
        let get =
            [&b"\x82\xa4type\xa3get\xa4data\x82\xa3key\xa1b\xaarequest_id"[..], &[number + 50]]
                .concat();
        for payload in [put, get] {
            all.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
            all.extend(payload);
        }
    }
    client.send(&all);
    for number in 0..50_u8 {
        for expected in [number, number + 50] {
            let reply = client.receive_value();
            assert_eq!(reply["data"]["request_id"], Value::from(expected));
            assert!(reply["id"].is_nil());
        }
    }
    let with_id = |id: u8, rest: &[u8]| [b"\x83\xa2id", &[id][..], rest].concat();
    client.send_frame(&with_id(1, b"\xa4type\xa3put\xa4data\x82\xa3key\xa1a\xa5value\x01"));
    client.send_frame(&with_id(2, b"\xa4type\xa3get\xa4data\x81\xa3key\xa1b"));
    let mut ids: Vec<Value> = (0..2).map(|_| client.receive_value()["id"].clone()).collect();
    ids.sort_by_key(Value::as_u64);
    assert_eq!(ids, [Value::from(1), Value::from(2)]);
}

#[test]
fn garbage_is_answered_and_the_connection_lives_on() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    let mut deep = b"\x82\xa4type\xa3get\xa4data".to_vec();
    deep.extend([0x81, 0xa1, b'x'].repeat(40));
    deep.push(0xc0);
    let garbage: [&[u8]; 10] = [
        b"",
        b"\xc1",
        b"\x00",
        b"\x93\x01\x02\x03",
        b"\x82\xa4type",
        b"\x82\xa4type\xa3get\xa4data\xc0",
        b"\x82\xa4type\x07\xa4data\x80",
        b"\x82\xa4type\xa3get\xa4data\x80\x00",
        b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xc6\xff\xff\xff\xff",
        &deep,
    ];
    for payload in garbage {
        client.send_frame(payload);
        assert_eq!(client.receive_code(), "bad_request", "{}", payload.escape_ascii());
    }
    client.send_frame(b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xa1k");
    assert_eq!(client.receive_value()["type"], Value::from("ok"), "it lives on");
}

#[test]
fn a_huge_length_is_refused_by_its_header_and_the_connection_closes() {
    let folder = Folder::new();
    let node = folder.start();
    for length in [u32::MAX, (1 << 20) + (64 << 10) + 1] {
        let mut client = Raw::connect(&folder, "client", node.api);
        // With some of what is announced, as a client sends it: it must not hide the refusal.
        client.send(&[&length.to_be_bytes()[..], &[7; 300_000]].concat());
        assert_eq!(client.receive_code(), "message_too_large");
        assert!(client.is_closed());
    }
}

#[test]
fn a_value_of_exactly_the_limit_fits_and_one_byte_more_does_not() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    let put = |length: u32| {
        let mut payload = b"\x82\xa4type\xa3put\xa4data\x82\xa3key\xa1k\xa5value\xc6".to_vec();
        payload.extend(length.to_be_bytes());
        payload.resize(payload.len() + length as usize, 7);
        payload
    };
    client.send_frame(&put(1 << 20));
    assert_eq!(client.receive_value()["type"], Value::from("ok"));
    client.send_frame(&put((1 << 20) + 1));
    assert_eq!(client.receive_code(), "value_too_large");
    client.send_frame(b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xa1k");
    let reply = client.receive_value();
    let value = reply["data"]["versions"][0]["value"].as_slice().expect("bytes");
    assert!(value.len() == 1 << 20 && value.iter().all(|&byte| byte == 7));
}

#[test]
fn half_a_frame_hurts_nobody() {
    let folder = Folder::new();
    let node = folder.start();
    let mut half = Raw::connect(&folder, "client", node.api);
    half.send(&[0, 0, 0, 100, 0x82]);
    let mut other = Raw::connect(&folder, "client", node.api);
    other.send_frame(b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xa1k");
    assert_eq!(other.receive_value()["type"], Value::from("ok"));
    drop(half);
    other.send_frame(b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xa1k");
    assert_eq!(other.receive_value()["type"], Value::from("ok"));
}

#[test]
fn hello_tells_the_limits() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    client.send_frame(b"\x82\xa4type\xa5hello\xa4data\x81\xa8protocol\x01");
    let reply = client.receive_value();
    assert_eq!(reply["data"]["protocol"], Value::from(1));
    assert_eq!(reply["data"]["node_id"], Value::from("node-1"));
    assert_eq!(reply["data"]["limits"]["key_bytes"], Value::from(4096));
    assert_eq!(reply["data"]["limits"]["value_bytes"], Value::from(1 << 20));
}

#[test]
fn small_requests_for_large_values_fill_no_memory_before_their_replies_are_read() {
    const GETS: usize = 500;
    const VALUE_BYTES: usize = 1 << 20;
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    client.put("large", &vec![7; VALUE_BYTES]);
    let before = node.resident_bytes();
    let get = b"\x82\xa4type\xa3get\xa4data\x81\xa3key\xa5large";
    let mut gets = Vec::new();
    for _ in 0..GETS {
        gets.extend(u32::try_from(get.len()).expect("short").to_be_bytes());
        gets.extend(get);
    }
    client.send(&gets);
    let mut most = 0;
    for _ in 0..GETS {
        assert!(client.receive().expect("every reply").len() > VALUE_BYTES);
        most = most.max(node.resident_bytes());
    }
    let grown = most.saturating_sub(before);
    // server.max_buffer_size is 4 MiB; TLS and the allocator take their share.
    assert!(grown < 64 << 20, "{grown} bytes for one connection");
}
