//! What may stand in a configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paravon_node::config::Config;

fuzz_target!(|text: &[u8]| {
    let path = std::env::temp_dir().join(format!("paravon-fuzz-{}.yaml", std::process::id()));
    std::fs::write(&path, text).expect("a writable folder");
    let _ = Config::load(&path, []);
});
