//! Scores: what a node's tickets are worth in a partition.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998): every ticket of every node gets a pseudo-random
//! score in every partition, and a node stands for its best one. A node with twice the tickets is
//! twice as likely to be first, exactly, with no logarithm and no rounding.
//!
//! **Never:** uses anything but integers, or changes. A score that changes moves data in every cluster
//! that exists; the tests below freeze it.

use alloc::vec::Vec;

use paravon_model::{Member, NodeId, Ordinal, Size};

use crate::place::Partition;

/// 2^64 divided by the golden ratio: the increment of splitmix64. Keeps the two kinds of keys apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of splitmix64 (Steele, Lea and Flood, 2014; constants by Stafford, his variant 13): a
/// bijection of 64 bits in which every bit of the input changes every bit of the output in about half
/// of all cases. For the keys, where its speed does not matter.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The 128-bit product with both halves added without carry: the step of wyhash (Wang Yi), with two of
/// its constants below.
#[inline]
fn fold(value: u64, constant: u64) -> u64 {
    let (low, high) = value.carrying_mul(constant, 0);
    low ^ high
}

/// A score from a ticket's key and a partition's. Two folds change every bit of the output in half of
/// all cases, as the tests see; one alone does not. A wide product keeps the compiler from the vector
/// form that `mix` gets where vectors have no 64-bit multiplication, and takes half its time.
#[inline]
fn score(ticket: TicketKey, partition: PartitionKey) -> u64 {
    let value = ticket.0 ^ partition.0;
    fold(fold(value, 0xa076_1d64_78bd_642f), 0xe703_7ed1_a0b4_28db)
}

/// What a partition brings into its scores; computed once per partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionKey(u64);

impl PartitionKey {
    /// The key of `partition` in a cluster founded with `seed`.
    pub(crate) fn of(seed: u64, partition: Partition) -> Self {
        let salt = mix(seed.wrapping_add(GOLDEN.wrapping_mul(2)));
        Self(mix(salt ^ u64::from(partition.0)))
    }
}

/// What a ticket brings into its scores; computed once per ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TicketKey(u64);

impl TicketKey {
    /// The key of ticket `number` of the node `ordinal`. Ordinals are never reused, so it never
    /// changes, and a larger size only adds tickets to those of a smaller one.
    fn of(seed: u64, ordinal: Ordinal, number: u32) -> Self {
        let salt = mix(seed.wrapping_add(GOLDEN));
        Self(mix(salt ^ ((u64::from(ordinal.0) << 32) | u64::from(number))))
    }
}

/// A member as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) ordinal: Ordinal,
    size: Size,
    zone: Option<NodeId>,
    tickets: Vec<TicketKey>,
}

impl Contender {
    /// `member` with its tickets in a cluster founded with `seed`.
    pub(crate) fn of(seed: u64, member: &Member) -> Self {
        let tickets = 0..member.size.tickets();
        Self {
            ordinal: member.ordinal,
            size: member.size,
            zone: member.zone.clone(),
            tickets: tickets.map(|number| TicketKey::of(seed, member.ordinal, number)).collect(),
        }
    }

    /// Where it stands.
    pub(crate) fn zone(&self) -> Option<&NodeId> {
        self.zone.as_ref()
    }

    /// Its score in the partition of `key`: that of its best ticket.
    #[inline]
    pub(crate) fn score(&self, key: PartitionKey) -> u64 {
        self.tickets.iter().fold(0, |best, &ticket| best.max(score(ticket, key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first outputs of splitmix64 from the state 0.
    #[test]
    fn the_mixer_is_splitmix64() {
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GOLDEN.wrapping_mul(2)), 0x6e78_9e6a_a1b9_65f4);
    }

    fn score_of(seed: u64, ordinal: u32, number: u32, partition: u32) -> u64 {
        let ticket = TicketKey::of(seed, Ordinal(ordinal), number);
        score(ticket, PartitionKey::of(seed, Partition(partition)))
    }

    /// Frozen, and computed by another program: a different number here means that every cluster moves
    /// its data.
    #[test]
    fn scores_never_change() {
        assert_eq!(score_of(0, 0, 0, 0), 0x13be_e240_0575_a6dc);
        assert_eq!(score_of(7, 1, 0, 0), 0xb497_ff38_d00d_f5f5);
        assert_eq!(score_of(7, 1, 31, 0), 0x8146_4a16_84e6_036a);
        assert_eq!(score_of(7, 2, 0, 65535), 0x8e1a_8946_c1d1_c9c3);
        assert_eq!(score_of(u64::MAX, u32::MAX, 7, (1 << 24) - 1), 0xd571_9231_8516_f328);
    }

    /// Of 4,096 scores, a bit that the input does not move differs in 2,048 +- 32 (one deviation).
    #[test]
    fn every_bit_of_a_key_changes_every_bit_of_the_score_in_half_of_all_cases() {
        for input in 0..u64::BITS {
            let mut changed = [0_u32; 64];
            for sample in 0..4096 {
                let (ticket, key) = (TicketKey(mix(sample)), PartitionKey(mix(!sample)));
                let difference =
                    score(ticket, key) ^ score(TicketKey(ticket.0 ^ (1 << input)), key);
                for (output, count) in changed.iter_mut().enumerate() {
                    *count += u32::from(difference >> output & 1 == 1);
                }
            }
            for (output, count) in changed.iter().enumerate() {
                assert!((1848..=2248).contains(count), "{input} to {output}: {count}");
            }
        }
    }

    #[test]
    fn a_larger_size_only_adds_tickets() {
        let tickets = |size| {
            let member = crate::sample::member(9, size, None);
            Contender::of(5, &member).tickets
        };
        assert_eq!(tickets(Size::Xxl)[..8], tickets(Size::L)[..]);
    }
}
