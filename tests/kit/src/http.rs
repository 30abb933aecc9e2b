//! Plain HTTP requests to loopback servers, answers of any status included.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Request;

use crate::{Error, Result};

/// Longest wait for an answer; loopback servers that need longer hang.
const LIMIT: Duration = Duration::from_secs(15);

/// Largest body of an answer, bytes: a capture of a test's call is smaller.
const MAX_BODY: u64 = 64 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers by lower-case name; of repeated ones the last.
    pub headers: BTreeMap<String, String>,
    /// Body, as it came.
    pub bytes: Vec<u8>,
    /// Body as text, invalid UTF-8 replaced.
    pub text: String,
}

impl Response {
    /// Body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

/// A client that keeps connections open between requests.
#[derive(Debug, Clone)]
pub(crate) struct Client(ureq::Agent);

impl Client {
    pub(crate) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT))
            .proxy(None);
        // Servers here are killed and restarted; an idle connection would outlive them.
        Self(config.max_idle_connections(0).build().into())
    }

    /// Sends a request; any status is an answer, only the lack of one is an error.
    pub(crate) fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Response> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused =
            |error: &dyn std::fmt::Display| Error::Failed(format!("{method} {url}: {error}"));
        let answer = match body {
            Some(body) => self.0.run(
                request
                    .body(body.to_owned())
                    .map_err(|error| refused(&error))?,
            ),
            None => self
                .0
                .run(request.body(()).map_err(|error| refused(&error))?),
        };
        let mut answer = answer.map_err(|error| refused(&error))?;
        let headers = answer.headers().iter().map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let headers = headers.collect();
        let bytes = answer
            .body_mut()
            .with_config()
            .limit(MAX_BODY)
            .read_to_vec()
            .map_err(|error| refused(&error))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Response {
            status: answer.status().as_u16(),
            headers,
            bytes,
            text,
        })
    }
}

/// Escapes one value of a query string (RFC 3986 section 2.3).
pub(crate) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escape("Local/talk@kit/n"), "Local%2Ftalk%40kit%2Fn");
        assert_eq!(escape("a-b_c.~ü"), "a-b_c.~%C3%BC");
    }
}
