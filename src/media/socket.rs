//! The UDP sockets of a media thread, read many datagrams at a time.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::play::SendError;

/// Receive buffer asked of the kernel for a shared socket, bytes: it must bridge a stall of the
/// process. Telephone datagrams take some 870 bytes each there, so 8 MiB, of which the kernel makes
/// twice that, hold 19,000 of them: 480 ms at 40,000 a second.
pub(super) const RECEIVE_BUFFER: usize = 8 << 20;

/// Bytes for each message of a read: the largest UDP payload, so that none is ever cut, and a bit
/// more. Messages a power of two apart would share few lines of the processor's caches.
const STRIDE: usize = 65_536 + 256;

/// A non-blocking socket that counts what the kernel dropped at it.
#[derive(Debug)]
pub(super) struct RtpSocket {
    socket: UdpSocket,
    granted: usize,
    /// The kernel's count of drops since the socket was made, modulo 2³².
    dropped: u32,
}

/// The result of one read of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SocketRead {
    /// Datagrams handed out.
    pub(super) datagrams: usize,
    /// Datagrams that the kernel has dropped before the newest of them, since the read before:
    /// the buffer was full.
    pub(super) dropped: u64,
}

/// Memory for one read.
#[derive(Debug)]
pub(super) struct ReadBatch {
    buffer: Vec<u8>,
}

impl ReadBatch {
    /// Memory for up to `messages` datagrams a read. Pages that no datagram reaches take none.
    pub(super) fn new(messages: usize) -> Self {
        Self {
            buffer: vec![0; messages * STRIDE],
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffer.len() / STRIDE
    }
}

impl RtpSocket {
    /// Binds a socket and asks for `receive_buffer` bytes to hold what arrives between two reads.
    pub(super) fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot bind UDP {address}: {error}"))
        };
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )
        .map_err(named)?;
        let granted = enlarge(&socket, receive_buffer).map_err(named)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(|error| named(error.into()))?;
        socket.bind(&address.into()).map_err(named)?;
        socket.set_nonblocking(true).map_err(named)?;
        Ok(Self {
            socket: socket.into(),
            granted,
            dropped: 0,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Bytes that the kernel holds for the socket; twice that with the kernel's own.
    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// Sends a datagram now, or not at all.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) -> Result<(), SendError> {
        let refused = |error: io::Error| SendError::Refused(error.to_string());
        let to = match (self.socket.local_addr().map_err(refused)?, to.ip()) {
            // A socket of both families knows IPv4 by its mapped addresses only.
            (SocketAddr::V6(_), IpAddr::V4(v4)) => {
                SocketAddr::new(v4.to_ipv6_mapped().into(), to.port())
            }
            _ => to,
        };
        match self.socket.send_to(datagram, to) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::OutOfMemory => SendError::Full,
                _ => refused(error),
            }),
        }
    }

    /// Takes what waits, as far as one read goes, and hands it to `take` in the
    /// order of arrival. Nothing waits if fewer come than `batch` has room for.
    ///
    /// # Errors
    /// The system's; nothing was taken.
    pub(super) fn read(
        &mut self,
        batch: &mut ReadBatch,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<SocketRead> {
        self.read_all(batch, |datagrams| {
            for &(from, bytes) in datagrams {
                take(from, bytes);
            }
        })
    }

    /// Reads what waits, handed over all at once. `take` is not called if nothing waits.
    ///
    /// # Errors
    /// The system's; nothing was taken.
    pub(super) fn read_all(
        &mut self,
        batch: &mut ReadBatch,
        take: impl FnOnce(&[(SocketAddr, &[u8])]),
    ) -> io::Result<SocketRead> {
        let capacity = batch.capacity();
        let mut slots: Vec<[IoSliceMut<'_>; 1]> = batch
            .buffer
            .chunks_exact_mut(STRIDE)
            .map(|slot| [IoSliceMut::new(slot)])
            .collect();
        // Made anew for each read: the kernel writes into it how much room a
        // message's notes took, and the next read would offer no more than that.
        let notes = nix::cmsg_space!(u32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(slots.len(), Some(notes));
        let fd = self.socket.as_raw_fd();
        let received = recvmmsg(fd, &mut headers, &mut slots, MsgFlags::MSG_DONTWAIT, None);
        let messages = match received {
            Ok(messages) => messages,
            // After a signal, what waits is read at the next look.
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(SocketRead::default()),
            Err(error) => return Err(error.into()),
        };
        let (mut count, mut dropped) = (0, self.dropped);
        let mut datagrams = Vec::with_capacity(capacity);
        for message in messages {
            count += 1;
            dropped = drops(&message).unwrap_or(dropped);
            // An empty datagram has no slice.
            let bytes = message.iovs().next().unwrap_or_default();
            if let Some(from) = message.address.as_ref().and_then(address) {
                datagrams.push((from, bytes));
            }
        }
        take(&datagrams);
        let since = dropped.wrapping_sub(self.dropped);
        self.dropped = dropped;
        Ok(SocketRead {
            datagrams: count,
            dropped: since.into(),
        })
    }
}

impl AsFd for RtpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Enlarges the receive buffer, beyond the system's limit if the process may; the result is what
/// was granted, bytes.
fn enlarge(socket: &Socket, wanted: usize) -> io::Result<usize> {
    if setsockopt(socket, sockopt::RcvBufForce, &wanted).is_err() {
        // Clamped silently to net.core.rmem_max.
        socket.set_recv_buffer_size(wanted)?;
    }
    // The kernel doubles it for its own use.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Count of drops that the kernel attached to this message; `None` before the first drop.
fn drops(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<u32> {
    message.cmsgs().ok()?.find_map(|note| match note {
        ControlMessageOwned::RxqOvfl(count) => Some(count),
        _ => None,
    })
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*v4)));
    }
    let v6 = storage.as_sockaddr_in6()?;
    Some(SocketAddr::V6(SocketAddrV6::from(*v6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{DATAGRAM_IN_KERNEL, PACKETS_PER_SECOND, STALL};

    fn bound(receive_buffer: usize) -> (RtpSocket, UdpSocket) {
        let socket = RtpSocket::bind("127.0.0.1:0".parse().unwrap(), receive_buffer).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(socket.local_addr().unwrap()).unwrap();
        (socket, sender)
    }

    /// Reads until nothing is left: lengths in order, and what the kernel dropped.
    fn drain(socket: &mut RtpSocket) -> (Vec<usize>, u64) {
        let mut batch = ReadBatch::new(64);
        let (mut lengths, mut dropped) = (Vec::new(), 0);
        loop {
            let read = socket.read(&mut batch, |_, bytes| lengths.push(bytes.len()));
            let read = read.unwrap();
            dropped += read.dropped;
            if read.datagrams < batch.capacity() {
                return (lengths, dropped);
            }
        }
    }

    #[test]
    fn datagrams_of_every_length_come_whole_and_in_order() {
        let (mut socket, sender) = bound(1 << 20);
        let lengths: Vec<usize> = (0..150).chain([9_000, 0, 65_507, 1]).collect();
        for length in &lengths {
            assert_eq!(sender.send(&vec![7; *length]).unwrap(), *length);
        }
        let mut from = None;
        let first = socket.read(&mut ReadBatch::new(1), |source, bytes| {
            from = Some((source, bytes.len()));
        });
        let one = SocketRead {
            datagrams: 1,
            dropped: 0,
        };
        assert_eq!(first.unwrap(), one);
        assert_eq!(from, Some((sender.local_addr().unwrap(), 0)));
        assert_eq!(drain(&mut socket), (lengths[1..].to_vec(), 0));
        assert_eq!(
            socket.read(&mut ReadBatch::new(1), |_, _| {}).unwrap(),
            SocketRead::default()
        );
    }

    #[test]
    fn what_the_kernel_drops_is_counted_to_the_unit() {
        let (mut socket, sender) = bound(1 << 14);
        let mut accounted = 0;
        for round in 1..=3 {
            for _ in 0..999 {
                sender.send(&[0; 172]).unwrap();
            }
            let (lengths, dropped) = drain(&mut socket);
            accounted += lengths.len() as u64 + dropped;
            // The newest drops are told with the next datagram that finds room.
            sender.send(&[0; 172]).unwrap();
            let (lengths, dropped) = drain(&mut socket);
            accounted += lengths.len() as u64 + dropped;
            assert!(dropped > 0);
            assert_eq!(accounted, round * 1000);
        }
    }

    #[test]
    fn a_stall_overflows_no_buffer_of_the_size_that_it_is_said_to_take() {
        let (mut socket, sender) = bound(RECEIVE_BUFFER);
        // 400 calls of two legs are 40,000 packets a second; fewer, where less was granted.
        let wanted = 400 * PACKETS_PER_SECOND * STALL.as_millis() as usize / 1000;
        let packets = wanted.min(2 * socket.granted() / DATAGRAM_IN_KERNEL);
        for _ in 0..packets {
            sender.send(&[0; 172]).unwrap();
        }
        assert_eq!(drain(&mut socket), (vec![172; packets], 0));
        if packets == wanted {
            asterscribe_testkit::page::assert_row(
                "docs/limits.md",
                "L6",
                &[
                    "nobody reads the socket for 150 ms at 40,000 packets a second, buffer as asked for (8 MiB)",
                    "0 of 6,000 dropped by the kernel",
                ],
            );
        }
    }

    #[test]
    fn a_socket_of_both_families_sends_to_either() {
        let socket = RtpSocket::bind("[::]:0".parse().unwrap(), 1 << 16).unwrap();
        let port = socket.local_addr().unwrap().port();
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let ear = UdpSocket::bind(at).unwrap();
            socket.send(ear.local_addr().unwrap(), b"audio").unwrap();
            let mut buffer = [0; 16];
            let (length, from) = ear.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from.port()), (&b"audio"[..], port));
        }
    }

    #[test]
    fn what_cannot_be_sent_says_so() {
        let (socket, _) = bound(1 << 16);
        let refused = socket.send("[::1]:9".parse().unwrap(), b"audio");
        assert!(matches!(refused, Err(SendError::Refused(_))), "{refused:?}");
    }
}
