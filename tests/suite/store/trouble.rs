//! Troubles of a store that cost no line: it fails over, takes rights away, comes back empty, holds
//! rows that nobody can read.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asterscribe_testkit::redis::{Instance, Tls, find};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};
use serde_json::Value;

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_word_for_word, await_answer, await_complete, await_lines,
    get, hang_up, lines, register_leg,
};
use crate::media::forwarder::Forwarder;

fn start() -> Option<Instance> {
    let program = available(find())?;
    Some(Instance::start_with(program, false).unwrap())
}

fn ask<T: redis::FromRedisValue>(redis: &Instance, words: &[&str]) -> T {
    let mut query = redis::cmd(words[0]);
    query.arg(&words[1..]);
    query.query(&mut redis.connection().unwrap()).unwrap()
}

fn await_store(server: &Server, state: &str) -> Value {
    await_answer(server, "/health", |health| {
        health["store"]["state"] == state
    })["store"]
        .clone()
}

fn has(redis: &Instance, key: &str) -> bool {
    let there = || ask::<i64>(redis, &["EXISTS", key]) == 1;
    host::wait_until(host::now() + SOON, there)
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").unwrap().text;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn source(port: u16) -> std::net::SocketAddr {
    ([192, 0, 2, 7], port).into()
}

#[test]
fn a_primary_that_is_demoted_under_a_call_loses_nothing_of_it() {
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    let name = Forwarder::to(first.address());
    let url = format!("redis://{}/", name.address());
    let server = Server::start(BINARY, &[("REDIS_URL", &url)]).unwrap();
    let call = "over-1";
    let conversation = Conversation::register(&server, call);
    std::thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        await_lines(&server, call, 2);
        // The connection stays with the old one, which answers that it is read-only.
        let host_and_port = second.address().port().to_string();
        let () = ask(&first, &["REPLICAOF", "127.0.0.1", &host_and_port]);
        name.lead_to(second.address());
    });
    hang_up(&server, call);
    let transcript = await_complete(&server, call);
    assert_word_for_word(&conversation, &transcript);
    let stored = || {
        let kept: Vec<String> = ask(&second, &["LRANGE", "call:over-1:transcript", "0", "-1"]);
        kept.iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .eq(lines(&transcript).iter().cloned())
    };
    assert!(host::wait_until(host::now() + SOON, stored));
    await_store(&server, "ok");
    assert_eq!(
        metric(&server, "asterscribe_store_writes_given_up_total"),
        0
    );
}

#[test]
fn a_redis_that_comes_back_empty_gets_again_what_is_here() {
    let Some(mut redis) = start() else { return };
    let mut server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    let ended = "ended-1";
    let before = Conversation::register_until(&server, ended, Duration::from_secs(6));
    before.play();
    hang_up(&server, ended);
    let ended_lines = await_complete(&server, ended);
    let call = "through-2";
    let conversation = Conversation::register(&server, call);
    std::thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        let early = await_lines(&server, call, 2).len();
        let arrived = || ask::<usize>(&redis, &["LLEN", "call:through-2:transcript"]) >= early;
        assert!(host::wait_until(host::now() + SOON, arrived));
        redis.restart().unwrap();
        await_lines(&server, call, early + 1);
    });
    hang_up(&server, call);
    let transcript = await_complete(&server, call);
    assert_word_for_word(&conversation, &transcript);
    for key in ["call:ended-1", "call:through-2"] {
        assert!(has(&redis, key), "{key}");
    }
    // Nothing has to be waited for: what is lost in the last moment is written at the end.
    let () = ask(&redis, &["FLUSHALL"]);
    server.restart().unwrap();
    // From now on the store alone serves them.
    for (call, told) in [(ended, &ended_lines), (call, &transcript)] {
        let path = format!("/api/call/{call}/transcript");
        assert_eq!(get(&server, &path), *told);
        assert_eq!(get(&server, &path)["complete"], true);
    }
}

#[test]
fn a_transcript_with_a_hole_is_never_complete() {
    let Some(redis) = start() else { return };
    let mut server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    let call = "hole-1";
    let conversation = Conversation::register(&server, call);
    conversation.play();
    hang_up(&server, call);
    let count = lines(&await_complete(&server, call)).len();
    assert!(count >= 3, "{count}");
    // In memory it is no more.
    server.terminate().unwrap();
    let () = ask(&redis, &["LSET", "call:hole-1:transcript", "1", "{}"]);
    let () = ask(&redis, &["RPOP", "call:hole-1:transcript"]);
    server.restart().unwrap();
    let path = format!("/api/call/{call}/transcript");
    let torn = get(&server, &path);
    assert_eq!(
        (&torn["complete"], &torn["missing"]),
        (&false.into(), &2.into())
    );
    assert_eq!(lines(&torn).len(), count - 2);
    let later = get(&server, &format!("{path}?from_seq={}", count - 1));
    assert_eq!(
        (&later["complete"], lines(&later).len()),
        (&false.into(), 0)
    );
}

#[test]
fn a_write_that_the_store_refuses_is_counted_and_told() {
    let Some(redis) = start() else { return };
    let server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    // Somebody uses the call's key for something else.
    let () = ask(&redis, &["SET", "call:taken-1:transcript", "mine"]);
    let conversation = Conversation::register_until(&server, "taken-1", Duration::from_secs(6));
    conversation.play();
    hang_up(&server, "taken-1");
    let told = await_store(&server, "degraded");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("given up"), "{detail}");
    assert!(metric(&server, "asterscribe_store_writes_given_up_total") > 0);
}

#[test]
fn a_user_that_may_not_write_is_found_at_start_and_later() {
    let Some(redis) = start() else { return };
    let all = [
        "~call:*",
        "~calls:*",
        "~active_calls_count",
        "~total_calls_processed",
    ];
    let set = |rights: &[&str]| {
        let words = [&["ACL", "SETUSER", "app"], rights].concat();
        let () = ask(&redis, &words);
    };
    set(&[&["on", ">sesame", "+@all", "-@write"], &all[..]].concat());
    let url = format!("redis://app:sesame@{}/", redis.address());
    let limit = Duration::from_secs(60);
    let (status, told) = Server::run_to_end(BINARY, &["serve"], &settings(&url), limit).unwrap();
    assert!(!status.success(), "{told}");
    assert!(told.contains("REDIS_URL: "), "{told}");
    assert!(!told.contains("sesame"), "{told}");

    set(&["+@all"]);
    let server = Server::start(BINARY, &[("REDIS_URL", &url)]).unwrap();
    await_store(&server, "ok");
    // Also while there is nothing to be written.
    set(&["-@write"]);
    await_store(&server, "down");
    assert_eq!(
        register_leg(&server, "held-1", "a", source(5000)).status,
        201
    );
    hang_up(&server, "held-1");
    set(&["+@all"]);
    assert!(has(&redis, "call:held-1"));
    await_store(&server, "ok");
    assert_eq!(
        metric(&server, "asterscribe_store_writes_given_up_total"),
        0
    );
}

fn settings(url: &str) -> [(&str, &str); 3] {
    [
        ("REDIS_URL", url),
        ("HTTP_BIND", "127.0.0.1:0"),
        ("RTP_BIND", "127.0.0.1:0"),
    ]
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other_and_keeps_nothing_open() {
    let Some(redis) = start() else { return };
    let mut server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    for (port, call) in [(5000, "good-1"), (5002, "good-2")] {
        assert_eq!(register_leg(&server, call, "a", source(port)).status, 201);
        assert!(has(&redis, &format!("call:{call}")));
    }
    hang_up(&server, "good-1");
    let ended = || {
        let open: Vec<String> = ask(&redis, &["SMEMBERS", "calls:open"]);
        open == ["good-2"]
    };
    assert!(host::wait_until(host::now() + SOON, ended));
    server.kill9().unwrap();
    let good: String = ask(&redis, &["GET", "call:good-2"]);
    let newer = good
        .replace("good-2", "newer")
        .replace("\"media\"", "\"siprec\"");
    let () = ask(&redis, &["SET", "call:newer", &newer]);
    let () = ask(&redis, &["ZADD", "calls:index", "1", "newer"]);
    let () = ask(&redis, &["SADD", "calls:open", "newer"]);
    server.restart().unwrap();
    let settled = |list: &Value| {
        let calls = list["calls"].as_array().unwrap();
        calls.len() == 2 && calls.iter().all(|call| call["status"] != "active")
    };
    let list = await_answer(&server, "/api/calls", settled);
    assert!(list.get("partial").is_none(), "{list}");
    let told = await_store(&server, "ok");
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("1 of its records"),
        "{told}"
    );
    assert_eq!(metric(&server, "asterscribe_store_unreadable_total"), 1);
    let about = |line: &Value| line.to_string().contains("record of call newer");
    assert_eq!(server.log().iter().filter(|line| about(line)).count(), 1);
}

#[test]
fn a_redis_behind_tls_is_a_store_like_any_other() {
    let Some(program) = available(find()) else {
        return;
    };
    let Some(openssl) = host::find_program("openssl") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    make_certificate(&openssl, &key, &certificate);
    let trusted = certificate.clone();
    let redis = Instance::start_tls(program, Tls { certificate, key }).unwrap();
    let url = format!("rediss://localhost:{}/", redis.tls_address().port());
    let trusted = trusted.to_str().unwrap();
    let server = Server::start(BINARY, &[("REDIS_URL", &url), ("SSL_CERT_FILE", trusted)]).unwrap();
    await_store(&server, "ok");
    assert_eq!(
        register_leg(&server, "tls-1", "a", source(5000)).status,
        201
    );
    assert!(has(&redis, "call:tls-1"));
    // One that nobody vouches for is not written to.
    let server = Server::start(BINARY, &[("REDIS_URL", &url)]).unwrap();
    let told = await_store(&server, "down");
    assert!(
        told["detail"].as_str().unwrap().contains("certificate"),
        "{told}"
    );
}

fn make_certificate(openssl: &Path, key: &Path, certificate: &Path) {
    let made = Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    assert!(fs::metadata(certificate).unwrap().len() > 0);
}

#[test]
fn a_database_that_is_deleted_under_the_server_is_noticed() {
    let server = Server::start(BINARY, &[]).unwrap();
    await_store(&server, "ok");
    fs::remove_file(server.dir().join("calls.db")).unwrap();
    let told = await_store(&server, "down");
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("deleted or replaced"),
        "{told}"
    );
}

#[test]
fn a_server_that_is_stopped_leaves_its_database_in_one_file() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    assert_eq!(
        register_leg(&server, "last-1", "a", source(5000)).status,
        201
    );
    assert!(server.terminate().unwrap().expect("it ran").success());
    let files = fs::read_dir(server.dir()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let beside: Vec<String> = names
        .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"))
        .collect();
    assert!(beside.is_empty(), "{beside:?}");
}
