//! The least that a receiver can do: the media threads' socket, tick and
//! batched read, and nothing but a count.

use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::server::{TICK, await_all};
use super::wire::{self, PartMessage, ReceivedCount};

/// Receive buffer asked of the kernel, bytes: as much as the media threads ask for.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Datagrams taken by one read.
const BATCH: usize = 64;

/// Room for one datagram; the generator's are shorter.
const DATAGRAM: usize = 2_048;

/// Counts until it is told how many there were.
pub(super) fn run() -> Result<()> {
    wire::say(&PartMessage::Ready)?;
    let PartMessage::Sources(_) = wire::hear()? else {
        bail!("expected the sources");
    };
    let socket = bind()?;
    let address = socket.local_addr()?.as_socket();
    let port = address.map_or(0, |address| address.port());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    // It ends with the process: there is nothing to be put in order.
    thread::Builder::new().spawn(move || receive(&socket, &counted))?;
    wire::say(&PartMessage::Targets(vec![port]))?;
    let PartMessage::Sent(sent) = wire::hear()? else {
        bail!("expected what was sent");
    };
    let datagrams = await_all(&sent, || count.load(Ordering::Relaxed));
    wire::say(&PartMessage::Received(ReceivedCount {
        datagrams,
        ..ReceivedCount::default()
    }))
}

fn bind() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

fn receive(socket: &Socket, count: &AtomicU64) {
    let mut memory = vec![0; BATCH * DATAGRAM];
    loop {
        match read(socket, &mut memory) {
            Ok(read) => {
                count.fetch_add(read as u64, Ordering::Relaxed);
                if read == BATCH {
                    continue;
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The count stays short, which disqualifies the round.
            Err(_) => return,
        }
        thread::sleep(TICK);
    }
}

/// One batched read; the result is how many datagrams it took.
fn read(socket: &Socket, memory: &mut [u8]) -> nix::Result<usize> {
    let mut slots: Vec<_> = memory
        .chunks_exact_mut(DATAGRAM)
        .map(|slot| [IoSliceMut::new(slot)])
        .collect();
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let fd = socket.as_raw_fd();
    let messages = recvmmsg(fd, &mut headers, &mut slots, MsgFlags::MSG_DONTWAIT, None)?;
    Ok(messages.count())
}
