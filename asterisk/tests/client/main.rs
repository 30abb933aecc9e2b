//! The client and its driver against a server that speaks just enough HTTP and websocket.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod server;
mod takeover;

use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_ari::client::{
    AriClient, AriDriver, ClientConfig, ConnectionState, DriverEnd, fresh_nonce,
};
use asterscribe_ari::control::{
    CallControl, CallKind, ControlCommand, ControlConfig, ControlNotice, RequestFailure,
};
use asterscribe_ari::request::AriRequest;
use server::{Denial, Server};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

#[expect(
    clippy::disallowed_methods,
    reason = "the clock that the driver is given"
)]
fn clock() -> Instant {
    Instant::now()
}

struct Running {
    commands: mpsc::Sender<ControlCommand>,
    notices: mpsc::Receiver<ControlNotice>,
    state: watch::Receiver<ConnectionState>,
    stop: oneshot::Sender<()>,
    take_back: Arc<Notify>,
    task: JoinHandle<DriverEnd>,
}

fn start(url: &str, password: &str, capacity: usize) -> Running {
    let config = ControlConfig::new(fresh_nonce(), vec!["127.0.0.1:4000".parse().unwrap()]);
    let client = AriClient::new(&ClientConfig::new(url, "user", password)).unwrap();
    let (commands, commands_out) = mpsc::channel(16);
    let (notices_in, notices) = mpsc::channel(capacity);
    let (state_in, state) = watch::channel(ConnectionState::Connecting);
    let (stop, stopped) = oneshot::channel();
    let take_back = Arc::new(Notify::new());
    let driver = AriDriver {
        client,
        app: config.app.clone(),
        control: CallControl::new(config, clock()).unwrap(),
        commands: commands_out,
        notices: notices_in,
        state: state_in,
        take_back: take_back.clone(),
        tap: None,
        clock,
    };
    let task = tokio::spawn(driver.run(async move {
        // A dropped sender stops as well.
        drop(stopped.await);
    }));
    Running {
        commands,
        notices,
        state,
        stop,
        take_back,
        task,
    }
}

impl Running {
    /// Reads notices up to the one wanted.
    async fn wait_for(
        &mut self,
        what: &str,
        wanted: impl Fn(&ControlNotice) -> bool,
    ) -> ControlNotice {
        let search = async {
            loop {
                let notice = self.notices.recv().await.expect("the driver ended");
                if wanted(&notice) {
                    return notice;
                }
            }
        };
        timeout(PATIENCE, search)
            .await
            .unwrap_or_else(|_| panic!("no notice: {what}"))
    }

    async fn wait_for_state(
        &mut self,
        wanted: impl FnMut(&ConnectionState) -> bool,
    ) -> ConnectionState {
        timeout(PATIENCE, self.state.wait_for(wanted))
            .await
            .expect("in time")
            .expect("the driver runs")
            .clone()
    }
}

#[tokio::test]
async fn a_call_comes_up_over_the_wire_and_a_stop_lets_it_go_on() {
    let server = Server::start().await;
    let mut running = start(&server.url(), "secret", 64);
    running
        .wait_for("in agreement", |n| *n == ControlNotice::Synced)
        .await;
    assert_eq!(*running.state.borrow(), ConnectionState::Connected);

    server.with_world(|world| world.incoming("1764000000.12"));
    let opened = running
        .wait_for("opened", |n| matches!(n, ControlNotice::CallOpened { .. }))
        .await;
    assert!(
        matches!(opened, ControlNotice::CallOpened { call, kind: CallKind::Stasis, .. } if call == "1764000000.12")
    );
    running
        .wait_for("source", |n| matches!(n, ControlNotice::MediaSource { .. }))
        .await;
    running
        .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
        .await;

    server.with_world(|world| world.foreign_call("t;2"));
    running
        .commands
        .send(ControlCommand::Tap { call: "t;2".into() })
        .await
        .unwrap();
    for _ in 0..2 {
        running
            .wait_for(
                "tap",
                |n| matches!(n, ControlNotice::MediaUp { call, .. } if call == "t;2"),
            )
            .await;
    }

    running.stop.send(()).unwrap();
    let mut told = Vec::new();
    while let Some(notice) = timeout(PATIENCE, running.notices.recv()).await.unwrap() {
        told.push(notice);
    }
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
    assert_eq!(
        told.iter()
            .filter(|n| matches!(n, ControlNotice::CallEnded { .. }))
            .count(),
        2,
        "{told:?}"
    );
    assert!(told.contains(&ControlNotice::ShutdownComplete));
    server.with_world(|world| {
        assert!(world.is_continued("1764000000.12") && world.exists("t;2"));
        assert_eq!(world.objects("asterscribe-"), Vec::<String>::new());
    });
}

#[tokio::test]
async fn a_broken_connection_is_made_again_and_the_lists_decide() {
    let server = Server::start().await;
    let mut running = start(&server.url(), "secret", 64);
    running
        .wait_for("in agreement", |n| *n == ControlNotice::Synced)
        .await;
    for call in ["c1", "c2"] {
        server.with_world(|world| world.incoming(call));
        running
            .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
            .await;
    }
    server.drop_sockets();
    server.with_world(|world| {
        world.disconnect();
        world.hang_up("c1", 16);
    });
    running
        .wait_for_state(|state| matches!(state, ConnectionState::Failed(_)))
        .await;
    let ended = running
        .wait_for("ended", |n| matches!(n, ControlNotice::CallEnded { .. }))
        .await;
    assert!(matches!(ended, ControlNotice::CallEnded { call, .. } if call == "c1"));
    running
        .wait_for_state(|state| *state == ConnectionState::Connected)
        .await;
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
}

#[tokio::test]
async fn a_full_queue_of_notices_delays_but_loses_nothing() {
    let server = Server::start().await;
    let mut running = start(&server.url(), "secret", 1);
    running
        .wait_for_state(|state| *state == ConnectionState::Connected)
        .await;
    for call in 0..20 {
        server.with_world(|world| world.incoming(&format!("c{call}")));
    }
    for _ in 0..20 {
        running
            .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
            .await;
    }
    drop(running.notices);
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
    server.with_world(|world| assert_eq!(world.objects("asterscribe-"), Vec::<String>::new()));
}

#[tokio::test]
async fn a_request_whose_connection_is_closed_under_it_is_asked_again() {
    for what in [
        "externalMedia",
        "/bridges/",
        "/answer",
        "addChannel",
        "GET /ari/channels ",
    ] {
        let server = Server::start().await;
        server.break_off(what);
        let mut running = start(&server.url(), "secret", 64);
        running
            .wait_for("in agreement", |n| *n == ControlNotice::Synced)
            .await;
        server.with_world(|world| world.incoming("c1"));
        running
            .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
            .await;
        drop(running.stop);
        assert_eq!(running.task.await.unwrap(), DriverEnd::Clean, "{what}");
    }
}

#[tokio::test]
async fn fifty_callers_at_once_take_few_connections() {
    let server = Server::start().await;
    let mut running = start(&server.url(), "secret", 1024);
    running
        .wait_for("in agreement", |n| *n == ControlNotice::Synced)
        .await;
    server.with_world(|world| {
        for call in 0..50 {
            world.incoming(&format!("c{call}"));
        }
    });
    for _ in 0..50 {
        running
            .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
            .await;
    }
    // And the one of the events.
    assert!(
        server.most_connections() <= 9,
        "{}",
        server.most_connections()
    );
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
}

#[tokio::test]
async fn a_wrong_password_is_said_plainly_and_tried_slowly() {
    let server = Server::start().await;
    let mut running = start(&server.url(), "wrong", 8);
    let state = running
        .wait_for_state(|state| matches!(state, ConnectionState::Failed(_)))
        .await;
    assert_eq!(
        state,
        ConnectionState::Failed("Asterisk refuses the ARI user or password".into())
    );
    let client = AriClient::new(&ClientConfig::new(server.url(), "user", "wrong")).unwrap();
    let failure = client.execute(&AriRequest::Ping).await.unwrap_err();
    assert_eq!(
        failure,
        RequestFailure::Refused {
            status: 401,
            message: "wrong user or password".into()
        }
    );
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
    assert_eq!(server.handshakes(), 0, "nothing is registered in vain");
}

#[tokio::test]
async fn a_user_that_may_only_read_is_said_plainly_and_no_caller_comes_to_us() {
    let server = Server::start().await;
    server.deny(Denial::ReadOnly);
    let mut running = start(&server.url(), "secret", 8);
    let state = running
        .wait_for_state(|state| matches!(state, ConnectionState::Failed(_)))
        .await;
    assert!(
        matches!(&state, ConnectionState::Failed(text) if text.contains("may only read")),
        "{state:?}"
    );
    assert_eq!(server.handshakes(), 0, "Stasis() answers FAILED");
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
}

#[tokio::test]
async fn rights_that_are_taken_away_close_the_websocket() {
    for (denial, said) in [
        (Denial::ReadOnly, "may only read"),
        (Denial::Password, "refuses the ARI user or password"),
    ] {
        let server = Server::start().await;
        let mut running = start(&server.url(), "secret", 64);
        running
            .wait_for("in agreement", |n| *n == ControlNotice::Synced)
            .await;
        server.deny(denial);
        server.with_world(|world| world.incoming("c1"));
        let state = running
            .wait_for_state(|state| matches!(state, ConnectionState::Failed(_)))
            .await;
        assert!(
            matches!(&state, ConnectionState::Failed(text) if text.contains(said)),
            "{state:?}"
        );
        assert_eq!(server.handshakes(), 1);
        timeout(PATIENCE, async {
            while server.with_world(|world| world.connected) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the websocket is closed");
        running.task.abort();
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_a_failure_with_a_reason() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{unused}");
    let mut running = start(&url, "secret", 8);
    let state = running
        .wait_for_state(|state| matches!(state, ConnectionState::Failed(_)))
        .await;
    assert!(
        matches!(&state, ConnectionState::Failed(text) if text.contains("refused")),
        "{state:?}"
    );
    let client = AriClient::new(&ClientConfig::new(url, "user", "secret")).unwrap();
    let failure = client.execute(&AriRequest::Ping).await.unwrap_err();
    assert!(
        matches!(&failure, RequestFailure::Unreachable(text) if text.contains("refused")),
        "{failure:?}"
    );
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), DriverEnd::Clean);
}

#[tokio::test]
async fn replies_are_read_as_what_they_are() {
    let server = Server::start().await;
    let client = AriClient::new(&ClientConfig::new(server.url(), "user", "secret")).unwrap();
    assert_eq!(
        client.execute(&AriRequest::Ping).await.unwrap()["ping"],
        "pong"
    );
    let failure = client
        .execute(&AriRequest::GetChannel {
            channel: "a/b".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(
        failure,
        RequestFailure::Refused {
            status: 404,
            message: "Channel not found".into()
        }
    );
    server.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
    let failure = client.execute(&AriRequest::Ping).await.unwrap_err();
    assert_eq!(failure.status(), Some(200));
    server.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    assert!(client.execute(&AriRequest::Ping).await.is_err());
    server.answer_with(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(
        client
            .execute(&AriRequest::Ping)
            .await
            .unwrap_err()
            .status(),
        Some(302),
        "not followed"
    );
    server.answer_with("garbage\r\n\r\n");
    assert!(matches!(
        client.execute(&AriRequest::Ping).await,
        Err(RequestFailure::Unreachable(_))
    ));
}
