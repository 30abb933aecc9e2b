//! Authorisation of requests to the API.
//!
//! With a token, a request must present it (RFC 6750 §2.1). Without one the server listens on
//! loopback only (the settings see to that) and must still tell local programs from web pages that
//! happen to be open on this machine: a browser lets any page send simple POSTs to 127.0.0.1, and a
//! name under an attacker's control can be made to resolve to it (DNS rebinding).

use std::net::IpAddr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::door::ConnectionVisit;
use super::error::{ApiProblem, ProblemKind};
use super::rates::RateKey;
use super::{ApiState, ROUTES};
use crate::config::{CorsOrigins, Secret};

/// Digest of the bearer token. Digests are equally long for all tokens, so comparing takes the same
/// time whatever was sent.
#[derive(Clone)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &Secret) -> Self {
        Self(Sha256::digest(token.expose().as_bytes()).into())
    }

    fn matches(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&presented).into()
    }
}

/// How much a request may see; an extension of every request that reaches a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessLevel {
    /// Every route, in full.
    Full,
    /// Open routes only, which answer tersely: the client has presented no token.
    Terse,
}

pub(super) async fn check(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let judged = match &state.token {
        Some(token) => with_token(token, &request),
        None => without_token(&state.cors, &request),
    };
    if let Some(visit) = request.extensions().get::<ConnectionVisit>()
        && let Err(too_many) = in_bounds(&state, visit, &judged, &request)
    {
        return too_many.into_response();
    }
    match judged {
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(problem) if problem.kind == ProblemKind::Unauthorized => challenge(problem, &request),
        Err(problem) => problem.into_response(),
    }
}

/// Whether the client's rate allows this request. Whoever presents the right token is not held back
/// by others at the same address who do not.
fn in_bounds(
    state: &ApiState,
    visit: &ConnectionVisit,
    judged: &Result<AccessLevel, ApiProblem>,
    request: &Request,
) -> Result<(), ApiProblem> {
    let address = visit.party();
    if let Ok(AccessLevel::Full) = judged {
        visit.is_known();
        let client = match &state.token {
            Some(_) => RateKey::Token,
            None => RateKey::Address(address),
        };
        let known = state.rates.known(client);
        return known
            .map_err(|wait| ApiProblem::too_many(wait, "more requests a second than HTTP_RATE"));
    }
    let presented = judged.is_err() && state.token.is_some() && presents_token(request);
    if presented {
        let wrong = state.rates.wrong_token(address);
        wrong.map_err(|wait| {
            ApiProblem::too_many(wait, "more wrong tokens a minute than HTTP_WRONG_TOKENS")
        })?;
    }
    let stranger = state.rates.stranger(address);
    stranger.map_err(|wait| {
        ApiProblem::too_many(
            wait,
            "more requests a second without the token than HTTP_STRANGER_RATE",
        )
    })
}

fn presents_token(request: &Request) -> bool {
    request.headers().contains_key(header::AUTHORIZATION) || has_query_token(request.uri())
}

fn with_token(token: &TokenDigest, request: &Request) -> Result<AccessLevel, ApiProblem> {
    let refused = |detail: &'static str| Err(ApiProblem::new(ProblemKind::Unauthorized, detail));
    if has_query_token(request.uri()) {
        return refused("a token in a URL ends up in logs; send it as Authorization: Bearer");
    }
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) if is_open(request) => Ok(AccessLevel::Terse),
        (None, _) => refused("send the token as Authorization: Bearer"),
        (Some(_), Some(_)) => refused("more than one Authorization header"),
        (Some(value), None) => match bearer(value) {
            Some(presented) if token.matches(presented) => Ok(AccessLevel::Full),
            Some(_) => refused("the token is not the right one"),
            None => refused("the Authorization header is not of the form Bearer TOKEN"),
        },
    }
}

/// RFC 6750 §3: the challenge names an error only if a token was presented.
fn challenge(problem: ApiProblem, request: &Request) -> Response {
    let challenge = match presents_token(request) {
        true => "Bearer realm=\"asterscribe\", error=\"invalid_token\"",
        false => "Bearer realm=\"asterscribe\"",
    };
    let mut response = problem.into_response();
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().split_at_checked("Bearer ".len())?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

fn has_query_token(uri: &Uri) -> bool {
    const NAMES: [&str; 4] = ["access_token", "token", "auth_token", "api_key"];
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| NAMES.contains(&&*name))
}

fn is_open(request: &Request) -> bool {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str);
    ROUTES
        .iter()
        .any(|route| route.open && Some(route.path) == path)
}

fn without_token(cors: &CorsOrigins, request: &Request) -> Result<AccessLevel, ApiProblem> {
    if !is_local_name(request.uri(), request.headers()) {
        let detail = "without API_AUTH_TOKEN the server answers to localhost and IP addresses only";
        return Err(ApiProblem::new(ProblemKind::HostNotAllowed, detail));
    }
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    if !origins.all(|origin| origin.to_str().is_ok_and(|origin| cors.allows(origin))) {
        let detail =
            "web pages are served only if CORS_ORIGINS names their origin, or with API_AUTH_TOKEN";
        return Err(ApiProblem::new(ProblemKind::OriginNotAllowed, detail));
    }
    Ok(AccessLevel::Full)
}

/// Whether every name that the request gives this server is one that cannot be rebound.
fn is_local_name(uri: &Uri, headers: &HeaderMap) -> bool {
    let hosts = headers.get_all(header::HOST).iter();
    let from_headers = hosts.map(|host| Authority::try_from(host.as_bytes()).ok());
    let from_target = uri.authority().cloned().map(Some);
    from_headers
        .chain(from_target)
        .all(|authority| authority.is_some_and(|a| is_local(a.host())))
}

fn is_local(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    literal.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}
