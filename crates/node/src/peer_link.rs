//! The task of one link: dials a node, moves frames in both directions, and dials again when the
//! connection has ended.
//!
//! Everything that waits goes out with one TLS write, and everything that has come goes to the core in
//! one batch. **Never:** keeps a connection to a peer that does not read, or that is silent although it
//! was asked something.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use paravon_model::{Address, Membership, NodeId};
use paravon_protocol::{AdminRequest, Code, FrameLimit, is_peer_frame};
use paravon_replication::cluster::{ClusterEvent, RefusedAs};
use paravon_transport::{FrameStream, random_bytes};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

use crate::event_loop::Local;
use crate::inbox::Message;
use crate::links::{Link, LinkState};
use crate::peer_dial::{DialError, Dialled, dial};

/// How often the peer is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Questions that it may leave unanswered: it is silent for five seconds then.
const UNANSWERED: u32 = 5;

/// The shortest and the longest pause before the next dialling.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection that lasted so long is no reason for a longer pause.
const STEADY: Duration = Duration::from_secs(2);

/// The pause after a node has refused this one: only an operator changes its mind.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Turns of a link before others get theirs.
const TURNS: usize = 16;

/// Bytes that the buffers of an idle link keep.
const IDLE_BUFFER_BYTES: usize = 64 * 1024;

/// Keeps a link to `address` until it is not wanted any more.
pub(crate) async fn keep(local: Rc<Local>, link: Rc<Link>, address: Address) {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    while link.state() != LinkState::Unwanted {
        match dial(&local, &address).await {
            // Not wanted any more while it was dialled.
            Ok(_) if link.state() == LinkState::Unwanted => return,
            Ok(dialled) => {
                let begun = local.shared.now().monotonic;
                let ended = serve(&local, &link, &address, dialled).await;
                said = ended.map_or_else(|error| error.to_string(), |()| String::new());
                if local.shared.now().monotonic >= begun + STEADY {
                    pause = FIRST_PAUSE;
                }
            }
            Err(DialError::Own) => return,
            Err(error) => {
                let text = error.to_string();
                let was_said = text == said;
                if !was_said {
                    tracing::info!("no link to {address}: {text}; trying again");
                    said = text;
                }
                if let DialError::Refused { by, claimed, code, .. } = error {
                    tell_of_refusal(&local, by, refusal_of(code, claimed));
                    if is_lasting(code) || code == Code::Removed && was_said {
                        sleep(jittered(REFUSED_PAUSE)).await;
                    }
                }
            }
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// `pause`, less up to half of it, so that nodes do not dial in step.
fn jittered(pause: Duration) -> Duration {
    let [byte] = random_bytes();
    pause - pause.mul_f64(f64::from(byte) / 512.0)
}

/// Whether the next hello will be refused as this one was. One whose number is gone may start over, and
/// then it claims none.
fn is_lasting(code: Code) -> bool {
    matches!(code, Code::OldDisk | Code::WrongCluster | Code::Unauthenticated)
}

/// What the refusal of a hello that claimed this place means.
fn refusal_of(code: Code, claimed: Option<Membership>) -> RefusedAs {
    match (code, claimed) {
        (Code::OldDisk, _) => RefusedAs::OldDisk,
        (Code::Removed, Some(claimed)) => RefusedAs::Removed { claimed },
        _ => RefusedAs::Other,
    }
}

fn tell_of_refusal(local: &Local, by: NodeId, refusal: RefusedAs) {
    let refused = Message::Cluster(ClusterEvent::Refused { by, refusal });
    local.shared.inboxes.of_loop(0).send([refused]);
}

/// Serves one connection from its hellos to its end.
async fn serve(
    local: &Rc<Local>,
    link: &Rc<Link>,
    address: &Address,
    dialled: Dialled,
) -> io::Result<()> {
    let Dialled { frames, hello, greeting } = dialled;
    let peer = hello.node_id.clone();
    link.renew();
    {
        let mut core = local.core.borrow_mut();
        core.link_up(local.shared.now(), link, hello, greeting);
        core.end_batch();
        local.wake_after_batch(&core);
    }
    tracing::debug!("linked to {peer} at {address}");
    let heard = Cell::new(true);
    let mut connection = Connection { local, link, peer: &peer, frames, heard: &heard };
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_serve(cx)) => ended,
        () = silence(link, &heard) => Err(io::ErrorKind::TimedOut.into()),
    };
    link.await_news(None);
    tracing::debug!("the link to {peer} at {address} has ended: {ended:?}");
    let mut core = local.core.borrow_mut();
    core.link_down(local.shared.now(), link, &peer);
    core.end_batch();
    local.wake_after_batch(&core);
    ended
}

/// Ready when the peer has been silent for too long. It is asked for a word all the while.
async fn silence(link: &Link, heard: &Cell<bool>) {
    let mut unanswered = 0;
    while unanswered < UNANSWERED {
        unanswered = if heard.replace(false) { 0 } else { unanswered + 1 };
        link.append(|out| AdminRequest::Healthz.encode(Some(0), out));
        sleep(KEEP_ALIVE).await;
    }
}

/// A connection on which both ends have said hello.
struct Connection<'a> {
    local: &'a Rc<Local>,
    link: &'a Rc<Link>,
    peer: &'a NodeId,
    frames: FrameStream<TlsStream<TcpStream>>,
    /// Whether anything has come since it was looked at last.
    heard: &'a Cell<bool>,
}

impl Connection<'_> {
    /// Ready once the connection has ended.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is appended while the task is awake is sent by it anyway.
        self.link.await_news(None);
        for _ in 0..TURNS {
            match self.link.state() {
                LinkState::Open => {}
                LinkState::Overrun => {
                    let error = io::Error::other("the peer does not read");
                    return Poll::Ready(Err(error));
                }
                LinkState::Outdated => {
                    let error = io::Error::other("this node goes on after a rescue");
                    return Poll::Ready(Err(error));
                }
                LinkState::Unwanted => return Poll::Ready(Ok(())),
            }
            self.link.drain_to(self.frames.outgoing());
            let sent = if self.frames.wants_to_send() {
                let sending = self.frames.poll_send(cx)?;
                self.link.unsent.set(self.frames.unsent());
                sending.is_ready()
            } else {
                true
            };
            self.take_frames()?;
            match self.poll_receive(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => self.heard.set(true),
                Poll::Pending if self.link.is_empty() => {
                    self.link.await_news(Some(cx.waker().clone()));
                    if sent {
                        self.frames.release_buffers(IDLE_BUFFER_BYTES);
                    }
                    return Poll::Pending;
                }
                // The frames that were taken have made new ones.
                Poll::Pending => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        let mut scratch = self.local.scratch.borrow_mut();
        match self.frames.poll_receive(cx, &mut scratch) {
            Poll::Ready(received) => received.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Hands the frames that are whole to the core, as one batch.
    fn take_frames(&mut self) -> io::Result<()> {
        let mut core = self.local.core.borrow_mut();
        let now = self.local.shared.now();
        let mut any = false;
        while let Some(payload) =
            self.frames.next_frame(FrameLimit::PEER).map_err(io::Error::other)?
        {
            // Answers to the questions whether it is there are no frames of nodes.
            if is_peer_frame(payload) {
                core.receive_over_link(now, self.peer, payload).map_err(io::Error::other)?;
                any = true;
            }
        }
        if any {
            core.end_batch();
            self.local.wake_after_batch(&core);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{ClusterId, Ordinal};

    #[test]
    fn a_node_is_gone_only_as_what_it_claimed_to_be() {
        let (cluster_id, ordinal) = (ClusterId(1), Ordinal(2));
        let claimed = Membership { cluster_id, generation: 3, rescue_id: 4, ordinal };
        assert_eq!(refusal_of(Code::Removed, Some(claimed)), RefusedAs::Removed { claimed });
        assert_eq!(refusal_of(Code::Removed, None), RefusedAs::Other, "it claimed nothing");
        assert_eq!(refusal_of(Code::OldDisk, Some(claimed)), RefusedAs::OldDisk);
        assert_eq!(refusal_of(Code::WrongCluster, Some(claimed)), RefusedAs::Other);
    }
}
