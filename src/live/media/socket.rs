//! The UDP socket of a media thread.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::play::SendError;

/// Asked of the kernel: it must bridge a stall of the process. 8 MiB hold some
/// 20,000 G.711 datagrams, a stall of 400 ms at 50,000 packets a second.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Binds a non-blocking socket with a large receive buffer.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot bind UDP {address}: {error}"))
    };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(named)?;
    // The kernel clamps silently to net.core.rmem_max and doubles for its own use.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(named)?;
    let granted = socket.recv_buffer_size().map_err(named)? / 2;
    if granted < RECEIVE_BUFFER {
        tracing::warn!(
            granted,
            wanted = RECEIVE_BUFFER,
            "the RTP receive buffer is smaller than asked for; raise net.core.rmem_max"
        );
    }
    socket.bind(&address.into()).map_err(named)?;
    socket.set_nonblocking(true).map_err(named)?;
    Ok(socket.into())
}

/// Sends a datagram now, or not at all.
pub(super) fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) -> Result<(), SendError> {
    let refused = |error: io::Error| SendError::Refused(error.to_string());
    let to = match (socket.local_addr().map_err(refused)?, to.ip()) {
        // A socket of both families knows IPv4 by its mapped addresses only.
        (SocketAddr::V6(_), IpAddr::V4(v4)) => {
            SocketAddr::new(v4.to_ipv6_mapped().into(), to.port())
        }
        _ => to,
    };
    match socket.send_to(datagram, to) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory => {
                SendError::Full
            }
            _ => refused(error),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_both_families_sends_to_either() {
        let socket = bind("[::]:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let ear = UdpSocket::bind(at).unwrap();
            send(&socket, ear.local_addr().unwrap(), b"audio").unwrap();
            let mut buffer = [0; 16];
            let (length, from) = ear.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from.port()), (&b"audio"[..], port));
        }
    }

    #[test]
    fn what_cannot_be_sent_says_so() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = "[::1]:9".parse().unwrap();
        let refused = send(&socket, to, b"audio");
        assert!(matches!(refused, Err(SendError::Refused(_))), "{refused:?}");
    }
}
