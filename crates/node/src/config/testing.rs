//! A configuration that tests of this crate share.
//!
//! **Never:** anything but valid: a test breaks it in the one place that it is about.

use std::path::Path;
use std::time::SystemTime;

use paravon_model::NodeId;
use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Existing, TlsFiles};

use super::Config;

/// A folder with certificates and a configuration that [`Config::check`] finds nothing in.
pub(crate) fn sound(folder: &Path) -> Config {
    let now = SystemTime::now();
    let ca = Authority::make(now).unwrap().write(&folder.join("ca"), Existing::Keep).unwrap();
    let authority = Authority::read(&folder.join("ca")).unwrap();
    let addresses = ["127.0.0.1".parse().unwrap()];
    let server = Subject::Server { name: "node-1", dns: &[], addresses: &addresses };
    let written = authority
        .issue(server, now)
        .unwrap()
        .write(&folder.join("node-1"), Existing::Keep)
        .unwrap();
    let (certfile, keyfile, cafile) = (written.certificate, written.key, ca.certificate);
    let tls = TlsFiles { certfile, keyfile, cafile, crlfile: None };
    Config::new(NodeId::new("node-1").unwrap(), tls, folder.join("node-1/data"))
}
