//! What recognition's load means for new calls.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Desk;
use crate::recognition::Step;
use crate::service::ServiceError;

/// Time between two looks at the load.
const LOOK: Duration = Duration::from_millis(250);

impl Desk {
    /// Tells Asterisk's side whether new calls are taken, for as long as the server runs.
    pub async fn follow_load(&self) {
        let mut looks = tokio::time::interval(LOOK);
        let mut was_closed = false;
        loop {
            looks.tick().await;
            let closed = self.why_closed();
            if closed.is_some() == was_closed {
                continue;
            }
            was_closed = closed.is_some();
            match &closed {
                Some(reason) => tracing::error!(reason, "no new calls are taken"),
                None => tracing::info!("new calls are taken again"),
            }
            if let Some(ari) = &self.ari {
                ari.admission(closed);
            }
        }
    }

    /// A call that recognition cannot keep up with is better not begun: those that go on
    /// would have their words later still.
    pub(super) fn check_load(&self) -> Result<(), ServiceError> {
        self.why_closed()
            .map_or(Ok(()), |why| Err(ServiceError::Busy(why)))
    }

    fn why_closed(&self) -> Option<String> {
        (self.pool.step() >= Step::Closed).then(|| {
            format!(
                "recognition is {} behind, and takes no new calls until it is less",
                self.behind()
            )
        })
    }

    /// What is given up now, in words.
    pub(super) fn given_up(&self) -> Option<String> {
        let given_up = match self.pool.step() {
            Step::Normal => return None,
            Step::NoPartials => "no partial results",
            Step::Packing => "no partial results, utterances recognised together",
            Step::Closed => "no partial results, utterances recognised together, no new calls",
        };
        Some(format!(
            "recognition is {} behind: {given_up}",
            self.behind()
        ))
    }

    fn behind(&self) -> String {
        let oldest = self.pool.oldest_ms.load(Ordering::Relaxed);
        format!("{}.{} s", oldest / 1000, oldest % 1000 / 100)
    }
}
