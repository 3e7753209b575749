//! The configurations that `paravon dev` writes.
//!
//! **Never:** holds what a person has to keep: each run writes them again.

use std::path::Path;

use paravon_transport::TlsFiles;

use super::place::{Node, Place};

/// That of the clients: all nodes, and the first one to administer.
pub(super) fn of_clients(place: &Place) -> String {
    let servers: Vec<String> = place.nodes().map(|node| node.api()).collect();
    let admin: String = place.nodes().take(1).map(|node| node.peer()).collect();
    let TlsFiles { certfile, keyfile, cafile, .. } = place.administrator();
    format!(
        "# Made by `paravon dev`, and made again by its next run.\n\
         current-context: dev\n\
         contexts:\n  dev:\n    server: [{}]\n    admin: {admin}\n    \
         tls:\n      ca: {}\n      cert: {}\n      key: {}\n",
        listed(&servers),
        quoted(&cafile),
        quoted(&certfile),
        quoted(&keyfile),
    )
}

/// That of a node: the first one founds the cluster, the others ask it.
pub(super) fn of_node(place: &Place, node: &Node<'_>) -> String {
    let dir = node.dir();
    format!(
        "# Made by `paravon dev`, and made again by its next run.\n\
         node:\n  id: {}\n\
         server:\n  api:\n    port: {}\n  peer:\n    port: {}\n    seeds: [{}]\n  \
         tls:\n    certfile: {}\n    keyfile: {}\n    cafile: {}\n\
         storage:\n  data_dir: {}\n",
        node.name(),
        node.api_port(),
        node.peer_port(),
        listed(&node.seeds()),
        quoted(&dir.join("server.crt")),
        quoted(&dir.join("server.key")),
        quoted(&place.authority().join("ca.crt")),
        quoted(&dir.join("data")),
    )
}

/// Addresses as the items of a YAML list.
fn listed(addresses: &[String]) -> String {
    let items: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    items.join(", ")
}

/// A path as a YAML string in double quotes.
fn quoted(path: &Path) -> String {
    let escaped = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::args::DevArgs;

    #[test]
    fn the_first_node_has_no_seeds_and_the_others_have_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let (dir, nodes) = (dir.path().join("it's \"here\""), Some(3));
        let args = DevArgs { nodes, dir: dir.clone(), base_port: None, clean: false };
        let place = Place::new(&args).unwrap_or_else(|_| panic!("a new folder will do"));
        let parsed = |text: String| -> Json { serde_yaml::from_str(&text).expect("YAML") };
        let nodes: Vec<Json> = place.nodes().map(|node| parsed(of_node(&place, &node))).collect();
        let row = |node: &Json| {
            let server = &node["server"];
            format!("{} {} {}", node["node"]["id"], server["api"]["port"], server["peer"])
        };
        assert_eq!(row(&nodes[0]), r#""node-1" 2000 {"port":6000,"seeds":[]}"#);
        assert_eq!(row(&nodes[2]), r#""node-3" 2002 {"port":6002,"seeds":["127.0.0.1:6000"]}"#);
        let data = dir.join("node-3").join("data").display().to_string();
        assert_eq!(nodes[2]["storage"]["data_dir"], data);
        let clients = parsed(of_clients(&place));
        let context = &clients["contexts"]["dev"];
        assert_eq!(context["server"].as_array().map(Vec::len), Some(3));
        assert_eq!(context["admin"], "127.0.0.1:6000");
    }
}
