//! One durable put after the other, alternating with bare syncs of a written file: what the node adds
//! to the disk. In alternation, because a disk's sync swings by far more than either between runs.

use std::fs::File;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use paravon_protocol::FrameLimit;
use paravon_transport::FrameStream;

use crate::load::{Operation, connect, frame};
use crate::place::Place;

/// Medians of `count` puts and `count` syncs, in microseconds.
pub(crate) fn alternate(place: &Place, address: SocketAddr, count: u64) -> (f64, f64) {
    let file = written_file(place);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut frames = FrameStream::new(connect(place, address).await);
        let (mut puts, mut syncs) = (Vec::new(), Vec::new());
        let mut scratch = vec![0; 4096];
        for number in 0..count {
            let start = Instant::now();
            frame(Operation::Put, number, number, frames.outgoing());
            poll_fn(|cx| frames.poll_send(cx)).await.expect("sent");
            while frames.next_frame(FrameLimit::for_values(4096)).expect("short").is_none() {
                poll_fn(|cx| frames.poll_receive(cx, &mut scratch)).await.expect("received");
            }
            puts.push(start.elapsed());
            let start = Instant::now();
            file.write_all_at(&[7; 192], number * 192).expect("written");
            file.sync_data().expect("synced");
            syncs.push(start.elapsed());
        }
        (median_us(puts), median_us(syncs))
    })
}

fn written_file(place: &Place) -> File {
    let path = place.path().join("synced");
    std::fs::write(&path, vec![0; 1 << 20]).expect("written");
    let file = File::options().write(true).open(path).expect("opened");
    file.sync_all().expect("synced");
    file
}

fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}
