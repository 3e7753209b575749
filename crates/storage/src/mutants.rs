//! Faults that are put into this crate on purpose, so that a simulator can show that it notices them.
//!
//! Exists with the feature `mutants` alone, which no product has. All are off until they are chosen.

use std::sync::atomic::{AtomicBool, Ordering};

static SKIP_LOG_CHECKSUM: AtomicBool = AtomicBool::new(false);

/// Recovery believes batches of the log whose checksum is wrong, or stops doing so.
pub fn skip_log_checksum(skip: bool) {
    SKIP_LOG_CHECKSUM.store(skip, Ordering::Relaxed);
}

/// Whether it does.
pub(crate) fn skips_log_checksum() -> bool {
    SKIP_LOG_CHECKSUM.load(Ordering::Relaxed)
}
