//! How the parts that recognise are spoken to.

use std::path::Path;

use anyhow::{Result, bail};
use asterscribe_recognition::model::SpeechModel;

use crate::wire::{self, OrderOutcome, PartMessage, SpeechOrder};

/// Does what the conductor says until it goes.
pub(super) fn obey(mut work: impl FnMut(SpeechOrder) -> Result<OrderOutcome>) -> Result<()> {
    wire::say(&PartMessage::Ready)?;
    while let Ok(message) = wire::hear() {
        let PartMessage::Recognise(order) = message else {
            bail!("expected an order, not {message:?}");
        };
        wire::say(&PartMessage::Recognised(work(order)?))?;
    }
    Ok(())
}

/// The model of that file, or the demo model.
pub(crate) fn model(path: Option<&Path>) -> Result<SpeechModel> {
    Ok(path.map_or_else(SpeechModel::demo, SpeechModel::open)?)
}
