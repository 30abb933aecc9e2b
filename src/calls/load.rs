//! Effect of the overload level on new calls.

use std::sync::atomic::Ordering;
use std::time::Duration;

use asterscribe_call::CallEventKind;
use asterscribe_clock as clock;
use asterscribe_recognition::OverloadStep;

use super::CallManager;
use crate::service::ServiceError;

/// Time between two looks at the load.
const LOOK: Duration = Duration::from_millis(250);

impl CallManager {
    /// Tells Asterisk's side whether new calls are taken, for as long as the server runs.
    pub async fn follow_load(&self) {
        let mut looks = tokio::time::interval(LOOK);
        let mut was_closed = false;
        let mut step = OverloadStep::default();
        loop {
            looks.tick().await;
            let now = self.recognition.pool.step();
            if std::mem::replace(&mut step, now) != now {
                self.tell_step();
            }
            let closed = self.why_closed();
            if closed.is_some() == was_closed {
                continue;
            }
            was_closed = closed.is_some();
            match &closed {
                Some(reason) => tracing::error!(reason, "refusing new calls"),
                None => tracing::info!("accepting new calls again"),
            }
            if let Some(ari) = &self.asterisk.link {
                ari.admission(closed);
            }
        }
    }

    /// Enters the overload level into all calls that go on, so that whoever reads them later sees
    /// what they went without.
    fn tell_step(&self) {
        let text = self.given_up();
        let text = text.unwrap_or_else(|| "recognition keeps up".to_owned());
        let kind = CallEventKind::RecognitionLoad;
        self.registry(|registry| registry.event_of_all(clock::now(), kind, &text));
    }

    /// Refuses a new call while recognition is too far behind: the calls that go on would get their
    /// words later still.
    pub(super) fn check_load(&self) -> Result<(), ServiceError> {
        self.why_closed()
            .map_or(Ok(()), |why| Err(ServiceError::Busy(why)))
    }

    fn why_closed(&self) -> Option<String> {
        (self.recognition.pool.step() >= OverloadStep::Closed).then(|| {
            format!(
                "recognition is {} behind, and takes no new calls until it is less",
                self.behind()
            )
        })
    }

    /// Features that the present overload level gives up, in words; `None` at the normal level.
    pub(super) fn given_up(&self) -> Option<String> {
        let given_up = match self.recognition.pool.step() {
            OverloadStep::Normal => return None,
            OverloadStep::NoPartials => "no partial results",
            OverloadStep::Packing => "no partial results, utterances recognised together",
            OverloadStep::Closed => {
                "no partial results, utterances recognised together, no new calls"
            }
        };
        Some(format!(
            "recognition is {} behind: {given_up}",
            self.behind()
        ))
    }

    fn behind(&self) -> String {
        let oldest = self.recognition.pool.oldest_ms.load(Ordering::Relaxed);
        format!("{}.{} s", oldest / 1000, oldest % 1000 / 100)
    }
}
