//! What the system and persons tell a running server by signals.

use std::io;
use std::process;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use asterscribe::clock;

/// Signals to stop within so long of the first one are the same wish: supervisors send two, a terminal sends
/// one to a whole group of which each passes it on.
const SAME: Duration = Duration::from_secs(2);

/// Every signal that the server hears of, from when it is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Stop,
    Reload,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// The server is taken down in order.
    TakeDown,
    /// It ends now.
    EndAtOnce,
    /// Nothing, and that is said.
    Nothing(&'static str),
}

/// What has been wished for so far.
#[derive(Debug, Default)]
struct Wishes {
    stopping: Option<Instant>,
}

impl Wishes {
    fn hear(&mut self, wish: Wish, now: Instant) -> Deed {
        match (wish, self.stopping) {
            (Wish::Reload, _) => Deed::Nothing(
                "told to reload (SIGHUP): settings are read at start only, so nothing changes; restart the server for them",
            ),
            (Wish::Stop, None) => {
                self.stopping = Some(now);
                Deed::TakeDown
            }
            (Wish::Stop, Some(first)) if now.saturating_duration_since(first) < SAME => {
                Deed::Nothing(
                    "told to stop again: it is stopping; once more in a moment ends it at once",
                )
            }
            // Who asks again after a while does not want to wait for anything.
            (Wish::Stop, Some(_)) => Deed::EndAtOnce,
        }
    }
}

impl Signals {
    /// Hears of every SIGINT, SIGTERM and SIGHUP from now on.
    pub(crate) fn hear() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }

    /// Ends when the server is to be taken down; what is heard after that is heard in the background.
    pub(crate) async fn told_to_stop(mut self) {
        let mut wishes = Wishes::default();
        while self.follow(&mut wishes).await != Deed::TakeDown {}
        tokio::spawn(async move {
            loop {
                self.follow(&mut wishes).await;
            }
        });
    }

    async fn follow(&mut self, wishes: &mut Wishes) -> Deed {
        let wish = self.next().await;
        let deed = wishes.hear(wish, clock::now());
        match deed {
            Deed::TakeDown => {}
            Deed::Nothing(why) => tracing::info!("{why}"),
            Deed::EndAtOnce => {
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
        let mut wishes = Wishes::default();
        assert!(matches!(wishes.hear(Wish::Reload, at(0)), Deed::Nothing(_)));
        assert_eq!(wishes.hear(Wish::Stop, at(10)), Deed::TakeDown);
        for ms in [10, 11, 500, 1000, 1900] {
            assert!(
                matches!(wishes.hear(Wish::Stop, at(ms)), Deed::Nothing(_)),
                "{ms}"
            );
        }
        assert!(matches!(
            wishes.hear(Wish::Reload, at(5000)),
            Deed::Nothing(_)
        ));
        assert_eq!(wishes.hear(Wish::Stop, at(5001)), Deed::EndAtOnce);
    }
}
