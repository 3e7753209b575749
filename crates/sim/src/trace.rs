//! The trace of a world: a hash of every fact with its moment, and its text where somebody reads it.

use std::hash::{Hash, Hasher};

use crate::fact::Fact;
use crate::queue::{MICROSECOND, Nanos};

/// Whether a trace is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printing {
    /// Only hashed.
    Off,
    /// Every fact is a line on standard output.
    On,
}

/// A trace.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Mix,
    printing: Printing,
}

impl Trace {
    pub(crate) fn new(printing: Printing) -> Self {
        Self { hash: Mix(0x9e37_79b9_7f4a_7c15), printing }
    }

    /// Notes a fact.
    pub(crate) fn note(&mut self, at: Nanos, fact: &Fact) {
        self.hash.write_u64(at);
        fact.hash(&mut self.hash);
        if self.printing == Printing::On {
            println!("{:>12} us  {fact}", at / MICROSECOND);
        }
    }

    /// The hash of all facts so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }
}

/// A fast hash of words: a trace is compared with itself, never with a stranger's.
#[derive(Debug)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.0 = mixed ^ (mixed >> 29);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
