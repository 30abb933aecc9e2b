//! The memory that answers hold on their way to clients: bounded over all of them, so that many who read
//! slowly hold no more than a few do. Answers of a few kilobytes are left alone.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::ApiState;
use super::door::ConnectionVisit;
use super::error::{ApiProblem, ProblemKind};

/// Bytes of all large answers together.
const MOST: usize = 32 << 20;

/// A larger answer counts; it is handed on in pieces of that size.
const PIECE: usize = 16 << 10;

/// An answer that has been on its way for so long makes room for another if its client does not take it.
const GRACE: Duration = Duration::from_millis(250);

/// How long an answer waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers that wait for room at once; each is in memory already.
const MOST_WAITING: usize = 16;

/// Answers that may become large which are made at the same time.
const MADE_AT_ONCE: usize = 16;

/// Between two looks for somebody who could make room.
const LOOK: Duration = Duration::from_millis(20);

/// The bytes that large answers hold.
#[derive(Debug)]
pub(super) struct LargeAnswers {
    most: usize,
    patience: Duration,
    held: Mutex<HeldBytes>,
    freed: Notify,
    /// A permit for each that is being made.
    making: Semaphore,
}

#[derive(Debug, Default)]
struct HeldBytes {
    bytes: usize,
    waiting: usize,
    next: u64,
    /// The oldest first.
    holders: BTreeMap<(Instant, u64), Option<ConnectionVisit>>,
}

impl Default for LargeAnswers {
    fn default() -> Self {
        Self::of(MOST, PATIENCE)
    }
}

impl LargeAnswers {
    fn of(most: usize, patience: Duration) -> Self {
        Self {
            most,
            patience,
            held: Mutex::default(),
            freed: Notify::new(),
            making: Semaphore::new(MADE_AT_ONCE),
        }
    }

    /// The turn to make an answer that may become large; `None` if it does not come within the time.
    async fn turn(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let turn = tokio::time::timeout(patience, self.making.acquire());
        turn.await.ok()?.ok()
    }

    /// Room for that many bytes; `None` if there is none within the time.
    async fn room(
        self: &Arc<Self>,
        bytes: usize,
        visit: Option<ConnectionVisit>,
    ) -> Option<AnswerRoom> {
        // One alone may be larger than all together.
        let bytes = bytes.min(self.most);
        if let Some(room) = self.take(bytes, visit.as_ref()) {
            return Some(room);
        }
        let _waiting = self.wait()?;
        let waiting = async {
            loop {
                self.put_out_the_slowest();
                // Nobody may have been slow for long enough yet.
                let _late = tokio::time::timeout(LOOK, self.freed.notified()).await;
                if let Some(room) = self.take(bytes, visit.as_ref()) {
                    return room;
                }
            }
        };
        tokio::time::timeout(self.patience, waiting).await.ok()
    }

    fn take(self: &Arc<Self>, bytes: usize, visit: Option<&ConnectionVisit>) -> Option<AnswerRoom> {
        let mut held = self.held();
        if held.bytes + bytes > self.most {
            return None;
        }
        held.bytes += bytes;
        let key = (clock::now(), held.next);
        held.next += 1;
        held.holders.insert(key, visit.cloned());
        Some(AnswerRoom {
            answers: Arc::clone(self),
            bytes,
            key,
        })
    }

    fn wait(&self) -> Option<WaitingAnswer<'_>> {
        let mut held = self.held();
        let is_bearable = held.waiting < MOST_WAITING;
        is_bearable.then(|| {
            held.waiting += 1;
            WaitingAnswer(self)
        })
    }

    /// The one that began first of those whose clients do not take what is there for them.
    fn put_out_the_slowest(&self) {
        let now = clock::now();
        let held = self.held();
        let old = held
            .holders
            .iter()
            .take_while(|((began, _), _)| *began + GRACE <= now);
        let mut visits = old.filter_map(|(_, visit)| visit.as_ref());
        let _one = visits.any(ConnectionVisit::put_out);
    }

    fn held(&self) -> MutexGuard<'_, HeldBytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WaitingAnswer<'a>(&'a LargeAnswers);

impl Drop for WaitingAnswer<'_> {
    fn drop(&mut self) {
        self.0.held().waiting -= 1;
    }
}

/// Room that an answer has, until it is dropped.
#[derive(Debug)]
struct AnswerRoom {
    answers: Arc<LargeAnswers>,
    bytes: usize,
    key: (Instant, u64),
}

impl Drop for AnswerRoom {
    fn drop(&mut self) {
        let mut held = self.answers.held();
        held.bytes -= self.bytes;
        held.holders.remove(&self.key);
        drop(held);
        self.answers.freed.notify_one();
    }
}

/// Lets an answer go out once there is room for it.
pub(super) async fn in_bounds(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let visit = request.extensions().get::<ConnectionVisit>().cloned();
    let path = request.extensions().get::<MatchedPath>();
    let query = request.uri().query().unwrap_or_default();
    let turn = match may_be_large(path.map(MatchedPath::as_str), query) {
        true => Some(state.answers.turn(state.limits.request_time).await),
        false => None,
    };
    if let Some(None) = turn {
        let detail = "too many large answers are being made";
        return ApiProblem::new(ProblemKind::Busy, detail).into_response();
    }
    let response = next.run(request).await;
    // A body of unknown length is made piece by piece as it goes.
    let length = response.body().size_hint().exact().unwrap_or(0);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length <= PIECE {
        return response;
    }
    let Some(room) = state.answers.room(length, visit).await else {
        let detail = "too many large answers are on their way to clients that take them slowly";
        return ApiProblem::new(ProblemKind::Busy, detail).into_response();
    };
    // Until there was room for what was made.
    drop(turn);
    response.map(|body| {
        Body::new(PiecewiseBody {
            body,
            rest: Bytes::new(),
            left: length as u64,
            _room: room,
        })
    })
}

/// Calls in a list that is short: as many as a list has whose length nobody asked for.
const SHORT: u64 = 100;

/// Whether the answer to a route and its query holds a list that may be long. A short list of calls,
/// whichever page of them, does not wait behind those.
fn may_be_large(route: Option<&str>, query: &str) -> bool {
    match route {
        Some("/api/calls") => {
            let limits = url::form_urlencoded::parse(query.as_bytes())
                .filter(|(name, _)| name == "limit")
                .filter_map(|(_, value)| value.parse::<u64>().ok());
            limits.max().is_some_and(|limit| limit > SHORT)
        }
        Some("/api/call/{id}/transcript") => true,
        _ => false,
    }
}

/// A body in small pieces, each of memory of its own: what is with the socket does not hold the rest.
struct PiecewiseBody {
    body: Body,
    rest: Bytes,
    left: u64,
    _room: AnswerRoom,
}

impl HttpBody for PiecewiseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        let size = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(size);
        self.left = self.left.saturating_sub(size as u64);
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_page_of_calls_is_short_wherever_it_begins() {
        let is_large = |query| may_be_large(Some("/api/calls"), query);
        for short in [
            "",
            "limit=1",
            "limit=100",
            "limit=20&before=x",
            "before=x&limit=20",
            "before=x",
        ] {
            assert!(!is_large(short), "{short}");
        }
        for long in ["limit=101", "before=x&limit=1000", "limit=1&limit=1000"] {
            assert!(is_large(long), "{long}");
        }
        assert!(may_be_large(Some("/api/call/{id}/transcript"), ""));
        assert!(!may_be_large(Some("/health"), "limit=1000"));
    }

    #[tokio::test]
    async fn what_finds_no_room_in_time_gets_none() {
        let answers = Arc::new(LargeAnswers::of(100, LOOK));
        let one = answers.room(60, None).await.unwrap();
        let huge = answers.room(1_000_000, None);
        assert!(huge.await.is_none(), "not beside another");
        drop(one);
        let huge = answers.room(1_000_000, None).await.expect("alone");
        assert_eq!(answers.held().bytes, 100);
        drop(huge);
        assert_eq!(answers.held().bytes, 0);
    }

    #[tokio::test]
    async fn so_many_are_made_at_a_time_and_no_more() {
        let answers = LargeAnswers::default();
        let mut turns = Vec::new();
        for _ in 0..MADE_AT_ONCE {
            turns.push(answers.turn(LOOK).await.expect("there is a turn"));
        }
        assert!(answers.turn(LOOK).await.is_none());
        turns.pop();
        assert!(answers.turn(LOOK).await.is_some());
    }

    #[tokio::test]
    async fn what_is_held_is_bounded_and_given_back() {
        let answers = Arc::new(LargeAnswers::of(100, Duration::from_secs(60)));
        let one = answers.room(60, None).await.unwrap();
        let other = answers.room(40, None).await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| answers.wait().expect("so many may"))
            .collect();
        assert!(answers.room(1, None).await.is_none(), "at once");
        drop(waiting);
        let third = tokio::spawn({
            let answers = Arc::clone(&answers);
            async move { answers.room(60, None).await }
        });
        drop(one);
        let third = third.await.unwrap().expect("there is room now");
        drop((other, third));
        assert_eq!(answers.held().bytes, 0);
        assert!(answers.held().holders.is_empty());
    }
}
