//! Faults strike, and everything is mended in the end.

use crate::fact::Fact;
use crate::faults::Fault;
use crate::happening::Happening;
use crate::network::Delayed;
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::world::{World, small};

impl World {
    /// Schedules the faults of the plan from now on.
    pub(crate) fn schedule_faults(&mut self) {
        let faults: Vec<_> = self.plan.scheduled().collect();
        for (after, fault) in faults {
            self.queue.push(self.now + after, Happening::Fault(fault));
        }
        for (ask, timed) in self.plan.asks.iter().enumerate() {
            self.queue.push(self.now + timed.at, Happening::Ask { ask });
        }
        for (act, timed) in self.plan.acts.iter().enumerate() {
            self.queue.push(self.now + timed.at, Happening::Act { act });
        }
        let intrusion = self.now + self.random.below(SECOND);
        self.queue.push(intrusion, Happening::Intrusion);
    }

    /// A fault takes effect.
    pub(crate) fn strike(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Crash { node, down } => self.crash(node, Some(down)),
            Fault::CrashAll { down } => {
                for node in 0..self.nodes.len() {
                    let down = down + self.random.below(down.max(1));
                    self.crash(node, Some(down));
                }
            }
            Fault::Pause { node, lasting } => {
                let sim = &mut self.nodes[node];
                if sim.process.is_some() {
                    sim.paused_until = sim.paused_until.max(now + lasting);
                }
            }
            Fault::Split { side, lasting } => {
                let on_side = |node: usize| side & (1 << node) != 0;
                for from in 0..self.nodes.len() {
                    for to in 0..self.nodes.len() {
                        if on_side(from) != on_side(to) {
                            self.cut(from, to, lasting);
                        }
                    }
                }
            }
            Fault::OneWay { from, to, lasting } => self.cut(from, to, lasting),
            Fault::Clog { from, to, lasting } => self.network.clog(from, to, now + lasting),
            Fault::Delay { from, to, matter, sending, late } => {
                self.network.delay(Delayed { from, to, matter, until: now + sending, late });
            }
            Fault::Deaf { node, lasting } => self.network.deafen(node, now + lasting),
            Fault::Reset { from, to } => {
                let number = self.network.link(from, to).number;
                self.broken(from, to, number);
            }
            Fault::Jump { node, by_ms, back_after } => {
                self.nodes[node].clock.jump(by_ms);
                if let Some(after) = back_after {
                    self.queue.push(now + after, Happening::Relief { node, back_ms: -by_ms });
                }
            }
            Fault::Rot { node, key } => self.let_rot(node, key),
            Fault::LoseFile { node, shard } => self.lose_file(node, shard),
            Fault::RotToo { node, key } => self.let_rot_too(node, key),
            Fault::LoseFileToo { node, shard } => self.lose_file_too(node, shard),
            Fault::Stall { node, lasting } => {
                // One at a time: what stands still for much longer than a minute is given up.
                let sim = &mut self.nodes[node];
                if sim.stalled_until <= now {
                    sim.stalled_until = now + lasting;
                }
            }
            Fault::Wipe { node, down } => {
                self.crash(node, Some(down));
                self.wipe(node);
            }
            Fault::Copy { node, down } => {
                self.crash(node, Some(down));
                let sim = &mut self.nodes[node];
                sim.copy = sim.engine.copy().map(|image| (image, sim.state.clone()));
            }
            Fault::PutBack { node, down } => {
                self.crash(node, Some(down));
                let sim = &mut self.nodes[node];
                if let Some((image, state)) = sim.copy.take() {
                    let of = sim.state.ordinal;
                    sim.engine.put_back(image);
                    sim.lost = state.ordinal;
                    sim.state = state;
                    sim.old_disk = true;
                    self.emit(Fact::DiskLost { node: small(node), of });
                }
            }
        }
    }

    /// Nothing goes this way for a while. Connections over it may break, or lie silent and go on.
    fn cut(&mut self, from: usize, to: usize, lasting: Nanos) {
        self.network.cut(from, to, self.now + lasting);
        for (owner, peer) in [(from, to), (to, from)] {
            let noticed = self.random.between(300 * MILLISECOND, 3 * SECOND);
            if noticed < lasting && self.random.below(10) < 7 {
                let number = self.network.link(owner, peer).number;
                let broken = Happening::Broken { from: owner, to: peer, number };
                self.queue.push(self.now + noticed, broken);
            }
        }
    }

    /// A clock jumps back.
    pub(crate) fn relief(&mut self, node: usize, back_ms: i64) {
        if self.phase.is_faulty() {
            self.nodes[node].clock.jump(back_ms);
        }
    }

    /// Ends every fault but pauses, which are short: the network is whole, clocks are right, processes
    /// run.
    pub(crate) fn mend(&mut self) {
        self.emit(Fact::Phase { name: "mended" });
        self.network.mend();
        self.plan.disks.stall = 0;
        self.plan.disks.refusal = 0;
        let now = self.now;
        for node in 0..self.nodes.len() {
            let sim = &mut self.nodes[node];
            sim.clock.correct(now);
            sim.stalled_until = 0;
            if sim.process.is_none() && !sim.killed {
                self.queue.push(now, Happening::Start { node });
            }
        }
    }
}
