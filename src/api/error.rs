//! Errors as RFC 9457 problem documents.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::service::ServiceError;

/// Prefix of every problem's `type`.
const TYPE_PREFIX: &str = "urn:asterscribe:problem:";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $status:ident, $slug:literal, $title:literal;)*) => {
        /// The kinds of problems; each has its own `type`. Documented in `docs/api.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ProblemKind {
            $($(#[$doc])* $kind,)*
        }

        impl ProblemKind {
            /// Every kind of problem, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// HTTP status of the problem.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            /// Last part of the problem's `type`, behind the prefix `urn:asterscribe:problem:`.
            pub fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug,)* }
            }

            /// `title` of the problem document (RFC 9457 §3.1.3).
            pub fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    /// A call id that cannot be one.
    MalformedId: BAD_REQUEST, "malformed-id", "Malformed call id";
    /// A query parameter that is unknown, repeated or no number.
    MalformedQuery: BAD_REQUEST, "malformed-query", "Malformed query";
    /// A body that is no JSON.
    MalformedBody: BAD_REQUEST, "malformed-body", "Malformed body";
    /// Anything else that is wrong with the request's form.
    BadRequest: BAD_REQUEST, "bad-request", "Bad request";
    /// No token, or not the right one.
    Unauthorized: UNAUTHORIZED, "unauthorized", "Token required";
    /// A web page that the server does not serve.
    OriginNotAllowed: FORBIDDEN, "origin-not-allowed", "Origin not allowed";
    /// An address that the server does not send to.
    TargetNotAllowed: FORBIDDEN, "target-not-allowed", "Target not allowed";
    /// A host name that a server without a token does not answer to.
    HostNotAllowed: FORBIDDEN, "host-not-allowed", "Host not allowed";
    /// No call, or no channel, of that id.
    UnknownCall: NOT_FOUND, "unknown-call", "Unknown call";
    /// The call has no capture.
    NoCapture: NOT_FOUND, "no-capture", "No capture";
    /// No such sound file.
    UnknownFile: NOT_FOUND, "unknown-file", "Unknown file";
    /// No such playback.
    UnknownPlayback: NOT_FOUND, "unknown-playback", "Unknown playback";
    /// No such path.
    UnknownRoute: NOT_FOUND, "unknown-route", "Unknown route";
    /// The path exists, but not with that method.
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed";
    /// The body did not arrive in time.
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "Body not received in time";
    /// The state of the call, or of the server, does not allow it.
    Conflict: CONFLICT, "conflict", "Conflict with the present state";
    /// The client has made more requests than its rate allows.
    TooManyRequests: TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    /// The body is too big.
    BodyTooLarge: PAYLOAD_TOO_LARGE, "body-too-large", "Body too large";
    /// The request target is too long.
    UriTooLong: URI_TOO_LONG, "uri-too-long", "URI too long";
    /// The body is not what the route takes, by its own account.
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type";
    /// JSON that does not hold what is asked for.
    InvalidBody: UNPROCESSABLE_ENTITY, "invalid-body", "Invalid body";
    /// Understood, but cannot be done as asked.
    Unprocessable: UNPROCESSABLE_ENTITY, "unprocessable", "Cannot be done as asked";
    /// Too much header.
    HeadersTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "Headers too large";
    /// A fault of this program.
    Internal: INTERNAL_SERVER_ERROR, "internal", "Internal error";
    /// Asterisk said no.
    AsteriskRefused: BAD_GATEWAY, "asterisk-refused", "Asterisk refused";
    /// A bound other than that of calls is reached.
    Busy: SERVICE_UNAVAILABLE, "busy", "Too much at once";
    /// `MAX_CONCURRENT_CALLS` reached.
    AtCapacity: SERVICE_UNAVAILABLE, "at-capacity", "All call places taken";
    /// No port of `RTP_PORTS` is free.
    NoRtpPort: SERVICE_UNAVAILABLE, "no-rtp-port", "No RTP port free";
    /// Asterisk is not configured, or not reachable.
    AsteriskUnavailable: SERVICE_UNAVAILABLE, "asterisk-unavailable", "Asterisk unavailable";
    /// The store does not answer.
    StoreUnavailable: SERVICE_UNAVAILABLE, "store-unavailable", "Store unavailable";
    /// The answer took too long.
    Timeout: GATEWAY_TIMEOUT, "timeout", "No answer in time";
}

/// An error on its way to the client. `finish` gives it its body, because only
/// there the request's path and id are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiProblem {
    /// Kind of the problem, which gives status, `type` and `title`.
    pub kind: ProblemKind,
    /// `detail` of the problem document: what happened, for people (RFC 9457 §3.1.4).
    pub detail: Cow<'static, str>,
    /// Seconds for `Retry-After`, where this problem's differ from those of its kind.
    wait: Option<u64>,
}

/// Problem document as it goes to the client (RFC 9457 §3).
#[derive(Serialize)]
struct ProblemDocument<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    request_id: &'a str,
}

impl ApiProblem {
    /// A problem of that kind. A detail that echoes input is cut to a bounded length.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        const MAX_BYTES: usize = 400;
        let mut detail = detail.into();
        if detail.len() > MAX_BYTES {
            let cut = (0..=MAX_BYTES)
                .rev()
                .find(|end| detail.is_char_boundary(*end))
                .unwrap_or(0);
            detail.to_mut().truncate(cut);
            detail.to_mut().push('…');
        }
        let wait = None;
        Self { kind, detail, wait }
    }

    /// A 429: the client has asked for more than its rate allows, and may go on after `wait`.
    pub(super) fn too_many(wait: Duration, detail: &'static str) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        Self {
            wait: Some(u64::try_from(seconds).unwrap_or(u64::MAX)),
            ..Self::new(ProblemKind::TooManyRequests, detail)
        }
    }

    /// Problem for a response that a library made by itself, by its status.
    pub(super) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                ProblemKind::MethodNotAllowed,
                "this path has other methods, see the Allow header",
            ),
            status if status.is_client_error() => {
                Self::new(ProblemKind::BadRequest, "the request cannot be understood")
            }
            _ => Self::new(ProblemKind::Internal, "the server failed on this request"),
        }
    }

    /// Replaces the body of `response` by the document.
    pub(super) fn write(&self, response: Response, instance: &str, request_id: &str) -> Response {
        let document = ProblemDocument {
            r#type: format!("{TYPE_PREFIX}{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            instance,
            request_id,
        };
        let (mut parts, _) = response.into_parts();
        parts.status = self.kind.status();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        Response::from_parts(parts, Json(document).into_response().into_body())
    }

    fn retry_after(&self) -> Option<u64> {
        self.wait.or(match self.kind {
            // A call lasts minutes; a reconnection is tried every few seconds.
            ProblemKind::AtCapacity => Some(30),
            // Ports that were given back rest for 10 s.
            ProblemKind::NoRtpPort => Some(10),
            ProblemKind::AsteriskUnavailable
            | ProblemKind::StoreUnavailable
            | ProblemKind::Busy => Some(5),
            _ => None,
        })
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(
            self.kind,
            ProblemKind::BodyTimeout | ProblemKind::BodyTooLarge
        ) {
            // The rest of the body is not read, so nothing can follow on this connection.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ServiceError> for ApiProblem {
    fn from(error: ServiceError) -> Self {
        let kind = match &error {
            ServiceError::UnknownCall(_) | ServiceError::UnknownChannel(_) => {
                ProblemKind::UnknownCall
            }
            ServiceError::NoCapture(_) => ProblemKind::NoCapture,
            ServiceError::UnknownFile(_) => ProblemKind::UnknownFile,
            ServiceError::UnknownPlayback(_) => ProblemKind::UnknownPlayback,
            ServiceError::Busy(_) => ProblemKind::Busy,
            ServiceError::Conflict(_) => ProblemKind::Conflict,
            ServiceError::TargetNotAllowed(_) => ProblemKind::TargetNotAllowed,
            ServiceError::Unprocessable(_) => ProblemKind::Unprocessable,
            ServiceError::AtCapacity { .. } => ProblemKind::AtCapacity,
            ServiceError::NoRtpPort(_) => ProblemKind::NoRtpPort,
            ServiceError::AsteriskUnavailable(_) => ProblemKind::AsteriskUnavailable,
            ServiceError::AsteriskRefused(_) => ProblemKind::AsteriskRefused,
            ServiceError::StoreUnavailable(_) => ProblemKind::StoreUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}
