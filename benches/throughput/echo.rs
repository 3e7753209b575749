//! The limit: the node's TLS and frames, and each frame sent back as it came.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use paravon_protocol::FrameLimit;
use paravon_transport::{FrameStream, SCRATCH_BYTES, listen};
use rustls::ServerConfig;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::place::Place;

/// Serves until the process is ended.
pub(crate) fn serve(place: &Place) {
    let config = place.credentials("server").server_config().expect("good certificates");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let loops: Vec<UnboundedSender<TcpStream>> = (0..cores.saturating_sub(1).max(1))
        .map(|_| {
            let (connection, connections) = unbounded_channel();
            let config = config.clone();
            std::thread::spawn(move || event_loop(config, connections));
            connection
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), 128).expect("a port");
        eprintln!("serves clients on {}", listener.local_addr().expect("an address"));
        for next in loops.iter().cycle() {
            let (stream, _) = listener.accept().await.expect("a connection");
            next.send(stream.into_std().expect("a socket")).expect("the loop runs");
        }
    });
}

fn event_loop(config: Arc<ServerConfig>, mut connections: UnboundedReceiver<TcpStream>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let scratch = Rc::new(RefCell::new(vec![0; SCRATCH_BYTES]));
    LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
        while let Some(stream) = connections.recv().await {
            let (config, scratch) = (config.clone(), scratch.clone());
            spawn_local(async move {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                stream.set_nodelay(true)?;
                let mut frames = FrameStream::new(TlsAcceptor::from(config).accept(stream).await?);
                poll_fn(|cx| poll_echo(&mut frames, &scratch, cx)).await
            });
        }
    });
}

/// Sends back whatever comes, all that waits at once; ready at the end of the connection.
fn poll_echo(
    frames: &mut FrameStream<TlsStream<tokio::net::TcpStream>>,
    scratch: &RefCell<Vec<u8>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let limit = FrameLimit::for_values(1 << 20);
    loop {
        if frames.unsent() > 0 && frames.poll_send(cx)?.is_pending() {
            return Poll::Pending;
        }
        let received = std::task::ready!(frames.poll_receive(cx, &mut scratch.borrow_mut()))?;
        if received == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut back = std::mem::take(frames.outgoing());
        while let Some(payload) = frames.next_frame(limit).map_err(io::Error::other)? {
            let length = u32::try_from(payload.len()).expect("below the limit");
            back.extend_from_slice(&length.to_be_bytes());
            back.extend_from_slice(payload);
        }
        *frames.outgoing() = back;
    }
}
