//! What a worker process runs.

use std::ffi::OsString;

use crate::speech::ladder::ContextMargins;

/// The program that is run as a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProgram {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Whether it gets only the time that nobody else needs.
    pub in_background: bool,
    /// Contexts that it tries; `None`: those that were measured for the model.
    pub margins: Option<ContextMargins>,
}

impl WorkerProgram {
    /// This very program, also when its file has been replaced meanwhile.
    pub fn this() -> Self {
        let command = ["/proc/self/exe", "recognise"].map(OsString::from);
        Self {
            command: command.into(),
            in_background: false,
            margins: None,
        }
    }

    /// The program, with only the time that nobody else needs.
    #[must_use]
    pub fn in_background(self) -> Self {
        Self {
            in_background: true,
            ..self
        }
    }
}
