//! ARI's wire before the testkit's world: one request per connection, one websocket.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use asterscribe_ari::control::RequestFailure;
use asterscribe_ari::request::{AriRequest, OriginateRequest, SnoopSide};
use asterscribe_ari::testkit::AsteriskWorld;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

/// `user:secret` in a header of Basic authorization, in lower case.
const AUTHORIZATION: &str = "authorization: basic dxnlcjpzzwnyzxq=";

/// Access that the server denies the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// Every request but GET.
    ReadOnly,
    /// Every new request and websocket; one that is open goes on.
    Password,
}

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<AsteriskWorld>,
    changed: Notify,
    dropped: Notify,
    handshakes: AtomicUsize,
    /// Websockets so far.
    sockets: AtomicUsize,
    canned: Mutex<Option<String>>,
    breaks: Mutex<Option<&'static str>>,
    denies: Mutex<Option<Denial>>,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            world: Mutex::new(AsteriskWorld::new("asterscribe")),
            changed: Notify::new(),
            dropped: Notify::new(),
            handshakes: AtomicUsize::new(0),
            sockets: AtomicUsize::new(0),
            canned: Mutex::new(None),
            breaks: Mutex::new(None),
            denies: Mutex::new(None),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn with_world<T>(&self, act: impl FnOnce(&mut AsteriskWorld) -> T) -> T {
        let outcome = act(&mut self.shared.world.lock().unwrap());
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
        outcome
    }

    pub(crate) fn drop_sockets(&self) {
        self.shared.dropped.notify_waiters();
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }

    /// Denies the user something from now on.
    pub(crate) fn deny(&self, denial: Denial) {
        *self.shared.denies.lock().unwrap() = Some(denial);
    }

    /// Closes the connection of the next request whose line contains this, unanswered.
    pub(crate) fn break_off(&self, what: &'static str) {
        *self.shared.breaks.lock().unwrap() = Some(what);
    }

    /// Connections of requests that were open at once, at most.
    pub(crate) fn most_connections(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// Gives these bytes to the next request.
    pub(crate) fn answer_with(&self, bytes: &str) {
        *self.shared.canned.lock().unwrap() = Some(bytes.to_owned());
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(open, Ordering::SeqCst);
    serve_one(stream, shared.clone()).await;
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

async fn serve_one(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = vec![0u8; 8192];
    let text = loop {
        let read = stream.peek(&mut head).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&head[..read]).into_owned();
        if read == 0 {
            return;
        }
        if text.contains("\r\n\r\n") {
            break text;
        }
        tokio::task::yield_now().await;
    };
    let denial = *shared.denies.lock().unwrap();
    let authorized =
        text.to_ascii_lowercase().contains(AUTHORIZATION) && denial != Some(Denial::Password);
    if text.starts_with("GET /ari/events?app=asterscribe&subscribeAll=false ") {
        shared.handshakes.fetch_add(1, Ordering::SeqCst);
        if authorized {
            return events(stream, shared).await;
        }
    } else if text.starts_with("GET /ari/events?app=") {
        return another_application(stream, shared).await;
    }
    let mut taken = vec![0u8; text.find("\r\n\r\n").unwrap() + 4];
    stream.read_exact(&mut taken).await.unwrap();
    let line = text.lines().next().unwrap_or_default();
    let breaks = shared
        .breaks
        .lock()
        .unwrap()
        .take_if(|what| line.contains(*what));
    if breaks.is_some() {
        return;
    }
    let canned = shared.canned.lock().unwrap().take();
    let answer = match canned {
        Some(bytes) => bytes,
        None if !authorized => http(401, "{}"),
        None if denial == Some(Denial::ReadOnly) && !text.starts_with("GET ") => {
            http(403, r#"{"message":"Write access denied"}"#)
        }
        None => carry_out(&text, &shared),
    };
    // The other side may have gone meanwhile.
    drop(stream.write_all(answer.as_bytes()).await);
    drop(stream.shutdown().await);
}

fn carry_out(head: &str, shared: &Shared) -> String {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let request = parse(method, target).unwrap_or_else(|| panic!("{method} {target}"));
    assert_eq!(
        format!("/ari{}", request.target()).len(),
        target.len(),
        "{target}"
    );
    let result = shared.world.lock().unwrap().execute(&request);
    shared.changed.notify_waiters();
    shared.changed.notify_one();
    match result {
        Ok(value) if value.is_null() => http(204, ""),
        Ok(value) => http(200, &value.to_string()),
        Err(RequestFailure::Refused { status, message }) => {
            http(status, &format!(r#"{{"message":"{message}"}}"#))
        }
        Err(other) => panic!("the world only refuses: {other}"),
    }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn another_application(stream: TcpStream, shared: Arc<Shared>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    shared.world.lock().unwrap().another_application();
    while let Some(Ok(_)) = socket.next().await {}
}

async fn events(stream: TcpStream, shared: Arc<Shared>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    shared.world.lock().unwrap().connected = true;
    let number = shared.sockets.fetch_add(1, Ordering::SeqCst) + 1;
    shared.changed.notify_waiters();
    let dropped = shared.dropped.notified();
    let mut dropped = std::pin::pin!(dropped);
    loop {
        // Asterisk tells the former listener, and then nothing more.
        if shared.sockets.load(Ordering::SeqCst) > number {
            let replaced = r#"{"type":"ApplicationReplaced","application":"asterscribe"}"#;
            drop(socket.send(Message::text(replaced)).await);
            while let Some(Ok(_)) = socket.next().await {}
            return;
        }
        while let Some(text) = { shared.world.lock().unwrap().next_event_text() } {
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = shared.changed.notified() => {}
            () = &mut dropped => return,
            message = socket.next() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    let mut world = shared.world.lock().unwrap();
                    if shared.sockets.load(Ordering::SeqCst) == number {
                        world.disconnect();
                    }
                    return;
                }
                Some(Ok(_)) => {}
            },
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Reads back what the client wrote: that the two agree is half of the test.
fn parse(method: &str, target: &str) -> Option<AriRequest> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<String> = path.strip_prefix("/ari/")?.split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, v)| decode(v))
    };
    let channel_source = || {
        value("eventSource").and_then(|source| source.strip_prefix("channel:").map(str::to_owned))
    };
    Some(match (method, segments.as_slice()) {
        ("GET", ["asterisk", "ping"]) => AriRequest::Ping,
        ("GET", ["channels"]) => AriRequest::ListChannels,
        ("GET", ["bridges"]) => AriRequest::ListBridges,
        ("GET", ["applications", app]) => AriRequest::GetApplication { app: (*app).into() },
        ("POST", ["channels", id, "variable"]) => AriRequest::TryWrite {
            channel: (*id).into(),
        },
        ("GET", ["bridges", id]) => AriRequest::GetBridge {
            bridge: (*id).into(),
        },
        ("GET", ["endpoints", technology, resource]) => AriRequest::GetEndpoint {
            technology: (*technology).into(),
            resource: (*resource).into(),
        },
        ("GET", ["channels", id]) => AriRequest::GetChannel {
            channel: (*id).into(),
        },
        ("GET", ["channels", id, "variable"]) => AriRequest::GetVariable {
            channel: (*id).into(),
            variable: value("variable")?,
        },
        ("POST", ["applications", app, "subscription"]) => AriRequest::Subscribe {
            app: (*app).into(),
            channel: channel_source()?,
        },
        ("DELETE", ["applications", app, "subscription"]) => AriRequest::Unsubscribe {
            app: (*app).into(),
            channel: channel_source()?,
        },
        ("POST", ["channels"]) => AriRequest::Originate(OriginateRequest {
            channel: value("channelId")?,
            app: value("app")?,
            endpoint: value("endpoint")?,
            caller_id: value("callerId"),
            formats: value("formats"),
            timeout_s: value("timeout")?.parse().ok()?,
            variables: Vec::new(),
        }),
        ("POST", ["channels", "externalMedia"]) => AriRequest::ExternalMedia {
            channel: value("channelId")?,
            app: value("app")?,
            external_host: value("external_host")?,
            format: value("format")?,
        },
        ("POST", ["events", "claim"]) => AriRequest::Claim {
            app: value("application")?,
            channel: value("channelId")?,
        },
        ("POST", ["channels", id, "answer"]) => AriRequest::Answer {
            channel: (*id).into(),
        },
        ("POST", ["channels", id, "continue"]) => AriRequest::Continue {
            channel: (*id).into(),
        },
        ("POST", ["channels", id, "snoop", snoop]) => AriRequest::Snoop {
            channel: (*id).into(),
            snoop: (*snoop).into(),
            app: value("app")?,
            spy: if value("spy")? == "in" {
                SnoopSide::In
            } else {
                SnoopSide::Out
            },
        },
        ("DELETE", ["channels", id]) => AriRequest::DeleteChannel {
            channel: (*id).into(),
        },
        ("POST", ["bridges", id]) => AriRequest::CreateBridge {
            bridge: (*id).into(),
        },
        ("DELETE", ["bridges", id]) => AriRequest::DeleteBridge {
            bridge: (*id).into(),
        },
        ("POST", ["bridges", id, "addChannel"]) => AriRequest::AddChannel {
            bridge: (*id).into(),
            channels: value("channel")?.split(',').map(str::to_owned).collect(),
        },
        _ => return None,
    })
}
