//! Source of a capture's bytes: a file, gzipped or not, or a pipe. A file is read more than once; a
//! pipe is copied to a temporary file first.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::MultiGzDecoder;

use super::{CaptureError, CapturePass, CaptureSummary, show};

/// Limit of what a gzipped file may unpack to: so many bytes, or so many times its own size if that
/// is more. Captures of calls shrink to a third, those of silence to a tenth.
const UNPACKED: u64 = 1 << 30;
const UNPACKED_RATIO: u64 = 200;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// File name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// A capture that can be read again and again.
#[derive(Debug)]
pub struct CaptureInput {
    name: String,
    file: File,
}

impl CaptureInput {
    /// Opens a file; standard input (`-`) and whatever is not a regular file is copied.
    ///
    /// # Errors
    /// The file cannot be read, or not be copied.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let file = opened(path).map_err(|source| CaptureError::Unreadable {
            path: name.clone(),
            source,
        })?;
        Ok(Self { name, file })
    }

    /// Shows the packets of the file, up to `limit` of them.
    ///
    /// # Errors
    /// The file cannot be read at all or is not a capture, or `visit` failed.
    pub fn pass<E: From<CaptureError>>(
        &self,
        limit: Option<u64>,
        visit: &mut dyn FnMut(CapturePass<'_>) -> Result<(), E>,
    ) -> Result<CaptureSummary, E> {
        let reader = self.reader().map_err(|source| CaptureError::Unreadable {
            path: self.name.clone(),
            source,
        })?;
        show(reader, &self.name, limit, visit)
    }

    fn reader(&self) -> io::Result<UnpackedReader<'_>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut start = Vec::new();
        file.take(GZIP.len() as u64).read_to_end(&mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let length = file.metadata()?.len();
        Ok(unpacked(&start, length, Box::new(file)))
    }
}

fn opened(path: &Path) -> io::Result<File> {
    if path.as_os_str() == STANDARD_INPUT {
        return kept(io::stdin().lock());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    match metadata.is_file() {
        true => Ok(file),
        false => kept(file),
    }
}

/// Copies a source that can be read only once to a temporary file, which ends with this process.
fn kept(mut from: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut from, &mut file)?;
    Ok(file)
}

type UnpackedReader<'a> = (Box<dyn Read + Send + 'a>, ReadTrouble);

/// A reader of `length` bytes that begin with `start`, unpacked if they are packed.
pub(super) fn unpacked<'a>(
    start: &[u8],
    length: u64,
    reader: Box<dyn Read + Send + 'a>,
) -> UnpackedReader<'a> {
    let trouble = ReadTrouble::default();
    let inner: Box<dyn Read + Send + 'a> = if start.starts_with(&GZIP) {
        let limit = UNPACKED.max(length.saturating_mul(UNPACKED_RATIO));
        Box::new(BoundedReader {
            inner: MultiGzDecoder::new(BufReader::new(reader)),
            left: limit,
            limit,
        })
    } else {
        reader
    };
    let watched = WatchedReader {
        inner,
        trouble: trouble.clone(),
    };
    (Box::new(watched), trouble)
}

/// Reason why reading failed, kept here because the pcap parser does not pass it on.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadTrouble(Arc<Mutex<Option<String>>>);

impl ReadTrouble {
    /// The reason in words.
    pub(super) fn told(&self) -> String {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.as_deref() {
            Some(why) => format!("reading failed: {why}"),
            None => "reading failed".to_owned(),
        }
    }
}

struct WatchedReader<'a> {
    inner: Box<dyn Read + Send + 'a>,
    trouble: ReadTrouble,
}

impl Read for WatchedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                let mut told = self
                    .trouble
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *told = Some(error.to_string());
            }
        })
    }
}

/// Gives no more than it may: a packed file of a few bytes can be one of terabytes.
struct BoundedReader<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => Err(io::Error::other(format!(
                "it unpacks to more than {} MiB; unpack it first (gunzip) if it is what it should be",
                self.limit >> 20
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn what_unpacks_without_end_is_bounded_and_says_so() {
        let mut bounded = BoundedReader {
            inner: io::repeat(0),
            left: 2 << 20,
            limit: 2 << 20,
        };
        let error = io::copy(&mut bounded, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than 2 MiB"), "{error}");
    }

    #[test]
    fn packed_bytes_in_several_parts_are_read_as_one() {
        let mut packed = Vec::new();
        for part in [&b"one "[..], b"two"] {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part).unwrap();
            packed.extend(encoder.finish().unwrap());
        }
        let (mut reader, trouble) = unpacked(&packed, 9, Box::new(&*packed));
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "one two");
        drop(reader);
        let cut = &packed[..packed.len() - 9];
        let (mut reader, cut_trouble) = unpacked(cut, 9, Box::new(cut));
        assert!(io::read_to_string(&mut reader).is_err());
        assert_eq!(trouble.told(), "reading failed");
        assert!(cut_trouble.told().starts_with("reading failed: "));
    }
}
