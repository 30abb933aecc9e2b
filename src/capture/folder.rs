//! The folder of captures: who may read it, what is in it, how much it may hold.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use asterscribe_call::CallId;
use jiff::Timestamp;

use super::pcapng;
use super::rolling::{SegmentDisk, SegmentPiece, SegmentSink, segment_name};

/// File extension of the packets.
pub(super) const PACKETS: &str = "pcapng";
/// File extension of Asterisk's events, one JSON object a line.
pub(super) const EVENTS: &str = "events.jsonl";

/// Heads are looked for in so much of a segment: one leg takes some 200 bytes.
const HEAD: u64 = 64 << 10;

/// Only its owner may read what was said.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The folder that `CAPTURE_DIR` names.
#[derive(Debug, Clone)]
pub(super) struct CaptureFolder(PathBuf);

/// A capture that is not running.
#[derive(Debug, Clone)]
pub(super) struct StoredCapture {
    /// Numbers of its segments of packets and of events, in order.
    packets: Vec<u64>,
    events: Vec<u64>,
    pub(super) bytes: u64,
    /// Time of the last write.
    pub(super) since: Timestamp,
}

impl CaptureFolder {
    /// Makes it if it does not exist, and sees whether files can be made in it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(path)?;
        }
        let folder = Self(path.to_owned());
        let probe = ".asterscribe-probe";
        // Left behind by a start that was interrupted.
        let _absent = folder.remove(probe);
        drop(folder.create(probe)?);
        folder.remove(probe)?;
        Ok(folder)
    }

    /// The captures that earlier processes left. Files that are none are let be.
    pub(super) fn scan(&self) -> io::Result<BTreeMap<CallId, StoredCapture>> {
        let mut found: BTreeMap<CallId, StoredCapture> = BTreeMap::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((call, number, extension)) = name.to_str().and_then(parse_name) else {
                continue;
            };
            let about = entry.metadata()?;
            if !about.is_file() {
                continue;
            }
            let written = about
                .modified()
                .ok()
                .and_then(|at| Timestamp::try_from(at).ok());
            let stored = found.entry(call).or_insert_with(|| StoredCapture {
                packets: Vec::new(),
                events: Vec::new(),
                bytes: 0,
                since: Timestamp::UNIX_EPOCH,
            });
            stored.numbers(extension).push(number);
            stored.bytes += about.len();
            stored.since = stored.since.max(written.unwrap_or(Timestamp::UNIX_EPOCH));
        }
        for stored in found.values_mut() {
            stored.packets.sort_unstable();
            stored.events.sort_unstable();
        }
        Ok(found)
    }

    /// Opens pieces of files to be read one after the other, and `tail` behind
    /// them. What is read is what is there now, whatever happens to the names.
    pub(super) fn read(
        &self,
        pieces: &[SegmentPiece],
        tail: Vec<u8>,
    ) -> io::Result<CaptureReading> {
        let mut length = tail.len() as u64;
        let mut body: Box<dyn Read + Send> = Box::new(io::empty());
        for SegmentPiece { name, from, to } in pieces {
            let mut file = File::open(self.0.join(name))?;
            file.seek(SeekFrom::Start(*from))?;
            length += to - from;
            body = Box::new(body.chain(file.take(to - from)));
        }
        let body = Box::new(body.chain(io::Cursor::new(tail)));
        Ok(CaptureReading { length, body })
    }

    /// The pieces of a capture that is not running.
    pub(super) fn pieces(
        &self,
        call: &CallId,
        stored: &StoredCapture,
        extension: &str,
    ) -> io::Result<Vec<SegmentPiece>> {
        let numbers = match extension {
            PACKETS => &stored.packets,
            _ => &stored.events,
        };
        let mut pieces = Vec::new();
        for number in numbers {
            let name = segment_name(call.as_str(), *number, extension);
            let file = File::open(self.0.join(&name))?;
            let to = file.metadata()?.len();
            let from = if pieces.is_empty() || extension != PACKETS {
                0
            } else {
                let mut head = Vec::new();
                file.take(HEAD).read_to_end(&mut head)?;
                pcapng::head_length(&head).map_or(0, |length| length as u64)
            };
            pieces.push(SegmentPiece { name, from, to });
        }
        Ok(pieces)
    }

    /// Removes all files of a capture, or as many as can be.
    pub(super) fn remove_capture(&self, call: &CallId, stored: &StoredCapture) -> io::Result<()> {
        let packets = stored.packets.iter().map(|number| (number, PACKETS));
        let events = stored.events.iter().map(|number| (number, EVENTS));
        let mut outcome = Ok(());
        for (number, extension) in packets.chain(events) {
            let name = segment_name(call.as_str(), *number, extension);
            if let Err(error) = self.remove(&name)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::error!(%error, name, "cannot remove an old capture");
                outcome = Err(error);
            }
        }
        outcome
    }
}

/// A file that can be read from beginning to end.
pub(super) struct CaptureReading {
    pub(super) length: u64,
    pub(super) body: Box<dyn Read + Send>,
}

impl StoredCapture {
    /// The files of a capture that has just ended.
    pub(super) fn of(
        packets: &[SegmentPiece],
        events: &[SegmentPiece],
        bytes: u64,
        since: Timestamp,
    ) -> Self {
        let numbers = |pieces: &[SegmentPiece]| {
            let parsed = pieces.iter().filter_map(|piece| parse_name(&piece.name));
            parsed.map(|(_, number, _)| number).collect()
        };
        Self {
            packets: numbers(packets),
            events: numbers(events),
            bytes,
            since,
        }
    }

    fn numbers(&mut self, extension: &str) -> &mut Vec<u64> {
        match extension {
            PACKETS => &mut self.packets,
            _ => &mut self.events,
        }
    }
}

impl SegmentDisk for CaptureFolder {
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentSink>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.0.join(name))?;
        Ok(Box::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}

impl SegmentSink for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// A call id may have dots; what follows it is fixed.
fn parse_name(name: &str) -> Option<(CallId, u64, &'static str)> {
    let extension = [PACKETS, EVENTS]
        .into_iter()
        .find(|extension| name.ends_with(&format!(".{extension}")))?;
    let stem = &name[..name.len() - extension.len() - 1];
    let (call, number) = stem.rsplit_once('.')?;
    let number: u64 = number.parse().ok()?;
    let call: CallId = call.parse().ok()?;
    (segment_name(call.as_str(), number, extension) == name).then_some((call, number, extension))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_names_of_ours_are_captures() {
        let (call, number, extension) = parse_name("1764000000.12.3.pcapng").unwrap();
        assert_eq!(
            (call.as_str(), number, extension),
            ("1764000000.12", 3, PACKETS)
        );
        assert_eq!(
            parse_name("em-1.0.events.jsonl").map(|(_, n, extension)| (n, extension)),
            Some((0, EVENTS))
        );
        for other in [
            "pcapng",
            ".pcapng",
            ".0.pcapng",
            "a.pcapng",
            "a.x.pcapng",
            "a.+1.pcapng",
            "a.01.pcapng",
            "a.0.pcap",
            "a b.0.pcapng",
            "a.0.events",
            "notes.txt",
        ] {
            assert!(parse_name(other).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_its_call_and_number(call in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,79}", number: u64, packets: bool) {
            let extension = if packets { PACKETS } else { EVENTS };
            let name = segment_name(&call, number, extension);
            let (parsed, n, e) = parse_name(&name).unwrap();
            prop_assert_eq!((parsed.as_str(), n, e), (call.as_str(), number, extension));
            prop_assert!(!name.contains('/'));
        }
    }

    #[test]
    fn the_folder_and_its_files_are_their_owner_s_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let folder = CaptureFolder::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), FOLDER_MODE);
        folder.create("c.0.pcapng").unwrap().append(b"x").unwrap();
        assert_eq!(mode(&path.join("c.0.pcapng")), FILE_MODE);
        assert!(
            folder.create("c.0.pcapng").is_err(),
            "nothing is written over"
        );
        // A second start finds it as it is.
        let again = CaptureFolder::open(&path).unwrap().scan().unwrap();
        assert_eq!(again.len(), 1);
        assert!(
            CaptureFolder::open(&path.join("c.0.pcapng")).is_err(),
            "a file is no folder"
        );
    }

    #[test]
    fn what_a_process_left_is_found_read_as_one_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CaptureFolder::open(dir.path()).unwrap();
        let mut head = Vec::new();
        pcapng::section(&mut head, "test", "");
        for number in [10, 9] {
            let mut sink = folder.create(&segment_name("c", number, PACKETS)).unwrap();
            sink.append(&head).unwrap();
            sink.append(&[6, 0, 0, number as u8]).unwrap();
        }
        folder
            .create("c.0.events.jsonl")
            .unwrap()
            .append(b"{}\n")
            .unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();

        let found = folder.scan().unwrap();
        let (call, stored) = found.first_key_value().unwrap();
        assert_eq!((found.len(), call.as_str()), (1, "c"));
        assert_eq!(stored.bytes, 2 * head.len() as u64 + 8 + 3);
        let pieces = folder.pieces(call, stored, PACKETS).unwrap();
        let mut reading = folder.read(&pieces, b"tail".to_vec()).unwrap();
        let mut bytes = Vec::new();
        reading.body.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, reading.length);
        assert_eq!(
            bytes,
            [&head[..], &[6, 0, 0, 9, 6, 0, 0, 10], b"tail"].concat()
        );

        folder.remove_capture(call, stored).unwrap();
        assert!(folder.scan().unwrap().is_empty());
        assert!(dir.path().join("notes.txt").exists());
    }
}
