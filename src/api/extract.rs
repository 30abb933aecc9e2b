//! From requests to typed values. Every failure is a [`ApiProblem`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use asterscribe_call::{CallId, ChannelRef};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::ApiState;
use super::door::ConnectionVisit;
use super::error::{ApiProblem, ProblemKind};
use super::limits::body_too_large;

/// The `{id}` of a path.
pub(super) struct CallPath(pub(super) CallId);

impl FromRequestParts<ApiState> for CallPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiProblem> {
        let id = path_text(parts, state)
            .await?
            .parse()
            .map_err(|error| ApiProblem::new(ProblemKind::MalformedId, format!("{error}")))?;
        Ok(Self(id))
    }
}

/// The `{id}` of a path that is a channel's: any id or name that Asterisk may have for it,
/// percent-encoded.
pub(super) struct ChannelPath(pub(super) ChannelRef);

impl FromRequestParts<ApiState> for ChannelPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiProblem> {
        let text = path_text(parts, state).await?;
        let channel = text.parse();
        let channel = channel
            .map_err(|error| ApiProblem::new(ProblemKind::MalformedId, format!("{error}")))?;
        Ok(Self(channel))
    }
}

async fn path_text(parts: &mut Parts, state: &ApiState) -> Result<String, ApiProblem> {
    let text = Path::<String>::from_request_parts(parts, state).await;
    let Path(text) =
        text.map_err(|_| ApiProblem::new(ProblemKind::MalformedId, "the id is not UTF-8"))?;
    Ok(text)
}

/// A whole body, bounded in size and time, with what its headers say about it.
pub(super) struct RawBody {
    headers: HeaderMap,
    bytes: Bytes,
}

impl FromRequest<ApiState> for RawBody {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiProblem> {
        Self::within(state.limits.body, request, state).await
    }
}

fn unreadable(rejection: &BytesRejection, limit: usize) -> ApiProblem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => body_too_large(limit),
        _ => ApiProblem::new(
            ProblemKind::MalformedBody,
            "the body broke off or is wrongly framed",
        ),
    }
}

impl RawBody {
    /// A body of at most `limit` bytes.
    pub(super) async fn within(
        limit: usize,
        mut request: Request,
        state: &ApiState,
    ) -> Result<Self, ApiProblem> {
        DefaultBodyLimit::max(limit).apply(&mut request);
        let headers = request.headers().clone();
        let visit = request.extensions().get::<ConnectionVisit>().cloned();
        // Until it is here, the connection keeps us waiting.
        visit.iter().for_each(ConnectionVisit::waits);
        let read =
            tokio::time::timeout(state.limits.body_time, Bytes::from_request(request, state));
        let read = read.await;
        visit.iter().for_each(ConnectionVisit::goes_on);
        match read {
            Ok(Ok(bytes)) => Ok(Self { headers, bytes }),
            Ok(Err(rejection)) => Err(unreadable(&rejection, limit)),
            Err(_) => {
                let seconds = state.limits.body_time.as_secs();
                Err(ApiProblem::new(
                    ProblemKind::BodyTimeout,
                    format!("the body did not arrive within {seconds} s"),
                ))
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the body is empty, or JSON's `null`.
    pub(super) fn says_nothing(&self) -> bool {
        matches!(self.bytes.trim_ascii(), b"" | b"null")
    }

    /// Media type of the body, without parameters, in lower case.
    ///
    /// # Errors
    /// The body is compressed.
    pub(super) fn media_type(&self) -> Result<String, ApiProblem> {
        if self.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(ApiProblem::new(
                ProblemKind::UnsupportedMediaType,
                "encoded (compressed) bodies are not taken",
            ));
        }
        let declared = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let essence = declared
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        Ok(essence.to_ascii_lowercase())
    }

    /// Bytes of the body.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The JSON object in the body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiProblem> {
        self.check_media_type()?;
        // serde would also take an array with the fields in order; nobody means that.
        if self
            .bytes
            .trim_ascii_start()
            .first()
            .is_some_and(|byte| *byte != b'{')
        {
            return Err(
                match serde_json::from_slice::<serde::de::IgnoredAny>(&self.bytes) {
                    Ok(_) => {
                        ApiProblem::new(ProblemKind::InvalidBody, "the body must be a JSON object")
                    }
                    Err(error) => ApiProblem::new(ProblemKind::MalformedBody, error.to_string()),
                },
            );
        }
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let kind = match error.classify() {
                Category::Data => ProblemKind::InvalidBody,
                Category::Syntax | Category::Eof | Category::Io => ProblemKind::MalformedBody,
            };
            ApiProblem::new(kind, error.to_string())
        })
    }

    fn check_media_type(&self) -> Result<(), ApiProblem> {
        let essence = self.media_type()?;
        let is_json = essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"));
        if is_json {
            Ok(())
        } else {
            Err(ApiProblem::new(
                ProblemKind::UnsupportedMediaType,
                "send Content-Type: application/json",
            ))
        }
    }
}

/// The parameters of a query: only `names`, each at most once.
pub(super) fn query(
    uri: &Uri,
    names: &[&'static str],
) -> Result<BTreeMap<&'static str, String>, ApiProblem> {
    let mut found = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let Some(known) = names.iter().find(|known| **known == name) else {
            let detail = format!("no parameter {name:?} here; there is: {}", names.join(", "));
            return Err(ApiProblem::new(ProblemKind::MalformedQuery, detail));
        };
        if found.insert(*known, value.into_owned()).is_some() {
            return Err(ApiProblem::new(
                ProblemKind::MalformedQuery,
                format!("{known} is given twice"),
            ));
        }
    }
    Ok(found)
}

/// The one number that a query may have.
pub(super) fn query_number(
    uri: &Uri,
    name: &'static str,
    allowed: RangeInclusive<u64>,
    default: u64,
) -> Result<u64, ApiProblem> {
    number(&query(uri, &[name])?, name, allowed, default)
}

/// One number among the parameters of a query.
pub(super) fn number(
    query: &BTreeMap<&'static str, String>,
    name: &'static str,
    allowed: RangeInclusive<u64>,
    default: u64,
) -> Result<u64, ApiProblem> {
    let Some(text) = query.get(name) else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| {
            let detail = format!(
                "{name} must be a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            );
            ApiProblem::new(ProblemKind::MalformedQuery, detail)
        })
}
