//! What a shard can have under way. Each kind stands in a file of its own; **never** does one do anything
//! here.

use core::time::Duration;

use crate::below::Recheck;
use crate::clearing::Clearing;
use crate::compared::AskedCompare;
use crate::dropping::Dropping;
use crate::fetch::Fetch;
use crate::get::Read;
use crate::handoff::HandOver;
use crate::healing::Heal;
use crate::pull::{OwnDigest, PullAsked};
use crate::pulled::AskedPull;
use crate::put::Write;
use crate::replica::AskedRead;
use crate::round::Exchange;
use crate::telling::Hearing;

/// One of the things that a shard has under way.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "slots are reused; a box would be made per read")]
pub(crate) enum Operation {
    Write(Write),
    Read(Read),
    Asked(AskedRead),
    HandOver(HandOver),
    AskedPull(AskedPull),
    Pull(PullAsked),
    Fetch(Fetch),
    Heal(Heal),
    OwnDigest(OwnDigest),
    AskedCompare(AskedCompare),
    Exchange(Exchange),
    Clearing(Clearing),
    Recheck(Recheck),
    Hearing(Hearing),
    Dropping(Dropping),
}

impl Operation {
    /// When it is to be ended at the latest.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Write(write) => Some(write.deadline),
            Self::Read(read) => Some(read.deadline),
            Self::HandOver(hint) => Some(hint.deadline),
            Self::Pull(pull) => Some(pull.deadline()),
            Self::Fetch(fetch) => fetch.deadline(),
            Self::Heal(heal) => heal.deadline(),
            Self::Exchange(exchange) => exchange.deadline(),
            Self::Hearing(hearing) => Some(hearing.deadline),
            _ => None,
        }
    }

    /// Whether it asks the store of this node alone.
    pub(crate) fn is_at_home(&self) -> bool {
        match self {
            Self::Asked(_)
            | Self::AskedPull(_)
            | Self::AskedCompare(_)
            | Self::OwnDigest(_)
            | Self::Clearing(_)
            | Self::Recheck(_)
            | Self::Dropping(_) => true,
            Self::Exchange(exchange) => exchange.is_at_home(),
            _ => false,
        }
    }

    /// Whether it is a client's.
    pub(crate) fn is_coordinated(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Read(_))
    }

    /// Whether it is a read whose client waits.
    pub(crate) fn may_be_late(&self) -> bool {
        matches!(self, Self::Read(read) if read.is_awaited())
    }
}
