//! Signals from the operating system and from people to a running server.

use std::io;
use std::process;
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Time after the first stop signal within which further ones mean the same: supervisors send two,
/// and a terminal sends one to a whole group of which each passes it on.
const SAME: Duration = Duration::from_secs(2);

/// Streams of the signals that the server handles.
pub(crate) struct ServerSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// Meaning of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopWish {
    Stop,
    Reload,
}

/// Consequence of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalDeed {
    /// The server is taken down in order.
    TakeDown,
    /// The server ends now.
    EndAtOnce,
    /// Nothing happens, for the reason given, which is logged.
    Nothing(&'static str),
}

/// Stop signals received so far.
#[derive(Debug, Default)]
struct StopWishes {
    stopping: Option<Instant>,
}

impl StopWishes {
    fn hear(&mut self, wish: StopWish, now: Instant) -> SignalDeed {
        match (wish, self.stopping) {
            (StopWish::Reload, _) => SignalDeed::Nothing(
                "told to reload (SIGHUP): settings are read at start only, so nothing changes; restart the server for them",
            ),
            (StopWish::Stop, None) => {
                self.stopping = Some(now);
                SignalDeed::TakeDown
            }
            (StopWish::Stop, Some(first)) if now.saturating_duration_since(first) < SAME => {
                SignalDeed::Nothing(
                    "told to stop again: it is stopping; once more in a moment ends it at once",
                )
            }
            // Who asks again after a while does not want to wait for anything.
            (StopWish::Stop, Some(_)) => SignalDeed::EndAtOnce,
        }
    }
}

impl ServerSignals {
    /// Begins to receive SIGINT, SIGTERM and SIGHUP.
    pub(crate) fn hear() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> StopWish {
        tokio::select! {
            _ = self.interrupt.recv() => StopWish::Stop,
            _ = self.terminate.recv() => StopWish::Stop,
            _ = self.hang_up.recv() => StopWish::Reload,
        }
    }

    /// Waits for the first signal to stop; later ones are handled in the background.
    pub(crate) async fn told_to_stop(mut self) {
        let mut wishes = StopWishes::default();
        while self.follow(&mut wishes).await != SignalDeed::TakeDown {}
        tokio::spawn(async move {
            loop {
                self.follow(&mut wishes).await;
            }
        });
    }

    async fn follow(&mut self, wishes: &mut StopWishes) -> SignalDeed {
        let wish = self.next().await;
        let deed = wishes.hear(wish, clock::now());
        match deed {
            SignalDeed::TakeDown => {}
            SignalDeed::Nothing(why) => tracing::info!("{why}"),
            SignalDeed::EndAtOnce => {
                tracing::error!(
                    "told to stop again: ending at once, what is not stored yet is lost"
                );
                process::exit(1);
            }
        }
        deed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_to_stop_that_come_together_are_one_and_a_hang_up_changes_nothing() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut wishes = StopWishes::default();
        assert!(matches!(
            wishes.hear(StopWish::Reload, at(0)),
            SignalDeed::Nothing(_)
        ));
        assert_eq!(wishes.hear(StopWish::Stop, at(10)), SignalDeed::TakeDown);
        for ms in [10, 11, 500, 1000, 1900] {
            assert!(
                matches!(wishes.hear(StopWish::Stop, at(ms)), SignalDeed::Nothing(_)),
                "{ms}"
            );
        }
        assert!(matches!(
            wishes.hear(StopWish::Reload, at(5000)),
            SignalDeed::Nothing(_)
        ));
        assert_eq!(wishes.hear(StopWish::Stop, at(5001)), SignalDeed::EndAtOnce);
    }
}
