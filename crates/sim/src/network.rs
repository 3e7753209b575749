//! The network between the nodes: who is linked to whom, what is cut or clogged, and how a message
//! fares. Harsher than TCP on purpose: messages of one link are lost, doubled and overtake each other.

use crate::faults::Matter;
use crate::plan::{Far, MAX_NODES, Weather};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;

/// Whether requests can be sent over a connection, as its owner believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkState {
    #[default]
    Down,
    Dialling,
    Up,
}

/// The connection that one node keeps to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    /// Counts its dials and connections, so that what is meant for an older one is known.
    pub(crate) number: u32,
    /// The process that it leads to, by its count of starts.
    pub(crate) incarnation: u32,
    /// Whether its owner wants it.
    pub(crate) wanted: bool,
}

/// What is sent from one node to another of one matter and comes late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delayed {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) matter: Matter,
    /// Of what is sent before this moment.
    pub(crate) until: Nanos,
    /// How much later it comes, if ever.
    pub(crate) late: Option<Nanos>,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    links: [[Link; MAX_NODES]; MAX_NODES],
    /// Until when nothing goes this way.
    cut: [[Nanos; MAX_NODES]; MAX_NODES],
    /// Until when messages of this way are held.
    clogged: [[Nanos; MAX_NODES]; MAX_NODES],
    delays: Vec<Delayed>,
    /// Until when a node hears no news of documents, and tells none.
    deaf: [Nanos; MAX_NODES],
    pub(crate) weather: Weather,
    far: Option<Far>,
}

impl Network {
    pub(crate) fn new(weather: Weather, far: Option<Far>) -> Self {
        Self {
            links: Default::default(),
            cut: Default::default(),
            clogged: Default::default(),
            delays: Vec::new(),
            deaf: Default::default(),
            weather,
            far,
        }
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from][to]
    }

    pub(crate) fn link_mut(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from][to]
    }

    /// Whether a request can be sent, as its sender believes, and to which process.
    pub(crate) fn connected(&self, from: usize, to: usize) -> Option<u32> {
        let link = self.link(from, to);
        (link.state == LinkState::Up).then_some(link.incarnation)
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, until: Nanos) {
        self.cut[from][to] = self.cut[from][to].max(until);
    }

    pub(crate) fn clog(&mut self, from: usize, to: usize, until: Nanos) {
        self.clogged[from][to] = self.clogged[from][to].max(until);
    }

    pub(crate) fn delay(&mut self, delayed: Delayed) {
        self.delays.push(delayed);
    }

    /// How much later than others a message of this matter arrives; never, where there is no number.
    pub(crate) fn delayed(
        &self,
        from: usize,
        to: usize,
        matter: Matter,
        at: Nanos,
    ) -> Option<Option<Nanos>> {
        let is_it = |known: &&Delayed| {
            (known.from, known.to, known.matter) == (from, to, matter) && known.until > at
        };
        self.delays.iter().find(is_it).map(|known| known.late)
    }

    pub(crate) fn deafen(&mut self, node: usize, until: Nanos) {
        self.deaf[node] = self.deaf[node].max(until);
    }

    /// Whether one of them hears no news of documents.
    pub(crate) fn is_deaf(&self, from: usize, to: usize, at: Nanos) -> bool {
        self.deaf[from].max(self.deaf[to]) > at
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize, at: Nanos) -> bool {
        self.cut[from][to] > at
    }

    /// Whether a connection can be made: both ways must be open.
    pub(crate) fn is_open(&self, from: usize, to: usize, at: Nanos) -> bool {
        !self.is_cut(from, to, at) && !self.is_cut(to, from, at)
    }

    /// Mends everything.
    pub(crate) fn mend(&mut self) {
        self.cut = Default::default();
        self.clogged = Default::default();
        self.delays.clear();
        self.deaf = Default::default();
        self.weather = Weather::FAIR;
        self.far = None;
    }

    /// When the copies of a message that is sent now arrive: none, one or two.
    pub(crate) fn arrivals(
        &self,
        random: &mut Random,
        from: usize,
        to: usize,
        at: Nanos,
    ) -> [Option<Nanos>; 2] {
        if self.is_cut(from, to, at) || random.chance(self.weather.loss) {
            return [None, None];
        }
        let second = random.chance(self.weather.duplication);
        let first = self.arrival(random, from, to, at);
        [Some(first), second.then(|| self.arrival(random, from, to, at))]
    }

    fn arrival(&self, random: &mut Random, from: usize, to: usize, at: Nanos) -> Nanos {
        let weather = &self.weather;
        let delay = if random.chance(weather.straggler) {
            random.magnitude(20 * MILLISECOND, 2 * SECOND)
        } else {
            random.between(weather.least_delay, weather.most_delay)
        };
        let far = self.far.filter(|far| far.node == from || far.node == to);
        let delay = delay + far.map_or(0, |far| far.longer);
        (at + delay).max(self.clogged[from][to] + delay / 8)
    }
}
