//! Requests over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Response, Url, header, redirect};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

use super::tls::{self, explained};
use super::{AriPassword, ClientConfig, ClientError, base_url};
use crate::control::RequestFailure;
use crate::request::{AriRequest, HttpMethod};

/// Requests under way at once; with the websocket's these are eight connections. Asterisk turns
/// away whoever comes when it has 100 of them, and is not ours alone.
pub(super) const MAX_REQUESTS: usize = 7;
/// How long a connection is kept without a request: below the 15 s after which Asterisk closes
/// it, for a request that is on its way at that moment breaks off.
const IDLE: Duration = Duration::from_secs(10);
/// Longest reply that is read, bytes: some thousand channels.
const MAX_REPLY: usize = 8 << 20;
/// Longest reason that is passed on, characters.
const MAX_REASON: usize = 300;

/// Speaks ARI. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct AriClient {
    http: reqwest::Client,
    /// The HTTP client for the events, which have no end.
    events: reqwest::Client,
    places: Arc<Semaphore>,
    denied: Arc<Notify>,
    base: Url,
    user: String,
    password: AriPassword,
    pub(super) config: ClientConfig,
}

impl AriClient {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError`] for settings that make none.
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let authorities = config.authorities.as_deref();
        let authorities = authorities.map(tls::authorities).transpose()?;
        let build = |limit: Option<Duration>| {
            let builder = reqwest::Client::builder()
                .connect_timeout(config.connect_timeout)
                .tls_certs_merge(authorities.clone().unwrap_or_default())
                .http1_only()
                // A redirection would carry the password elsewhere, and so would a proxy.
                .redirect(redirect::Policy::none())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MAX_REQUESTS)
                .no_proxy();
            let builder = match limit {
                Some(limit) => builder.timeout(limit),
                None => builder,
            };
            builder
                .build()
                .map_err(|error| ClientError::Http(error.to_string()))
        };
        Ok(Self {
            http: build(Some(config.request_timeout))?,
            events: build(None)?,
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
            denied: Arc::default(),
            base: base_url(&config.url)?,
            user: config.user.clone(),
            password: config.password.clone(),
            config: config.clone(),
        })
    }

    /// Sends one request and reads its reply; null where there is no body.
    ///
    /// # Errors
    /// [`RequestFailure`]: refused, not reached or not in time.
    pub async fn execute(&self, request: &AriRequest) -> Result<Value, RequestFailure> {
        let result = self.probe(request).await;
        if let Err(RequestFailure::Refused {
            status: 401 | 403, ..
        }) = &result
        {
            self.denied.notify_one();
        }
        result
    }

    /// Waits until a request is refused because of who asks.
    pub(super) async fn denied(&self) {
        self.denied.notified().await;
    }

    /// Sends a request like [`execute`](Self::execute), and does not tell whether it was denied.
    pub(super) async fn probe(&self, request: &AriRequest) -> Result<Value, RequestFailure> {
        let url = Url::parse(&format!("{}{}", self.base, request.target()))
            .map_err(|_| RequestFailure::Unreachable("the request makes no address".to_owned()))?;
        let method = match request.method() {
            HttpMethod::Get => reqwest::Method::GET,
            HttpMethod::Post => reqwest::Method::POST,
            HttpMethod::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self
            .http
            .request(method, url)
            .basic_auth(&self.user, Some(self.password.reveal()));
        if let Some(body) = request.body() {
            builder = builder.json(&body);
        }
        let place = self.places.acquire().await;
        let mut response = builder.send().await.map_err(failure)?;
        let status = response.status().as_u16();
        let body = read_capped(&mut response).await?;
        drop(place);
        if !response.status().is_success() {
            return Err(RequestFailure::Refused {
                status,
                message: reason(status, &body),
            });
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| RequestFailure::Refused {
            status,
            message: "the answer is not JSON; is this ARI?".to_owned(),
        })
    }

    /// Asks for the events websocket, as RFC 6455 section 4.1 has it.
    pub(super) async fn ask_events(
        &self,
        app: &str,
        key: &str,
    ) -> Result<Response, RequestFailure> {
        let asked = self
            .events
            .get(self.events_url(app))
            .basic_auth(&self.user, Some(self.password.reveal()))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, key);
        asked.send().await.map_err(failure)
    }

    fn events_url(&self, app: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/events", url.path());
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("app", app)
            .append_pair("subscribeAll", "false");
        url
    }
}

impl fmt::Debug for AriClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

async fn read_capped(response: &mut Response) -> Result<Vec<u8>, RequestFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_REPLY {
            return Err(RequestFailure::Unreachable(format!(
                "the answer is longer than {MAX_REPLY} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(error: reqwest::Error) -> RequestFailure {
    if error.is_timeout() {
        return RequestFailure::TimedOut;
    }
    // The outermost text says only that a request failed; the cause is what helps.
    let mut text = error.to_string();
    let error = error.without_url();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    RequestFailure::Unreachable(explained(text))
}

/// ARI explains itself as `{"message": …}`, sometimes `{"error": …}`.
fn reason(status: u16, body: &[u8]) -> String {
    if status == 401 {
        return "wrong user or password".to_owned();
    }
    let told = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| {
            ["message", "error"]
                .iter()
                .find_map(|key| value.get(key)?.as_str().map(str::to_owned))
        });
    match told {
        Some(text) if !text.is_empty() => text.chars().take(MAX_REASON).collect(),
        _ => "no reason given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_address_carries_no_secret() {
        let client =
            AriClient::new(&ClientConfig::new("https://pbx:8089/ari/", "u", "secret")).unwrap();
        assert_eq!(
            client.events_url("my app").as_str(),
            "https://pbx:8089/ari/events?app=my+app&subscribeAll=false"
        );
    }

    #[test]
    fn reasons_are_found_and_bounded() {
        assert_eq!(
            reason(404, br#"{"message":"Channel not found"}"#),
            "Channel not found"
        );
        assert_eq!(
            reason(500, br#"{"error":"Allocation failed"}"#),
            "Allocation failed"
        );
        assert_eq!(reason(500, b"<html>"), "no reason given");
        assert_eq!(reason(401, br#"{"error":"x"}"#), "wrong user or password");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(5000));
        assert_eq!(reason(500, long.as_bytes()).len(), MAX_REASON);
    }
}
