//! The list of calls: page by page, and honest about what it lacks.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeSet;

use asterscribe_testkit::available;
use asterscribe_testkit::redis::{Instance, find};
use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::api::rig::{BINARY, await_answer, await_complete, get, hang_up, register_leg};

fn ids(list: &Value) -> Vec<String> {
    let calls = list["calls"].as_array().unwrap().iter();
    calls
        .map(|call| call["call_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pages_follow_each_other_through_memory_and_store() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let mut expected = Vec::new();
    for n in 0..12 {
        let call = format!("page-{n:02}");
        assert_eq!(
            register_leg(&server, &call, "a", ([192, 0, 2, 7], 5000 + n).into()).status,
            201
        );
        if n < 9 {
            hang_up(&server, &call);
            await_complete(&server, &call);
        }
        if n == 5 {
            server.restart().unwrap();
        }
        expected.insert(0, call);
    }
    for limit in [1, 3, 5, 12, 100] {
        let mut seen = Vec::new();
        let mut path = format!("/api/calls?limit={limit}");
        loop {
            let page = get(&server, &path);
            assert!(ids(&page).len() <= limit, "{page}");
            assert!(page.get("partial").is_none(), "{page}");
            seen.extend(ids(&page));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/api/calls?limit={limit}&before={next}");
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
}

#[test]
fn a_list_without_its_store_says_that_it_is_not_whole() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Instance::start_with(program, true).unwrap();
    let mut server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    for n in 0..3 {
        let call = format!("far-{n}");
        assert_eq!(
            register_leg(&server, &call, "a", ([192, 0, 2, 7], 5000 + n).into()).status,
            201
        );
        hang_up(&server, &call);
        await_complete(&server, &call);
        if n == 1 {
            server.restart().unwrap();
        }
    }
    let whole = get(&server, "/api/calls");
    let all: BTreeSet<_> = ids(&whole).into_iter().collect();
    assert_eq!(all, ["far-0", "far-1", "far-2"].map(str::to_owned).into());
    assert!(whole.get("partial").is_none(), "{whole}");
    redis.kill9().unwrap();
    for path in [
        "/api/calls",
        "/api/calls?limit=1",
        "/api/calls?before=99999999999999_z",
    ] {
        let part = get(&server, path);
        assert_eq!(part["partial"], true, "{path}: {part}");
        assert_eq!(ids(&part), ["far-2"], "{path}");
    }
    redis.restart().unwrap();
    let back = await_answer(&server, "/api/calls", |list| list.get("partial").is_none());
    assert_eq!(back["calls"], whole["calls"]);
}
