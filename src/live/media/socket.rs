//! The UDP socket of a media thread.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

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
