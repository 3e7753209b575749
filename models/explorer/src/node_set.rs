//! Sets of at most eight nodes, which the models name A to H.

use std::fmt;

/// A node of a model.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u8);

impl Node {
    /// Where the node stands in an array of nodes.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", char::from(b'A' + self.0))
    }
}

/// A set of nodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeSet(u8);

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self(0);

    /// The nodes of these letters.
    #[must_use]
    pub fn of(letters: &str) -> Self {
        letters.bytes().map(|letter| Node(letter - b'A')).collect()
    }

    /// Every set of the nodes of this one.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self).filter(move |set| set.minus(self).is_empty())
    }

    /// How many nodes.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the node is in it.
    #[must_use]
    pub fn contains(self, node: Node) -> bool {
        self.0 >> node.0 & 1 == 1
    }

    /// Adds a node.
    pub fn insert(&mut self, node: Node) {
        self.0 |= 1 << node.0;
    }

    /// Takes a node out.
    pub fn remove(&mut self, node: Node) {
        self.0 &= !(1 << node.0);
    }

    /// The nodes of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The nodes of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The nodes that are not in the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many nodes of it make a majority.
    #[must_use]
    pub fn majority(self) -> u32 {
        self.len() / 2 + 1
    }

    /// Whether it contains a majority of `voters`.
    #[must_use]
    pub fn has_majority_of(self, voters: Self) -> bool {
        self.and(voters).len() >= voters.majority()
    }

    /// Whether every majority of `voters` meets it there: it contains half of them, rounded up.
    #[must_use]
    pub fn has_half_of(self, voters: Self) -> bool {
        self.and(voters).len() >= voters.len().div_ceil(2)
    }

    /// The nodes in order.
    pub fn iter(self) -> impl Iterator<Item = Node> {
        (0..8).map(Node).filter(move |&node| self.contains(node))
    }
}

impl FromIterator<Node> for NodeSet {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut set = Self::EMPTY;
        nodes.into_iter().for_each(|node| set.insert(node));
        set
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|node| write!(formatter, "{node:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half() {
        let voters = NodeSet::of("ABCD");
        assert!(NodeSet::of("BCDF").has_majority_of(voters));
        assert!(!NodeSet::of("BCEF").has_majority_of(voters));
        assert!(!NodeSet::EMPTY.has_majority_of(NodeSet::EMPTY));
    }

    #[test]
    fn half_of_a_set_meets_every_majority() {
        for voters in ["A", "AB", "ABC", "ABCD"].map(NodeSet::of) {
            for chosen in voters.subsets() {
                let mut majorities = voters.subsets().filter(|set| set.has_majority_of(voters));
                let meets_all = majorities.all(|majority| !majority.and(chosen).is_empty());
                assert_eq!(chosen.has_half_of(voters), meets_all);
            }
        }
    }

    #[test]
    fn subsets_are_all_of_them() {
        assert_eq!(NodeSet::of("ACD").subsets().count(), 8);
    }
}
