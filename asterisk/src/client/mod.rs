//! The wire: ARI over HTTP, the events websocket, and the task that drives a
//! [`CallControl`](crate::control::CallControl) with both.

mod backoff;
mod http;
mod link;
mod run;
mod socket;
mod tls;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use reqwest::Url;

pub use self::http::AriClient;
pub use self::run::{AriDriver, DriverEnd, EventTap};

/// Where Asterisk is and who we are there.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Base address: `http://127.0.0.1:8088`, with or without `/ari`.
    pub url: String,
    /// User of `ari.conf`.
    pub user: String,
    /// Its password.
    pub password: AriPassword,
    /// Certificates of CAs that are believed beside the system's, in PEM: for `https`.
    pub authorities: Option<Vec<u8>>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take altogether.
    pub request_timeout: Duration,
}

impl ClientConfig {
    /// Settings with the defaults: 3 s to connect, 5 s for a request.
    pub fn new(
        url: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            user: user.into(),
            password: AriPassword(password.into()),
            authorities: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// A password. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AriPassword(String);

impl AriPassword {
    /// The password itself, for the one who sends it.
    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AriPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why settings make no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is none.
    #[error("the ARI address must look like http://127.0.0.1:8088: {0}")]
    Url(&'static str),
    /// The CA's certificate cannot be read.
    #[error("no certificate of a CA in PEM: {0}")]
    Authority(String),
    /// The HTTP client cannot be built.
    #[error("no HTTP client can be had: {0}")]
    Http(String),
}

/// How the connection to Asterisk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Being made.
    Connecting,
    /// Events are heard.
    Connected,
    /// Another process has taken our application over. It is left to that one until it is gone,
    /// or somebody asks to take it back.
    Replaced,
    /// Not to be had now, and why; tried again after a pause.
    Failed(String),
}

/// Something unique per start of the process, for
/// [`ControlConfig::nonce`](crate::control::ControlConfig::nonce).
pub fn fresh_nonce() -> String {
    format!(
        "{:010x}",
        RandomState::new().hash_one("nonce") & 0xff_ffff_ffff
    )
}

/// The address of everything ARI, ending in `/ari`.
fn base_url(text: &str) -> Result<Url, ClientError> {
    let mut url = Url::parse(text.trim()).map_err(|_| ClientError::Url("it cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(ClientError::Url(
            "it must begin with http:// or https:// and name a host",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::Url(
            "user and password have settings of their own",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ClientError::Url("it must end with the path"));
    }
    let path = url.path().trim_end_matches('/');
    let path = if path.ends_with("/ari") {
        path.to_owned()
    } else {
        format!("{path}/ari")
    };
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_alike() {
        for text in [
            "http://127.0.0.1:8088",
            "http://127.0.0.1:8088/",
            "http://127.0.0.1:8088/ari",
            " http://127.0.0.1:8088/ari/ ",
        ] {
            assert_eq!(
                base_url(text).unwrap().as_str(),
                "http://127.0.0.1:8088/ari",
                "{text}"
            );
        }
        assert_eq!(
            base_url("https://pbx.example/voip").unwrap().as_str(),
            "https://pbx.example/voip/ari"
        );
        for bad in [
            "",
            "127.0.0.1:8088",
            "ftp://a",
            "ws://a:1",
            "http://u:secret@a",
            "http://a/?x=1",
            "http://a/#b",
        ] {
            let error = base_url(bad).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{bad}");
        }
    }

    #[test]
    fn the_password_cannot_be_printed() {
        let config = ClientConfig::new("http://a", "user", "secret");
        assert!(!format!("{config:?}").contains("secret"));
        let client = AriClient::new(&config).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn nonces_differ_and_fit_an_id() {
        let (a, b) = (fresh_nonce(), fresh_nonce());
        assert_ne!(a, b);
        assert!(a.len() == 10 && a.bytes().all(|c| c.is_ascii_hexdigit()));
    }
}
