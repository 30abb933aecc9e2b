//! The REST API: an axum router over [`CallService`], and the loop that serves it.
//!
//! A request passes, from the outside in: `finish` (request id, span, and the
//! one place that writes error bodies), `answers` (the memory that answers take),
//! `limits`, CORS, `access` (token, or the rules for a server without one, and how
//! much a client may ask), the time limit, the handler. Whatever
//! fails, the client sees an RFC 9457 problem document. Connections come in through
//! `door`.

mod answers;
mod auth;
mod capture;
mod door;
mod error;
mod extract;
mod handlers;
mod limits;
mod model;
mod play;
mod rates;
mod register;
mod response;
mod serve;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

pub use self::error::{ApiProblem, ProblemKind};
pub use self::serve::{ServeLimits, listen, serve};

use self::answers::LargeAnswers;
use self::auth::TokenDigest;
use self::rates::{ClockReading, RequestRates};
use self::tally::RefusalTally;
use crate::config::{CorsOrigins, RateLimits, Secret};
use crate::service::CallService;

/// How the API is set up.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The bearer token, if one is required.
    pub token: Option<Secret>,
    /// Web pages that may use the API.
    pub cors: CorsOrigins,
    /// Bounds on requests.
    pub limits: ApiLimits,
}

/// Bounds on one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Body, bytes; beyond it 413.
    pub body: usize,
    /// A sound file as the body of a route that takes one, bytes; beyond it 413.
    pub upload: usize,
    /// Sound files on their way in at the same time; beyond it they wait, then 503.
    pub uploads: usize,
    /// Request target, bytes; beyond it 414.
    pub uri: usize,
    /// All header names and values, bytes; beyond it 431.
    pub headers: usize,
    /// Time for the body to arrive; beyond it 408.
    pub body_time: Duration,
    /// Time for the whole answer; beyond it 504.
    pub request_time: Duration,
    /// How many of them a client may send; beyond it 429.
    pub rates: RateLimits,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            body: 256 * 1024,
            upload: 10 * 1024 * 1024,
            uploads: 4,
            uri: 8 * 1024,
            headers: 32 * 1024,
            body_time: Duration::from_secs(15),
            request_time: Duration::from_secs(30),
            rates: RateLimits::default(),
        }
    }
}

/// One route: the table of them builds the router and the tests.
pub(crate) struct ApiRoute {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Answers, tersely, without a token too.
    pub(crate) open: bool,
    /// Takes sound files as bodies.
    sounds: bool,
    build: RouteBuilder,
}

/// Handler of a route, registered for the method that the table gives.
type RouteBuilder = fn(MethodFilter) -> MethodRouter<ApiState>;

const fn closed(method: Method, path: &'static str, build: RouteBuilder) -> ApiRoute {
    ApiRoute {
        method,
        path,
        open: false,
        sounds: false,
        build,
    }
}

const fn taking_sounds(path: &'static str, build: RouteBuilder) -> ApiRoute {
    ApiRoute {
        method: Method::POST,
        path,
        open: false,
        sounds: true,
        build,
    }
}

const fn open(method: Method, path: &'static str, build: RouteBuilder) -> ApiRoute {
    ApiRoute {
        method,
        path,
        open: true,
        sounds: false,
        build,
    }
}

/// Table of all routes.
pub(crate) const ROUTES: &[ApiRoute] = &[
    open(Method::GET, "/health", |m| on(m, handlers::health)),
    closed(Method::GET, "/metrics", |m| on(m, handlers::metrics)),
    closed(Method::POST, "/api/asterisk/take-back", |m| {
        on(m, handlers::take_back)
    }),
    closed(Method::GET, "/api/model", |m| on(m, model::show)),
    closed(Method::POST, "/api/model", |m| on(m, model::switch)),
    closed(Method::POST, "/api/call/initiate", |m| {
        on(m, handlers::initiate)
    }),
    closed(Method::POST, "/api/call/transcribe", |m| {
        on(m, handlers::transcribe_named)
    }),
    closed(Method::GET, "/api/calls", |m| on(m, handlers::calls)),
    closed(Method::DELETE, "/api/call/{id}", |m| on(m, handlers::erase)),
    closed(Method::GET, "/api/call/{id}/status", |m| {
        on(m, handlers::status)
    }),
    closed(Method::GET, "/api/call/{id}/transcript", |m| {
        on(m, handlers::transcript)
    }),
    closed(Method::POST, "/api/call/{id}/transcribe", |m| {
        on(m, handlers::transcribe)
    }),
    closed(Method::POST, "/api/call/{id}/hangup", |m| {
        on(m, handlers::hangup)
    }),
    closed(Method::POST, "/api/call/{id}/media", |m| {
        on(m, handlers::register_media)
    }),
    closed(Method::POST, "/api/call/{id}/capture", |m| {
        on(m, capture::start)
    }),
    closed(Method::DELETE, "/api/call/{id}/capture", |m| {
        on(m, capture::stop)
    }),
    closed(Method::GET, "/api/call/{id}/capture", |m| {
        on(m, capture::packets)
    }),
    closed(Method::GET, "/api/call/{id}/capture/events", |m| {
        on(m, capture::events)
    }),
    taking_sounds("/api/call/{id}/play", |m| on(m, play::play)),
    closed(Method::DELETE, "/api/call/{id}/play", |m| on(m, play::stop)),
];

/// The state that handlers and middleware share.
#[derive(Clone)]
pub(crate) struct ApiState {
    service: Arc<dyn CallService>,
    token: Option<TokenDigest>,
    cors: Arc<CorsOrigins>,
    limits: ApiLimits,
    /// A permit for each file on its way in.
    uploads: Arc<Semaphore>,
    rates: Arc<RequestRates>,
    /// Counts of refused requests by kind, in the order of [`ProblemKind::ALL`].
    refusals: Arc<RefusalTally>,
    answers: Arc<LargeAnswers>,
}

/// The API over `service`.
pub fn router(service: Arc<dyn CallService>, config: &ApiConfig) -> Router {
    let state = ApiState {
        service,
        token: config.token.as_ref().map(TokenDigest::of),
        cors: Arc::new(config.cors.clone()),
        limits: config.limits,
        uploads: Arc::new(Semaphore::new(config.limits.uploads)),
        rates: Arc::new(RequestRates::new(&config.limits.rates, ClockReading)),
        refusals: RefusalTally::new("refused", ProblemKind::ALL.iter().map(|kind| kind.slug())),
        answers: Arc::default(),
    };
    let mut router = Router::new();
    for route in ROUTES {
        let method = MethodFilter::try_from(route.method.clone())
            .expect("the table has standard methods only");
        router = router.route(route.path, (route.build)(method));
    }
    router = router
        // An empty id at the end of a path is none that the router finds.
        .route("/api/call/", on(MethodFilter::DELETE, handlers::no_id))
        .fallback(handlers::unknown_route)
        .layer(DefaultBodyLimit::max(config.limits.body))
        .layer(from_fn_with_state(state.clone(), limits::in_time))
        .layer(from_fn_with_state(state.clone(), auth::check));
    if let Some(cors) = cors_layer(&config.cors) {
        router = router.layer(cors);
    }
    router
        .layer(from_fn_with_state(state.clone(), limits::in_size))
        .layer(from_fn_with_state(state.clone(), answers::in_bounds))
        .layer(from_fn_with_state(state.clone(), response::finish))
        .with_state(state)
}

/// Name of the header that carries a request's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// CORS layer for the configured origins. Credentials are never allowed: the token travels in a
/// header, which the page must know.
fn cors_layer(origins: &CorsOrigins) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600));
    match origins {
        CorsOrigins::Any => Some(layer.allow_origin(Any)),
        CorsOrigins::List(list) => {
            let values: Vec<_> = list
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok())
                .collect();
            (!values.is_empty()).then(|| layer.allow_origin(AllowOrigin::list(values)))
        }
    }
}
