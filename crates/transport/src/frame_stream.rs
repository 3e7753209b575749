//! A byte stream as frames come and go on it, for one task that does both directions.
//!
//! Reads go through a scratch buffer that all connections of a thread share, so that an idle
//! connection holds no buffer; writes leave in one piece, however many frames they are.
//!
//! **Never:** looks into a frame, spawns a task, or reserves what a stranger's length prefix asks for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use paravon_protocol::{FrameLimit, TooLarge, split_frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Size of a scratch buffer: what one turn of a connection reads at most.
pub const SCRATCH_BYTES: usize = 64 * 1024;

/// Frames over a byte stream.
#[derive(Debug)]
pub struct FrameStream<S> {
    stream: S,
    /// Received and not yet taken as frames; what lies before `taken` is done with.
    incoming: Vec<u8>,
    taken: usize,
    /// To be sent; what lies before `sent` has left.
    outgoing: Vec<u8>,
    sent: usize,
    /// The stream holds bytes that the network has not taken.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameStream<S> {
    /// Frames over `stream`, which must not have been buffered elsewhere.
    pub fn new(stream: S) -> Self {
        Self::resumed(stream, Vec::new())
    }

    /// Frames over `stream`, of which `incoming` has been read already.
    pub fn resumed(stream: S, incoming: Vec<u8>) -> Self {
        Self { stream, incoming, taken: 0, outgoing: Vec::new(), sent: 0, unflushed: false }
    }

    /// Receives what is there, at most the length of `scratch`; zero bytes at the end of the stream.
    ///
    /// # Errors
    /// The connection is broken. A peer that leaves without TLS's goodbye is at the end of the
    /// stream: frames know their own length, so nothing is cut unnoticed.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        loop {
            let before = buffer.filled().len();
            let end = match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => buffer.filled().len() == before || buffer.remaining() == 0,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => true,
                Poll::Ready(Err(error)) if before == 0 => return Poll::Ready(Err(error)),
                Poll::Ready(Err(_)) => true,
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => true,
            };
            if end {
                self.incoming.extend_from_slice(buffer.filled());
                return Poll::Ready(Ok(buffer.filled().len()));
            }
        }
    }

    /// Receives what is there and throws it away; zero bytes at the end of the stream.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let received = self.poll_receive(cx, scratch);
        self.incoming.clear();
        self.taken = 0;
        received
    }

    /// The payload of the next whole frame that has been received.
    ///
    /// # Errors
    /// A frame announces more than `limit`; nothing more can be taken from this connection.
    pub fn next_frame(&mut self, limit: FrameLimit) -> Result<Option<&[u8]>, TooLarge> {
        match split_frame(&self.incoming[self.taken..], limit)? {
            Some(payload) => {
                let start = self.taken + payload.start;
                self.taken += payload.end;
                Ok(Some(&self.incoming[start..self.taken]))
            }
            None => {
                self.incoming.drain(..self.taken);
                self.taken = 0;
                Ok(None)
            }
        }
    }

    /// Where frames that are to be sent are appended.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Whether [`poll_send`](Self::poll_send) has something to do: also where every byte has left for
    /// the stream, and the stream could not pass all of them on.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        self.unsent() > 0 || self.unflushed
    }

    /// Sends everything that waits.
    ///
    /// # Errors
    /// The connection is broken; what has left is unknown.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outgoing.len() {
            let writing = Pin::new(&mut self.stream).poll_write(cx, &self.outgoing[self.sent..]);
            if writing.is_pending() {
                self.forget_sent();
            }
            let written = ready!(writing)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.unflushed = true;
        }
        self.outgoing.clear();
        self.sent = 0;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Gives back the room of what has left, once that is the larger part: a slow reader must not make
    /// the buffer grow with all that it was ever sent.
    fn forget_sent(&mut self) {
        if self.sent > self.outgoing.len() / 2 {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Says goodbye and closes the sending direction.
    ///
    /// # Errors
    /// The connection is broken already.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives back memory beyond `bytes` per direction that holds nothing: for a connection that falls
    /// idle.
    pub fn release_buffers(&mut self, bytes: usize) {
        self.incoming.shrink_to(bytes);
        self.outgoing.shrink_to(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    fn limit() -> FrameLimit {
        FrameLimit::for_values(0)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    async fn receive<S: AsyncRead + AsyncWrite + Unpin>(frames: &mut FrameStream<S>) -> usize {
        let mut scratch = [0; 8];
        poll_fn(|cx| frames.poll_receive(cx, &mut scratch)).await.unwrap()
    }

    #[test]
    fn frames_come_whole_whatever_the_pieces() {
        runtime().block_on(async {
            let (mut peer, ours) = tokio::io::duplex(64);
            let mut frames = FrameStream::new(ours);
            peer.write_all(&[0, 0, 0, 2, 7]).await.unwrap();
            assert_eq!(receive(&mut frames).await, 5);
            assert_eq!(frames.next_frame(limit()), Ok(None));
            peer.write_all(&[8, 0, 0, 0, 0, 0, 0]).await.unwrap();
            assert_eq!(receive(&mut frames).await, 7);
            assert_eq!(frames.next_frame(limit()), Ok(Some(&[7, 8][..])));
            assert_eq!(frames.next_frame(limit()), Ok(Some(&[][..])));
            assert_eq!(frames.next_frame(limit()), Ok(None));
            drop(peer);
            assert_eq!(receive(&mut frames).await, 0);
        });
    }

    /// Takes every byte at once and passes none on before the second flush, as TLS may.
    #[derive(Default)]
    struct Reluctant {
        flushes: u32,
    }

    impl AsyncRead for Reluctant {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Reluctant {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes < 2 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_the_stream_holds_back_is_not_forgotten() {
        let mut frames = FrameStream::new(Reluctant::default());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        frames.outgoing().extend_from_slice(&[0, 0, 0, 0]);
        assert!(frames.poll_send(&mut cx).is_pending());
        assert_eq!(frames.unsent(), 0);
        assert!(frames.wants_to_send());
        assert!(frames.poll_send(&mut cx).is_ready());
        assert!(!frames.wants_to_send());
    }

    #[test]
    fn everything_that_waits_leaves_in_order() {
        runtime().block_on(async {
            let (peer, ours) = tokio::io::duplex(4);
            let mut sender = FrameStream::new(ours);
            let mut receiver = FrameStream::new(peer);
            sender.outgoing().extend_from_slice(&[0, 0, 0, 5, 1, 2, 3, 4, 5]);
            assert_eq!(sender.unsent(), 9);
            let sending = async {
                poll_fn(|cx| sender.poll_send(cx)).await.unwrap();
                assert_eq!(sender.unsent(), 0);
            };
            let receiving = async {
                while receiver.next_frame(limit()).unwrap().is_none() {
                    receive(&mut receiver).await;
                }
            };
            tokio::join!(sending, receiving);
        });
    }
}
