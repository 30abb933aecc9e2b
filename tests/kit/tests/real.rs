//! The kit against the real programs: what the integration tests rely on.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::path::PathBuf;
use std::time::Duration;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::{available, redis};
use serde_json::json;

fn runs(id: u32) -> bool {
    PathBuf::from(format!("/proc/{id}")).exists()
}

fn asterisk_lives_and_dies(release: Release, version: &str) {
    let Some(root) = available(asterisk::install(release)) else {
        return;
    };
    assert!(
        root.version().unwrap().starts_with(version),
        "{:?}",
        root.version()
    );
    let mut instance = Instance::start(&root, &Options::default()).unwrap();
    let other = Instance::start(&root, &Options::default()).unwrap();
    assert_ne!(instance.http(), other.http());

    // External media and its event: what chan_rtp, res_stasis and the websocket must give.
    let events = instance.events("lab").unwrap();
    let query = [
        ("app", "lab"),
        ("external_host", "127.0.0.1:9"),
        ("format", "ulaw"),
        ("channelId", "em-1"),
    ];
    let body = json!({"variables": {"WHO": "kit"}});
    let media = instance
        .ari_ok("POST", "/channels/externalMedia", &query, Some(&body))
        .unwrap();
    let port: u16 = media["channelvars"]["UNICASTRTP_LOCAL_PORT"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(instance.rtp_ports().contains(&port));
    events
        .wait_for_channel("StasisStart", "em-1", Duration::from_secs(10))
        .unwrap();
    assert!(
        instance
            .cli("core show channels")
            .unwrap()
            .contains("UnicastRTP/")
    );
    assert_eq!(instance.channels().unwrap(), ["em-1"]);
    assert!(other.channels().unwrap().is_empty() && other.bridges().unwrap().is_empty());

    let (first, http) = (instance.id().unwrap(), instance.http());
    instance.kill9().unwrap();
    assert!(!runs(first) && instance.ari("GET", "/asterisk/ping", &[], None).is_err());
    instance.restart().unwrap();
    assert_eq!(instance.http(), http);
    assert!(events.is_closed() && instance.channels().unwrap().is_empty());

    let last = instance.id().unwrap();
    drop(instance);
    assert!(!runs(last));
    assert_eq!(
        other.ari("GET", "/asterisk/ping", &[], None).unwrap().0,
        200
    );
    assert_eq!(
        other.ari("GET", "/channels/none", &[], None).unwrap().0,
        404
    );
}

#[test]
fn asterisk_22_lives_and_dies() {
    asterisk_lives_and_dies(Release::V22, "22.");
}

#[test]
fn asterisk_16_lives_and_dies() {
    asterisk_lives_and_dies(Release::V16, "16.28");
}

#[test]
fn a_dialplan_call_enters_stasis() {
    let Some(root) = available(asterisk::install(Release::V22)) else {
        return;
    };
    let instance = Instance::start(&root, &Options::default()).unwrap();
    let events = instance.events("asterscribe").unwrap();
    let call = [
        ("endpoint", "Local/hold@kit/n"),
        ("context", "kit"),
        ("extension", "stasis"),
        ("priority", "1"),
        ("channelId", "call-1"),
        ("formats", "ulaw"),
    ];
    instance.ari_ok("POST", "/channels", &call, None).unwrap();
    events
        .wait_for_channel("StasisStart", "call-1", Duration::from_secs(10))
        .unwrap();
    instance
        .ari_ok("DELETE", "/channels/call-1", &[], None)
        .unwrap();
    events
        .wait_for_channel("StasisEnd", "call-1", Duration::from_secs(10))
        .unwrap();
}

fn redis_lives_and_dies(program: redis::Program) {
    let mut instance = redis::Instance::start_with(program, true).unwrap();
    let get = |instance: &redis::Instance| {
        ::redis::cmd("GET")
            .arg("key")
            .query(&mut instance.connection()?)
            .map_err(wrap)
    };
    fn wrap(error: ::redis::RedisError) -> asterscribe_testkit::Error {
        asterscribe_testkit::Error::Failed(error.to_string())
    }
    let mut connection = instance.connection().unwrap();
    ::redis::cmd("SET")
        .arg("key")
        .arg("kept")
        .exec(&mut connection)
        .unwrap();

    instance.sigstop().unwrap();
    connection
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        ::redis::cmd("GET")
            .arg("key")
            .query::<String>(&mut connection)
            .unwrap_err()
            .is_timeout()
    );
    instance.sigcont().unwrap();
    assert_eq!(get(&instance).unwrap(), Some("kept".to_owned()));

    instance.kill9().unwrap();
    assert!(get(&instance).is_err());
    let address = instance.address();
    instance.restart().unwrap();
    assert_eq!(
        (instance.address(), get(&instance).unwrap()),
        (address, Some("kept".to_owned()))
    );
    // Stopping a stopped process must not hang.
    instance.sigstop().unwrap();
    instance.stop().unwrap();
}

#[test]
fn redis_as_found_lives_and_dies() {
    let Some(program) = available(redis::find()) else {
        return;
    };
    redis_lives_and_dies(program);
}

#[test]
fn redis_as_unpacked_lives_and_dies() {
    let Some(program) = available(redis::unpack()) else {
        return;
    };
    redis_lives_and_dies(program);
}

#[test]
fn a_redis_that_is_not_persistent_forgets() {
    let Some(program) = available(redis::find()) else {
        return;
    };
    let mut instance = redis::Instance::start_with(program, false).unwrap();
    ::redis::cmd("SET")
        .arg("key")
        .arg("lost")
        .exec(&mut instance.connection().unwrap())
        .unwrap();
    instance.restart().unwrap();
    let found: Option<String> = ::redis::cmd("GET")
        .arg("key")
        .query(&mut instance.connection().unwrap())
        .unwrap();
    assert_eq!(found, None);
}
