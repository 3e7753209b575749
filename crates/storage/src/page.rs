//! A page of a listing, and where it ends.
//!
//! Never empty where there is something to list and room for one is asked for: a caller that reads on
//! always gets further.

/// Where a page of a listing ends, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// With so many hints or records.
    pub count: usize,
    /// With the one that makes it so many bytes, as [`HintTotals::bytes`](crate::HintTotals::bytes)
    /// counts them. A page holds one at least.
    pub bytes: u64,
}

/// What was found, on its way into a page.
#[derive(Debug)]
pub(crate) struct Page<T> {
    limit: PageLimit,
    bytes: u64,
    found: Vec<T>,
}

impl<T> Page<T> {
    pub(crate) fn new(limit: PageLimit) -> Self {
        Self { limit, bytes: 0, found: Vec::new() }
    }

    /// Whether nothing more goes in.
    pub(crate) fn is_full(&self) -> bool {
        let is_long = self.found.len() >= self.limit.count;
        is_long || (!self.found.is_empty() && self.bytes >= self.limit.bytes)
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Puts something in that counts so many bytes.
    pub(crate) fn push(&mut self, item: T, bytes: u64) {
        self.bytes += bytes;
        self.found.push(item);
    }

    pub(crate) fn into_found(self) -> Vec<T> {
        self.found
    }
}
