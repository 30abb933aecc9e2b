//! A file that never grows beyond its bound: two segments of half its size.
//! When the newer is full, the older goes and a new one begins, so that between
//! half of the bound and all of it is there at any time. Each begins with a
//! head of its own, and can be read without the other.

use std::io;
use std::sync::Arc;

/// Storage of the segments.
pub(super) trait SegmentDisk: Send + Sync {
    /// Makes a file; one of that name must not exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentSink>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file being written.
pub(super) trait SegmentSink: Send {
    /// Appends all of it; what of it is there after an error is not known.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Takes what is beyond `length` off its end.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Appends wait until so many bytes have come together, or for [`RollingFile::flush`].
const BUFFER: usize = 64 << 10;

/// A file of two segments.
pub(super) struct RollingFile {
    disk: Arc<dyn SegmentDisk>,
    /// Name of its segments before their number.
    stem: String,
    extension: &'static str,
    /// Size limit of a segment, bytes.
    half: u64,
    older: Option<FileSegment>,
    newer: FileSegment,
    /// Whole records that are to be appended to `newer`.
    buffer: Vec<u8>,
    buffered: u64,
    /// Records that could not be written.
    lost: u64,
    /// Records in segments that have been removed.
    rolled_off: u64,
    /// Error of the last attempt to write, until writing works again.
    trouble: Option<io::ErrorKind>,
}

struct FileSegment {
    number: u64,
    sink: Box<dyn SegmentSink>,
    /// Bytes before the first record.
    head: u64,
    /// Bytes that are written and whole.
    length: u64,
    records: u64,
    /// There may be more than `length` in the file: a write failed half-way.
    torn: bool,
}

/// The readable part of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentPiece {
    pub(super) name: String,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl RollingFile {
    /// Begins the file; it will never hold more than `bound` bytes.
    pub(super) fn create(
        disk: Arc<dyn SegmentDisk>,
        stem: String,
        extension: &'static str,
        bound: u64,
        head: &[u8],
    ) -> io::Result<Self> {
        let newer = FileSegment::create(&*disk, &segment_name(&stem, 0, extension), 0, head)?;
        Ok(Self {
            disk,
            stem,
            extension,
            half: bound / 2,
            older: None,
            newer,
            buffer: Vec::new(),
            buffered: 0,
            lost: 0,
            rolled_off: 0,
            trouble: None,
        })
    }

    /// Whether a record of that length needs a new segment.
    pub(super) fn is_full_for(&self, length: usize) -> bool {
        self.newer.length + (self.buffer.len() + length) as u64 > self.half
    }

    /// Appends a record, beginning a new segment with `head` if need be;
    /// whether it did. A record that cannot be kept is counted as lost.
    pub(super) fn push(&mut self, record: &[u8], head: impl FnOnce() -> Vec<u8>) -> bool {
        let mut rotated = false;
        if self.is_full_for(record.len()) {
            if self.rotate(&head()).is_err() || self.is_full_for(record.len()) {
                self.lost += 1;
                return false;
            }
            rotated = true;
        }
        self.buffer.extend(record);
        self.buffered += 1;
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
        rotated
    }

    /// Counts a record as lost that could not even be made.
    pub(super) fn count_lost(&mut self) {
        self.lost += 1;
    }

    /// Writes what is no record, at once. The caller has looked whether it fits.
    pub(super) fn write_through(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.flush();
        self.newer.append(bytes)
    }

    /// Begins a new segment; the older one goes first, for the sake of the bound.
    pub(super) fn rotate(&mut self, head: &[u8]) -> io::Result<()> {
        self.flush();
        if let Some(older) = self.older.take() {
            self.rolled_off += older.records;
            let name = segment_name(&self.stem, older.number, self.extension);
            if let Err(error) = self.disk.remove(&name) {
                tracing::error!(%error, name, "cannot remove the oldest packets of a capture");
            }
        }
        let number = self.newer.number + 1;
        let name = segment_name(&self.stem, number, self.extension);
        let next = FileSegment::create(&*self.disk, &name, number, head);
        let next = next.inspect_err(|error| self.troubled(error))?;
        self.older = Some(std::mem::replace(&mut self.newer, next));
        Ok(())
    }

    /// Hands to the system what has come together.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.newer.append(&self.buffer) {
            Ok(()) => {
                self.newer.records += self.buffered;
                self.trouble = None;
            }
            Err(error) => {
                self.lost += self.buffered;
                self.troubled(&error);
            }
        }
        self.buffer.clear();
        self.buffered = 0;
    }

    /// Said once for each kind of trouble, not for each record.
    fn troubled(&mut self, error: &io::Error) {
        if self.trouble.replace(error.kind()) != Some(error.kind()) {
            tracing::error!(%error, file = self.stem, "a capture cannot be written; the call goes on");
        }
    }

    /// Records in the file.
    pub(super) fn records(&self) -> u64 {
        self.older.as_ref().map_or(0, |older| older.records) + self.newer.records
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.older.as_ref().map_or(0, |older| older.length) + self.newer.length
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn rolled_off(&self) -> u64 {
        self.rolled_off
    }

    /// Segments whose bytes, one after the other, make one file; the newer one without its head.
    pub(super) fn pieces(&self) -> Vec<SegmentPiece> {
        let piece = |segment: &FileSegment, from| SegmentPiece {
            name: segment_name(&self.stem, segment.number, self.extension),
            from,
            to: segment.length,
        };
        match &self.older {
            Some(older) => vec![piece(older, 0), piece(&self.newer, self.newer.head)],
            None => vec![piece(&self.newer, 0)],
        }
    }
}

impl FileSegment {
    fn create(disk: &dyn SegmentDisk, name: &str, number: u64, head: &[u8]) -> io::Result<Self> {
        let mut sink = disk.create(name)?;
        if let Err(error) = sink.append(head) {
            drop(sink);
            // Else it could never be made again; a second failure tells no more.
            let _same_trouble = disk.remove(name);
            return Err(error);
        }
        Ok(Self {
            number,
            sink,
            head: head.len() as u64,
            length: head.len() as u64,
            records: 0,
            torn: false,
        })
    }

    /// Appends all of it, or leaves the file as it was, at the latest before the next append.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.sink.truncate(self.length)?;
            self.torn = false;
        }
        match self.sink.append(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn = self.sink.truncate(self.length).is_err();
                Err(error)
            }
        }
    }
}

/// Name of a segment's file, such as `em-1.0.pcapng`.
pub(super) fn segment_name(stem: &str, number: u64, extension: &str) -> String {
    format!("{stem}.{number}.{extension}")
}

#[cfg(test)]
pub(super) mod tests;
