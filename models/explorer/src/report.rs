//! What an exploration found.

/// How far an exploration came, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<Promise> {
    /// Different states seen; of random walks the steps taken.
    pub states: usize,
    /// Actions on the longest way taken, or on the way to the broken promise.
    pub depth: usize,
    /// How it ended.
    pub end: End<Promise>,
}

/// How an exploration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<Promise> {
    /// Every state that can be reached was seen, and none breaks a promise.
    Exhausted,
    /// The limit was reached, and no state seen breaks a promise.
    Bounded,
    /// A state breaks a promise.
    Broken {
        /// Which.
        promise: Promise,
        /// One line per action from the first state to that one.
        trace: Vec<String>,
    },
}
