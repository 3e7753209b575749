//! Ports that several processes must agree on beforehand.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port from which all of these distances are free; it ends in 0. The system does not give out ports this
/// low by itself.
pub(crate) fn free_ports(distances: &[u16]) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const STEP: u16 = 20;
    let start = u16::try_from(std::process::id() % 900).expect("small") * STEP;
    let is_free = |port: &u16| {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        distances.iter().all(|distance| bind(port + distance))
    };
    let candidates = std::iter::repeat_with(|| {
        10_000 + (start + NEXT.fetch_add(STEP, Ordering::Relaxed)) % 18_000
    });
    candidates.take(1000).find(is_free).expect("a free port")
}
