use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

fn text(error: &StoreError) -> String {
    format!("{error} {error:?}")
}

#[test]
fn a_malformed_url_is_refused_without_repeating_it() {
    for url in [
        "",
        "sesame",
        "http://:sesame@127.0.0.1",
        "redis://:sesame@",
        "redis://:sesame@127.0.0.1:99999",
        "redis://:sesame@127.0.0.1/sesame",
        "redis://:ses ame@ 127.0.0.1",
        "redis://:sesame@0.0.0.0",
        "redis://u:%ffsesame@127.0.0.1",
        "redis://:sesame@127.0.0.1/?protocol=7",
        "rediss://:sesame@",
    ] {
        let error = RedisStore::new(url, RetentionTimes::default()).expect_err(url);
        assert!(matches!(error, StoreError::Broken(_)), "{url}: {error:?}");
        assert!(!text(&error).contains("sesame"), "{url}: {error}");
    }
}

#[test]
fn tls_is_built_in() {
    let url = "rediss://user:sesame@redis.example:6380/2";
    let store = RedisStore::new(url, RetentionTimes::default()).unwrap();
    assert!(!format!("{store:?}").contains("sesame"));
}

#[tokio::test]
async fn a_redis_that_is_away_is_unavailable_and_its_password_stays_secret() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let store = RedisStore::new(
        &format!("redis://user:sesame@{nobody}/3"),
        RetentionTimes::default(),
    )
    .unwrap();
    assert!(!format!("{store:?} {store:#?}").contains("sesame"));
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!text(&error).contains("sesame"), "{error}");
    assert!(text(&error).contains(&nobody.to_string()), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_unavailable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = RedisStore::new(
        &format!("redis://{}", silent.local_addr().unwrap()),
        RetentionTimes::default(),
    )
    .unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), store.ping())
        .await
        .expect("a bound of its own");
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_no_redis_is_broken() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = RedisStore::new(
        &format!("redis://{}", listener.local_addr().unwrap()),
        RetentionTimes::default(),
    )
    .unwrap();
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let answer = store.ping().await;
    assert!(matches!(answer, Err(StoreError::Broken(_))), "{answer:?}");
}
