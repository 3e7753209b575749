//! Whom this node keeps connections to.
//!
//! **Never:** works it out anew where nothing has moved: it is asked after every event, and a cluster has
//! many members.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{Address, Document};

use super::change;
use super::peers::{Moves, Peers};
use super::settings::ClusterSettings;

/// The addresses that are dialled, and what they follow from.
#[derive(Debug, Default)]
pub(super) struct Dialled {
    addresses: BTreeSet<Address>,
    /// The document, if any, that they were worked out with; nothing before that, and for a node that
    /// has ended.
    basis: Option<Option<Arc<Document>>>,
}

impl Dialled {
    /// The addresses from now on, where they have changed: seeds, members, and those who came by
    /// themselves, because a node that wants to join is answered over a connection to it. Nodes whose join
    /// waits are members' in all but name.
    pub(super) fn follow(
        &mut self,
        settings: &ClusterSettings,
        document: Option<&Arc<Document>>,
        peers: &mut Peers,
    ) -> Option<Vec<Address>> {
        let Moves { said, is_one_gone } = peers.take_moves();
        let is_same = match (&self.basis, document) {
            (Some(Some(before)), Some(now)) => Arc::ptr_eq(before, now),
            (Some(None), None) => true,
            _ => false,
        };
        if is_same && !is_one_gone {
            let mut has_changed = false;
            for address in said.into_iter().filter(|address| *address != settings.address) {
                has_changed |= self.addresses.insert(address);
            }
            return has_changed.then(|| self.to_vec());
        }
        self.basis = Some(document.cloned());
        self.become_these(wanted(settings, document.map(|document| &**document), peers))
    }

    /// A node that has ended dials nobody.
    pub(super) fn end(&mut self) -> Option<Vec<Address>> {
        self.basis = None;
        self.become_these(BTreeSet::new())
    }

    fn become_these(&mut self, addresses: BTreeSet<Address>) -> Option<Vec<Address>> {
        let has_changed = addresses != self.addresses;
        self.addresses = addresses;
        has_changed.then(|| self.to_vec())
    }

    fn to_vec(&self) -> Vec<Address> {
        self.addresses.iter().cloned().collect()
    }
}

fn wanted(
    settings: &ClusterSettings,
    document: Option<&Document>,
    peers: &Peers,
) -> BTreeSet<Address> {
    let members = document.into_iter().flat_map(Document::members);
    let members = members.map(|member| &member.address);
    let waiting = document.into_iter().flat_map(change::waiting);
    let coming = waiting.filter_map(|operation| change::newcomer(&operation.kind));
    let coming = coming.map(|newcomer| &newcomer.address);
    let all = settings.seeds.iter().chain(members).chain(coming).chain(peers.addresses());
    all.filter(|address| **address != settings.address).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::known_document::KnownDocument;
    use crate::cluster::worlds::{document_of, hello_of, settings_of};
    use core::time::Duration;
    use paravon_model::PeerHello;

    fn addresses(texts: &[&str]) -> Option<Vec<Address>> {
        Some(texts.iter().map(|text| Address::new(text)).collect())
    }

    #[test]
    fn it_follows_the_document_those_who_come_and_those_who_are_forgotten() {
        let settings = settings_of("a", &["s"]);
        let document = KnownDocument::new(Arc::new(document_of(&["a", "b"])));
        let (mut dialled, mut peers) = (Dialled::default(), Peers::default());
        let mut now = Duration::ZERO;
        assert_eq!(dialled.follow(&settings, None, &mut peers), addresses(&["s"]));
        assert_eq!(dialled.follow(&settings, Some(&document), &mut peers), addresses(&["b", "s"]));
        peers.admitted(now, &hello_of("b"));
        assert_eq!(dialled.follow(&settings, Some(&document), &mut peers), None, "named already");
        peers.admitted(now, &hello_of("x"));
        let with_stranger = addresses(&["b", "s", "x"]);
        assert_eq!(dialled.follow(&settings, Some(&document), &mut peers), with_stranger);
        peers.admitted(now, &PeerHello { address: Address::new("y"), ..hello_of("x") });
        let moved = addresses(&["b", "s", "y"]);
        assert_eq!(dialled.follow(&settings, Some(&document), &mut peers), moved);
        now += Duration::from_secs(61);
        peers.forget_strangers(now, Some(&document));
        assert_eq!(dialled.follow(&settings, Some(&document), &mut peers), addresses(&["b", "s"]));
    }

    #[test]
    fn one_that_has_ended_dials_nobody_and_one_that_comes_again_all() {
        let settings = settings_of("a", &["s"]);
        let (mut dialled, mut peers) = (Dialled::default(), Peers::default());
        assert_eq!(dialled.follow(&settings, None, &mut peers), addresses(&["s"]));
        assert_eq!(dialled.end(), addresses(&[]));
        assert_eq!(dialled.end(), None);
        peers.linked(Duration::ZERO, &hello_of("x"));
        assert_eq!(dialled.follow(&settings, None, &mut peers), addresses(&["s", "x"]));
    }
}
