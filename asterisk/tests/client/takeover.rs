//! Two servers of one application, over the wire.

use std::time::Duration;

use asterscribe_ari::client::{ConnectionState, DriverEnd};
use asterscribe_ari::control::{ControlCommand, ControlNotice};

use super::server::Server;
use super::{Running, start};

/// Two servers of one application: the second takes over from the first, in whose hands a call was.
async fn overlap(server: &Server) -> (Running, Running) {
    let mut first = start(&server.url(), "secret", 256);
    first
        .wait_for("in agreement", |n| *n == ControlNotice::Synced)
        .await;
    server.with_world(|world| world.incoming("c1"));
    first
        .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
        .await;
    let mut second = start(&server.url(), "secret", 256);
    second
        .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
        .await;
    let ended = first
        .wait_for("given up", |n| matches!(n, ControlNotice::CallEnded { .. }))
        .await;
    assert!(
        matches!(&ended, ControlNotice::CallEnded { text, .. } if text == "another server has taken the application over")
    );
    first
        .wait_for_state(|state| *state == ConnectionState::Replaced)
        .await;
    (first, second)
}

#[tokio::test]
async fn the_replaced_server_stops_without_touching_the_calls_of_the_other() {
    let server = Server::start().await;
    let (first, mut second) = overlap(&server).await;
    let before = server.with_world(|world| world.objects("asterscribe-"));
    assert_eq!(before.len(), 2, "{before:?}");
    drop(first.stop);
    assert_eq!(first.task.await.unwrap(), DriverEnd::Clean);
    server.with_world(|world| {
        assert_eq!(world.objects("asterscribe-"), before);
        assert_eq!(world.in_app().len(), 2);
        world.hang_up("c1", 16);
    });
    second
        .wait_for("ended", |n| matches!(n, ControlNotice::CallEnded { .. }))
        .await;
    assert_eq!(*second.state.borrow(), ConnectionState::Connected);
    assert_eq!(server.handshakes(), 2, "nobody fought back");
    drop(second.stop);
    assert_eq!(second.task.await.unwrap(), DriverEnd::Clean);
}

#[tokio::test]
async fn the_replaced_server_comes_back_once_the_other_is_gone() {
    let server = Server::start().await;
    let (mut first, second) = overlap(&server).await;
    drop(second.stop);
    assert_eq!(second.task.await.unwrap(), DriverEnd::Clean);
    first
        .wait_for_state(|state| *state == ConnectionState::Connected)
        .await;
    drop(first.stop);
    assert_eq!(first.task.await.unwrap(), DriverEnd::Clean);
}

/// The other server is killed while it has calls, which then end.
async fn killed_in_a_call(is_tap: bool) {
    let server = Server::start().await;
    let (mut first, mut second) = overlap(&server).await;
    if is_tap {
        server.with_world(|world| world.foreign_call("t1"));
        let tap = ControlCommand::Tap { call: "t1".into() };
        second.commands.send(tap).await.unwrap();
        for _ in 0..2 {
            second
                .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
                .await;
        }
    }
    second.task.abort();
    drop(second.task.await);
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert_eq!(
        *first.state.borrow(),
        ConnectionState::Replaced,
        "calls last"
    );
    server.with_world(|world| {
        world.hang_up("c1", 16);
        if is_tap {
            world.hang_up("t1", 16);
        }
        assert!(!world.objects("asterscribe-").is_empty(), "left behind");
    });
    first
        .wait_for_state(|state| *state == ConnectionState::Connected)
        .await;
    first
        .wait_for("in agreement", |n| *n == ControlNotice::Synced)
        .await;
    server.with_world(|world| world.incoming("c2"));
    first
        .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
        .await;
    drop(first.stop);
    assert_eq!(first.task.await.unwrap(), DriverEnd::Clean);
    server.with_world(|world| assert_eq!(world.objects("asterscribe-"), Vec::<String>::new()));
}

#[tokio::test]
async fn media_that_a_killed_server_left_keeps_nobody_from_the_application() {
    killed_in_a_call(false).await;
}

#[tokio::test]
async fn media_that_a_killed_server_left_of_a_tap_keeps_nobody_from_the_application() {
    killed_in_a_call(true).await;
}

#[tokio::test]
async fn a_server_that_lives_is_left_alone_though_only_media_is_left_of_its_calls() {
    let server = Server::start().await;
    let (first, second) = overlap(&server).await;
    server.with_world(|world| {
        world.hangs_up_late = true;
        world.hang_up("c1", 16);
    });
    tokio::time::sleep(Duration::from_millis(12_500)).await;
    server.with_world(|world| assert!(!world.objects("asterscribe-").is_empty()));
    assert_eq!(*first.state.borrow(), ConnectionState::Replaced);
    assert_eq!(*second.state.borrow(), ConnectionState::Connected);
    assert_eq!(server.handshakes(), 2, "nobody fought back");
    server.with_world(|world| {
        world.hangs_up_late = false;
        world.hang_ups_done();
    });
    drop((first.stop, second.stop));
    assert_eq!(first.task.await.unwrap(), DriverEnd::Clean);
    assert_eq!(second.task.await.unwrap(), DriverEnd::Clean);
}

#[tokio::test]
async fn a_caller_whose_id_looks_like_media_of_ours_counts_as_a_call() {
    let server = Server::start().await;
    let (first, second) = overlap(&server).await;
    second.task.abort();
    drop(second.task.await);
    let id = "asterscribe-0123456789-5-media";
    server.with_world(|world| {
        world.hang_up("c1", 16);
        world.connected = true;
        world.incoming(id);
        world.disconnect();
    });
    tokio::time::sleep(Duration::from_millis(12_500)).await;
    assert_eq!(*first.state.borrow(), ConnectionState::Replaced);
    server.with_world(|world| assert!(world.exists(id) && !world.is_continued(id)));
    first.task.abort();
}

#[tokio::test]
async fn the_application_is_taken_back_on_request() {
    let server = Server::start().await;
    let (mut first, mut second) = overlap(&server).await;
    first.take_back.notify_one();
    first
        .wait_for("media", |n| matches!(n, ControlNotice::MediaUp { .. }))
        .await;
    second
        .wait_for_state(|state| *state == ConnectionState::Replaced)
        .await;
    drop((first.stop, second.stop));
    assert_eq!(first.task.await.unwrap(), DriverEnd::Clean);
    assert_eq!(second.task.await.unwrap(), DriverEnd::Clean);
}
