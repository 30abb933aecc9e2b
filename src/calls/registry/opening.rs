//! Entry of a call into the registry, and its phases.

use asterscribe_ari::model::AriChannel;
use asterscribe_call::{CallChoices, CallId, CallIdentity, CallOrigin};

use super::{MediaRun, StoredHistory};

/// Parameters of a call that enters the call registry.
#[derive(Debug, Clone)]
pub(crate) struct CallOpening {
    pub(crate) call: CallId,
    /// Asterisk's id of the call's channel.
    pub(crate) channel: String,
    pub(crate) origin: CallOrigin,
    pub(crate) thread: usize,
    pub(crate) caller_number: Option<String>,
    pub(crate) destination: Option<String>,
    pub(crate) channel_name: Option<String>,
    /// Channel that the call is opened for, and the parties.
    pub(crate) identity: CallIdentity,
    /// Channel of which only its linkedid tells whether it is the called party's.
    pub(crate) undecided: Option<Box<AriChannel>>,
    /// Whether the channel is the called party's, as far as that is known.
    pub(crate) is_called: bool,
    /// Choices of how the call is recognised, where somebody made any.
    pub(crate) recognition: CallChoices,
    /// History of the call in the store, as far as that is known.
    pub(crate) past: CallPast,
}

/// The past of a call under its id.
#[derive(Debug, Clone)]
pub(crate) enum CallPast {
    /// The store has nothing under the id.
    New,
    /// The history that the store has.
    Known(Box<StoredHistory>),
    /// The store is still to be asked; nothing is written about the call until then.
    Unknown,
    /// A registered call without a leg: nothing is written until it has one.
    Unadmitted,
}

/// Result of entering a call.
#[derive(Debug)]
pub(crate) struct OpenedCall {
    /// Media run that a media thread must open.
    pub(crate) media_run: MediaRun,
    /// Earlier media run that nobody had ended: its media must be hung up.
    pub(crate) replaced: Option<MediaRun>,
}

/// Phase of a call in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallPhase {
    /// The call goes on.
    Open,
    /// The call is over; its last words are under way.
    Ending,
    /// The call is over and complete.
    Over,
}
