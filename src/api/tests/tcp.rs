//! The accept loop over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::super::{ServeLimits, listen, serve};
use super::fake::{Fake, Mood};
use super::*;

/// Long against what is measured here, short against a hung test.
const HANG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(500);
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Running {
    address: SocketAddr,
    service: Arc<Fake>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(mood: Mood, limits: ServeLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    start_at(listener, mood, limits)
}

fn start_at(listener: TcpListener, mood: Mood, limits: ServeLimits) -> Running {
    let address = listener.local_addr().unwrap();
    let service = Arc::new(Fake::new(mood));
    let router = router(service.clone(), &config());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, router, limits, async move {
        stopped.await.expect("the test says when");
    }));
    Running {
        address,
        service,
        stop,
        task,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        in_time(self.task).await.unwrap();
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("hung")
}

async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = in_time(TcpStream::connect(address)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Bytes that the server sends until it closes the connection; a reset counts as closing.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = in_time(stream.read_to_end(&mut bytes)).await {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn ask(address: SocketAddr, bytes: &[u8]) -> String {
    rest(connect(address, bytes).await).await
}

#[tokio::test]
async fn a_slow_head_is_cut_off_while_an_honest_request_is_served() {
    let server = start(
        Mood::Well,
        ServeLimits {
            header_time: SHORT,
            ..ServeLimits::default()
        },
    )
    .await;
    let silent = connect(server.address, b"").await;
    let slow = connect(server.address, b"GET /health HTTP/1.1\r\nX-Slow: ").await;
    let idle = connect(
        server.address,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    let honest = ask(server.address, HEALTH).await;
    assert!(honest.starts_with("HTTP/1.1 200 OK"), "{honest}");
    assert_eq!(rest(silent).await, "");
    assert!(!rest(slow).await.contains("200 OK"));
    assert!(
        rest(idle).await.starts_with("HTTP/1.1 200 OK"),
        "served, then closed for idling"
    );
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_slot() {
    let limits = ServeLimits {
        header_time: SHORT,
        connections: 2,
        ..ServeLimits::default()
    };
    let server = start(Mood::Well, limits).await;
    let mut hogs = Vec::new();
    for _ in 0..2 {
        hogs.push(connect(server.address, b"GET").await);
    }
    let honest = ask(server.address, HEALTH).await;
    assert!(honest.starts_with("HTTP/1.1 200 OK"), "{honest}");
    server.stop().await;
}

#[tokio::test]
async fn no_more_connections_are_served_at_once_than_the_cap_allows() {
    for (connections, peak) in [(2, 2), (100, 8)] {
        let limits = ServeLimits {
            connections,
            ..ServeLimits::default()
        };
        let server = start(Mood::Linger, limits).await;
        let answers = join_all((0..8).map(|_| ask(server.address, HEALTH))).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.starts_with("HTTP/1.1 200 OK")),
            "{answers:?}"
        );
        assert_eq!(server.service.peak.load(Ordering::SeqCst), peak);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_slot() {
    let limits = ServeLimits {
        write_time: SHORT,
        connections: 1,
        ..ServeLimits::default()
    };
    // Some 20 MB: more than any socket buffer takes.
    let server = start(Mood::Verbose(150_000), limits).await;
    let _not_reading = connect(
        server.address,
        b"GET /api/call/a/transcript HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    in_time(server.service.arrived.acquire())
        .await
        .unwrap()
        .forget();
    let honest = ask(server.address, HEALTH).await;
    assert!(honest.starts_with("HTTP/1.1 200 OK"), "{honest}");
    server.stop().await;
}

#[tokio::test]
async fn many_who_do_not_read_leave_room_for_one_who_does() {
    // Some 2.6 MB each, 60 of them: much more than answers may hold together.
    let server = start_at(
        listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap(),
        Mood::Verbose(20_000),
        ServeLimits::default(),
    );
    let mut not_reading = Vec::new();
    let ask =
        b"GET /api/call/a/transcript HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for _ in 0..60 {
        not_reading.push(connect(server.address, ask).await);
    }
    let honest = async {
        loop {
            let answer = rest(connect(server.address, ask).await).await;
            if answer.ends_with("]}") || answer.contains("\"partials\":[]") {
                return answer;
            }
            assert!(
                answer.contains("503") && answer.contains("urn:asterscribe:problem:busy"),
                "{answer}"
            );
        }
    };
    let answer = in_time(honest).await;
    assert!(answer.contains("\"seq\":19999,"));
    let figures = ask_metrics(server.address).await;
    assert!(figures.contains("{reason=\"memory_needed\"} "), "{figures}");
    assert!(
        !figures.contains("{reason=\"memory_needed\"} 0\n"),
        "{figures}"
    );
    server.stop().await;
}

async fn ask_metrics(address: SocketAddr) -> String {
    ask(
        address,
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await
}

#[tokio::test]
async fn broken_http_gets_an_answer_and_costs_nobody_else_anything() {
    let server = start(Mood::Well, ServeLimits::default()).await;
    let big = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let cases: [(&[u8], &str); 6] = [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            "400",
        ),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", "400"),
        (b"GET /health HTTP/1.1\r\nBad Header: x\r\n\r\n", "400"),
        (
            b"POST /api/call/initiate HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "400",
        ),
        (big.as_bytes(), "431"),
        (many.as_bytes(), "431"),
    ];
    for (bytes, status) in cases {
        let answer = ask(server.address, bytes).await;
        // A reset may overtake the answer to what was not read to its end.
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status}: {answer}"
        );
    }
    assert!(
        ask(server.address, HEALTH)
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
    server.stop().await;
}

#[tokio::test]
async fn shutdown_lets_a_request_under_way_end() {
    let server = start(Mood::Wait(Semaphore::new(0)), ServeLimits::default()).await;
    let pending = connect(server.address, HEALTH).await;
    in_time(server.service.arrived.acquire())
        .await
        .unwrap()
        .forget();
    server.stop.send(()).unwrap();
    let Mood::Wait(gate) = &server.service.mood else {
        unreachable!()
    };
    gate.add_permits(1);
    assert!(rest(pending).await.starts_with("HTTP/1.1 200 OK"));
    in_time(server.task).await.unwrap();
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let limits = ServeLimits {
        drain_time: SHORT,
        ..ServeLimits::default()
    };
    let server = start(Mood::Wait(Semaphore::new(0)), limits).await;
    let pending = connect(server.address, HEALTH).await;
    in_time(server.service.arrived.acquire())
        .await
        .unwrap()
        .forget();
    server.stop().await;
    assert_eq!(rest(pending).await, "");
}
