//! The accept loop. `axum::serve` has no time-out for headers and no bound on
//! connections; this one has both, closes slow readers too, and puts out for a newcomer whoever
//! only keeps a place.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Sleep;
use tracing::Instrument;

use super::door::{AttendedRouter, ConnectionDoor, ConnectionPresence, ConnectionVisit, DoorEntry};
use super::register::ConnectionBounds;

/// A connection is not put out before it has waited for so long.
const GRACE: Duration = Duration::from_millis(50);

/// Time in which the connection is polled once more before it is put out, since a request may have
/// arrived and not have been read yet.
const LAST_LOOK: Duration = Duration::from_millis(2);

/// Connections that wait to be accepted, as far as the system lets them.
const BACKLOG: u32 = 4096;

/// Bytes of an answer that the system keeps for a client; it takes twice that.
const SEND_BUFFER: u32 = 128 << 10;

/// Answer to a connection whose address has too many others that are being served.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Bounds on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections open at the same time; for more, those are put out that keep the server waiting.
    pub connections: usize,
    /// Connections of one address at most.
    pub per_address: usize,
    /// Time for a request's head to arrive, and for an idle connection to stay.
    pub header_time: Duration,
    /// Time for the client to take more of an answer.
    pub write_time: Duration,
    /// Time that requests under way have to end at shutdown.
    pub drain_time: Duration,
    /// Request line and headers, bytes.
    pub head_bytes: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_address: 512,
            header_time: Duration::from_secs(10),
            write_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
            head_bytes: 64 * 1024,
        }
    }
}

/// Listens for connections: many may arrive at once, and what the system keeps of an answer is bounded.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Connections have it from their listener.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `router` until `shutdown` ends; then takes no more connections, lets
/// requests under way end within `limits.drain_time`, and cuts off the rest.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    shutdown: impl Future<Output = ()>,
) {
    let door = ConnectionDoor::new(ConnectionBounds {
        connections: limits.connections,
        per_address: limits.per_address,
        grace: GRACE,
    });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut backoff = AcceptBackoff::default();
    // Accepted, and not let in yet.
    let mut newcomer: Option<(TcpStream, SocketAddr)> = None;
    let mut wait = None;
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = accept(&listener, &mut backoff), if newcomer.is_none() => {
                newcomer = Some(accepted);
            }
            () = door.changes(wait), if newcomer.is_some() => {}
        }
        let Some((stream, peer)) = newcomer.take() else {
            continue;
        };
        match door.enter(peer.ip()) {
            DoorEntry::In(presence) => {
                let service = AttendedRouter::new(router.clone(), presence.visit.clone());
                let connection = connection(stream, service, &limits);
                let connection = graceful.watch(connection);
                let span = tracing::info_span!("connection", %peer);
                connections.spawn(run(connection, presence).instrument(span));
            }
            DoorEntry::Wait(at_most) => {
                newcomer = Some((stream, peer));
                wait = at_most;
            }
            // Nobody waits for what it says, or for whether it is heard.
            DoorEntry::Refused => drop(stream.try_write(FULL)),
        }
    }
    drop((listener, newcomer));

    if tokio::time::timeout(limits.drain_time, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "requests did not end in time and are cut off"
        );
        connections.abort_all();
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

type HttpConnection = http1::Connection<WriteDeadline<TokioIo<TcpStream>>, AttendedRouter>;

fn connection(stream: TcpStream, service: AttendedRouter, limits: &ServeLimits) -> HttpConnection {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let visit = service.visit().clone();
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_header_size(limits.head_bytes)
        // Also of what is to be written: a client that does not read holds no more than that.
        .max_buf_size(limits.head_bytes.max(8192))
        .serve_connection(
            WriteDeadline::new(TokioIo::new(stream), limits.write_time, visit),
            service,
        )
}

/// One connection, from the first byte to the last; holds its place meanwhile.
async fn run(connection: impl Future<Output = hyper::Result<()>>, presence: ConnectionPresence) {
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => return told(ended),
            () = presence.is_told_to_go() => {}
        }
        // What it has sent may be here, and not have been looked at yet: on a busy machine it is us who are slow.
        tokio::select! {
            biased;
            ended = &mut connection => return told(ended),
            () = tokio::time::sleep(LAST_LOOK) => {}
        }
        if presence.has_to_go() {
            return;
        }
    }
}

fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection made the server panic; this is a fault of the server");
    }
}

/// The next connection. May be dropped at any await.
async fn accept(listener: &TcpListener, backoff: &mut AcceptBackoff) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                *backoff = AcceptBackoff::default();
                return accepted;
            }
            Err(error) if concerns_one_connection(&error) => {
                tracing::debug!(%error, "a connection was lost")
            }
            Err(error) => {
                // Out of file descriptors or memory: spinning would make it worse.
                let pause = backoff.next();
                tracing::error!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Pauses between failed accepts: 10 ms, doubling up to 1 s.
#[derive(Debug, Default)]
struct AcceptBackoff {
    failures: u32,
}

impl AcceptBackoff {
    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(10 << self.failures.min(7)).min(Duration::from_secs(1));
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// Fails a write that makes no progress for too long: hyper itself waits for
/// ever on a client that does not read, and the connection keeps its slot.
struct WriteDeadline<T> {
    io: T,
    patience: Duration,
    /// Visit of the connection, told when a write is stuck and when it goes on.
    visit: ConnectionVisit,
    /// Timer that runs while the last write is stuck.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<T> WriteDeadline<T> {
    fn new(io: T, patience: Duration, visit: ConnectionVisit) -> Self {
        Self {
            io,
            patience,
            visit,
            stuck: None,
        }
    }

    fn watch<R>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            if self.stuck.take().is_some() {
                self.visit.goes_on();
            }
            return outcome;
        }
        let Self {
            patience,
            visit,
            stuck,
            ..
        } = self;
        let stuck = stuck.get_or_insert_with(|| {
            visit.waits();
            Box::pin(tokio::time::sleep(*patience))
        });
        match stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: Read + Unpin> Read for WriteDeadline<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for WriteDeadline<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_and_is_bounded() {
        let mut backoff = AcceptBackoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses[..8], [10, 20, 40, 80, 160, 320, 640, 1000]);
        assert!(pauses[8..].iter().all(|pause| *pause == 1000));
    }

    #[test]
    fn running_out_of_descriptors_is_not_one_connections_matter() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        assert!(!concerns_one_connection(&io::Error::from_raw_os_error(
            EMFILE
        )));
        assert!(concerns_one_connection(&io::Error::from_raw_os_error(
            ECONNABORTED
        )));
    }
}
