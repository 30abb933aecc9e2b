//! Program of a worker process, and how it is started.

use std::ffi::OsString;

use crate::ladder::ContextMargins;

/// The program that is run as a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProgram {
    /// Path of the program, and its arguments.
    pub command: Vec<OsString>,
    /// Whether it runs at the lowest priority, only on time that no other process needs.
    pub in_background: bool,
    /// Margins of the encoder's context; `None`: those measured for the model.
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

    /// The program at the lowest priority.
    #[must_use]
    pub fn in_background(self) -> Self {
        Self {
            in_background: true,
            ..self
        }
    }
}
