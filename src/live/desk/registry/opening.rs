//! How a call comes into the registry, and how far it is.

use asterscribe_ari::model::AriChannel;

use super::{MediaRun, StoredHistory};
use crate::call::{CallChoices, CallId, CallIdentity, CallOrigin};

/// How a call comes into the book.
#[derive(Debug, Clone)]
pub(crate) struct CallOpening {
    pub(crate) call: CallId,
    /// Asterisk's id of its channel.
    pub(crate) channel: String,
    pub(crate) origin: CallOrigin,
    pub(crate) port: usize,
    pub(crate) caller_number: Option<String>,
    pub(crate) destination: Option<String>,
    pub(crate) channel_name: Option<String>,
    /// The channel that the call is opened for, and the parties.
    pub(crate) identity: CallIdentity,
    /// The channel, where only its linkedid tells whether it is the called party's.
    pub(crate) undecided: Option<Box<AriChannel>>,
    /// Whether it is, as far as that is known.
    pub(crate) is_called: bool,
    /// How it shall be recognised, where somebody said so.
    pub(crate) recognition: CallChoices,
    /// What the store has of it, as far as that is known.
    pub(crate) past: CallPast,
}

/// The past of a call under its id.
#[derive(Debug, Clone)]
pub(crate) enum CallPast {
    /// There was none.
    New,
    /// This.
    Known(Box<StoredHistory>),
    /// The store is still to be asked; nothing is written about the call until then.
    Unknown,
    /// Nothing is written until the call is admitted.
    Unadmitted,
}

/// A call has been entered.
#[derive(Debug)]
pub(crate) struct OpenedCall {
    /// What a media thread must open.
    pub(crate) stint: MediaRun,
    /// What it takes the place of, though nobody had ended it: its media must be hung up.
    pub(crate) replaced: Option<MediaRun>,
}

/// How far a call in the book is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallPhase {
    /// The call goes on.
    Open,
    /// The call is over; its last words are under way.
    Ending,
    /// The call is over and complete.
    Over,
}
