//! How the parts that recognise are spoken to.

use std::path::Path;

use anyhow::{Result, bail};
use asterscribe::speech::model::Model;

use crate::bench::wire::{self, Message, Order, Outcome};

/// Does what the conductor says until it goes.
pub(super) fn obey(mut work: impl FnMut(Order) -> Result<Outcome>) -> Result<()> {
    wire::say(&Message::Ready)?;
    while let Ok(message) = wire::hear() {
        let Message::Recognise(order) = message else {
            bail!("expected an order, not {message:?}");
        };
        wire::say(&Message::Recognised(work(order)?))?;
    }
    Ok(())
}

/// The model of that file, or the demo model.
pub(in crate::bench) fn model(path: Option<&Path>) -> Result<Model> {
    Ok(path.map_or_else(Model::demo, Model::open)?)
}
