//! What makes a retry the same write: the id that a client gives it.

use rmpv::Value;

use crate::support::{Folder, Raw, message};

fn put(client: &mut Raw, key: &str, value: &str, request_id: &str) -> Value {
    let fields = [("key", key.into()), ("value", value.into()), ("request_id", request_id.into())];
    client.send_frame(&message("put", &fields));
    client.receive_value()
}

#[test]
fn a_retry_under_the_same_id_is_the_same_write_and_another_write_is_refused() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    let id = "an id of 16 bytes";
    let first = put(&mut client, "k", "v", id);
    assert_eq!(first["type"], Value::from("ok"), "{first}");
    client.put("k", b"later");
    assert_eq!(put(&mut client, "k", "v", id), first, "answered as before");
    let stored = client.get("k");
    assert_eq!(stored["data"]["versions"][0]["value"], Value::from(&b"later"[..]), "{stored}");
    for (key, value) in [("k", "w"), ("l", "v")] {
        let refused = put(&mut client, key, value, id);
        assert_eq!(refused["data"]["code"], Value::from("bad_request"), "{refused}");
    }

    // Another client's id, and one that is too short to be told from others, are others.
    let mut other = Raw::connect(&folder, "admin", node.api);
    let again = put(&mut other, "k", "v", id);
    assert_ne!(again["data"], first["data"]);
    let short = put(&mut client, "k", "v", "short");
    assert_ne!(put(&mut client, "k", "v", "short")["data"], short["data"]);
}
