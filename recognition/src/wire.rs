//! Protocol between the server and a recognition worker, over one socket.
//!
//! A message is its header's length (32 bits, native order: both ends are one
//! program on one machine), the header as JSON, and, behind a job's, the samples.
//! The samples go from the utterance into the socket and from the socket into
//! the worker's buffer, with no copy of ours between.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use asterscribe_speech::{DecodeOptions, Recognition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ladder::ContextMargins;
use crate::model::FileIdentity;

/// A header is some hundred bytes; one beyond this is no header.
const MAX_HEADER: usize = 1 << 20;

/// An order to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum WorkerOrder {
    /// Load the model and become ready; the first message, sent once.
    Start(WorkerStart),
    /// Recognise the utterances whose samples follow, one behind the other.
    Jobs(Vec<JobOrder>),
}

/// One utterance of those that are to be recognised together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobOrder {
    /// Number that comes back with the answer.
    pub(super) id: u64,
    /// Number of samples.
    pub(super) samples: usize,
    /// Options of decoding.
    pub(super) choices: DecodeOptions,
}

/// Settings of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStart {
    /// Place of the model.
    pub model: ModelPlace,
    /// SHA-256 of the model, as the server checked it.
    pub sha256: String,
    /// Margins of the encoder's context; `None`: those measured for the model.
    pub margins: Option<ContextMargins>,
    /// Number of threads, each recognising one job at a time.
    pub threads: usize,
    /// Whether it runs at the lowest priority.
    pub in_background: bool,
}

/// Where a worker finds its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelPlace {
    /// The demo model, built into the program.
    BuiltIn,
    /// A file that the worker inherits open.
    File {
        /// Name of the file, for messages.
        name: String,
    },
    /// A folder, whose files must be those that the server checked.
    Folder {
        /// Name of the folder, for messages.
        name: String,
        /// Path of the folder.
        path: PathBuf,
        /// Identities of the files that were checked.
        files: Vec<FileIdentity>,
    },
}

/// A report of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum WorkerReport {
    /// The model is loaded.
    Ready,
    /// The model cannot be loaded; nothing follows.
    Refused(String),
    /// A job is done, with words or with an error.
    Done {
        /// Number of the job.
        id: u64,
        /// Recognised text, or why the engine failed.
        result: Result<Recognition, String>,
    },
}

/// Writes a message, with samples behind it.
pub(super) fn write(
    to: &mut impl Write,
    message: &impl Serialize,
    samples: &[&[i16]],
) -> io::Result<()> {
    let header = serde_json::to_vec(message)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(4 + header.len());
    head.extend(length.to_ne_bytes());
    head.extend(header);
    to.write_all(&head)?;
    for samples in samples {
        to.write_all(bytemuck::cast_slice(samples))?;
    }
    Ok(())
}

/// Reads a header; `None` where the other end has closed.
pub(super) fn read<M: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_ne_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(invalid(format!("a header of {length} bytes")));
    }
    let mut header = vec![0; length];
    from.read_exact(&mut header)?;
    let message = serde_json::from_slice(&header).map_err(|error| invalid(error.to_string()))?;
    Ok(Some(message))
}

/// Reads the samples behind a header.
pub(super) fn read_samples(from: &mut impl Read, count: usize) -> io::Result<Vec<i16>> {
    if count > MAX_SAMPLES {
        return Err(invalid(format!("{count} samples")));
    }
    let mut samples = vec![0i16; count];
    from.read_exact(bytemuck::cast_slice_mut(&mut samples))?;
    Ok(samples)
}

/// Most samples of a job: Whisper's window of 30 s, and a second more.
const MAX_SAMPLES: usize = 31 * asterscribe_speech::SAMPLE_RATE as usize;

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_said_is_heard(id: u64, samples in prop::collection::vec(any::<i16>(), 0..2000)) {
            let job = JobOrder { id, samples: samples.len(), choices: DecodeOptions::default() };
            let order = WorkerOrder::Jobs(vec![job]);
            let mut said = Vec::new();
            write(&mut said, &order, &[&samples]).unwrap();
            let mut rest = said.as_slice();
            prop_assert_eq!(read::<WorkerOrder>(&mut rest).unwrap(), Some(order));
            prop_assert_eq!(read_samples(&mut rest, samples.len()).unwrap(), samples);
            prop_assert_eq!(read::<WorkerOrder>(&mut rest).unwrap(), None);
        }

        #[test]
        fn anything_else_is_an_error_and_no_more(bytes in prop::collection::vec(any::<u8>(), 4..200)) {
            let _either = read::<WorkerReport>(&mut bytes.as_slice());
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let huge = u32::MAX.to_ne_bytes();
        assert!(read::<WorkerOrder>(&mut huge.as_slice()).is_err());
        assert!(read_samples(&mut [0u8; 10].as_slice(), usize::MAX / 2).is_err());
    }
}
