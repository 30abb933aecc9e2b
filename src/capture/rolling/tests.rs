use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;

/// A disk in memory that takes so many bytes and can be told to fail.
#[derive(Default)]
pub(in crate::capture) struct Scarce(Mutex<State>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes that all files may have together.
    room: usize,
    /// Whether even taking bytes off fails.
    stuck: bool,
    /// Most bytes there ever were.
    peak: usize,
}

impl Scarce {
    pub(in crate::capture) fn new(room: usize) -> Arc<Self> {
        let disk = Self::default();
        disk.lock().room = room;
        Arc::new(disk)
    }

    pub(in crate::capture) fn set_room(&self, room: usize) {
        self.lock().room = room;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn read(&self, piece: &SegmentPiece) -> Vec<u8> {
        let range = piece.from as usize..piece.to as usize;
        self.lock().files[&piece.name][range].to_vec()
    }
}

impl State {
    fn used(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}

struct Open(Arc<Scarce>, String);

impl SegmentDisk for Arc<Scarce> {
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentSink>> {
        let mut state = self.lock();
        if state.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(!state.files.contains_key(name), "{name} is written over");
        state.files.insert(name.to_owned(), Vec::new());
        Ok(Box::new(Open(Self::clone(self), name.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().files.remove(name);
        Ok(())
    }
}

impl SegmentSink for Open {
    /// As a file system does it: what fits is written, then the error comes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let fits = state.room.saturating_sub(state.used()).min(bytes.len());
        let file = state.files.get_mut(&self.1).unwrap();
        file.extend(&bytes[..fits]);
        state.peak = state.peak.max(state.used());
        if fits == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.stuck {
            return Err(io::Error::other("stuck"));
        }
        let file = state.files.get_mut(&self.1).unwrap();
        file.truncate(length as usize);
        Ok(())
    }
}

const HEAD: &[u8] = b"head:";

fn begin(disk: &Arc<Scarce>, bound: u64) -> RollingFile {
    let disk = Arc::new(Arc::clone(disk));
    RollingFile::create(disk, "c".to_owned(), "x", bound, HEAD).unwrap()
}

/// All pieces as one file.
fn whole(disk: &Arc<Scarce>, file: &RollingFile) -> Vec<u8> {
    let pieces = file.pieces();
    pieces.iter().flat_map(|piece| disk.read(piece)).collect()
}

fn head() -> Vec<u8> {
    HEAD.to_vec()
}

proptest! {
    #[test]
    fn the_bound_holds_and_what_is_kept_is_the_newest_in_order(
        lengths in prop::collection::vec(1usize..60, 0..200),
        bound in 140u64..600,
        flush_every in 1usize..9,
    ) {
        let disk = Scarce::new(usize::MAX);
        let mut file = begin(&disk, bound);
        let mut records = Vec::new();
        for (n, length) in lengths.into_iter().enumerate() {
            let record = format!("{n}{}", "x".repeat(length)).into_bytes();
            file.push(&record, head);
            records.push(record);
            if n % flush_every == 0 {
                file.flush();
            }
            prop_assert!(disk.lock().used() as u64 <= bound);
        }
        file.flush();
        prop_assert!(disk.lock().peak as u64 <= bound);
        prop_assert_eq!(disk.lock().used() as u64, file.bytes());
        prop_assert_eq!(file.records() + file.rolled_off(), records.len() as u64);
        prop_assert_eq!(file.lost(), 0);
        let kept = records[file.rolled_off() as usize..].concat();
        prop_assert_eq!(whole(&disk, &file), [HEAD, &kept].concat());
        // Nearly half of the bound is there once something has gone.
        if file.rolled_off() > 0 {
            prop_assert!(kept.len() as u64 + 70 > bound / 2, "{} of {bound}", kept.len());
        }
    }

    #[test]
    fn a_full_disk_costs_records_and_never_leaves_half_of_one(
        steps in prop::collection::vec((1usize..60, 0usize..400, any::<bool>()), 1..150),
    ) {
        let disk = Scarce::new(1000);
        let mut file = begin(&disk, 400);
        for (count, (length, room, stuck)) in (1..).zip(steps) {
            {
                let mut state = disk.lock();
                (state.room, state.stuck) = (room, stuck);
            }
            file.push(format!("<{}>", "x".repeat(length)).as_bytes(), head);
            file.flush();
            prop_assert_eq!(file.records() + file.rolled_off() + file.lost(), count);
            let text = String::from_utf8(whole(&disk, &file)).unwrap();
            let records = text.strip_prefix("head:").unwrap();
            let open = records.matches('<').count();
            prop_assert!(records.is_empty() || records.ends_with('>'), "{}", text);
            prop_assert_eq!((open as u64, records.matches('>').count()), (file.records(), open));
        }
        // It goes on as soon as there is room.
        disk.lock().room = 4000;
        disk.lock().stuck = false;
        file.push(b"<again>", head);
        file.flush();
        prop_assert!(whole(&disk, &file).ends_with(b"<again>"));
    }
}

#[test]
fn a_record_larger_than_a_segment_is_lost_and_the_next_one_kept() {
    let disk = Scarce::new(usize::MAX);
    let mut file = begin(&disk, 100);
    file.push(&[b'x'; 46], head);
    file.push(b"small", head);
    file.flush();
    assert_eq!((file.lost(), file.records()), (1, 1));
}

#[test]
fn a_file_that_cannot_be_begun_leaves_nothing() {
    let disk = Scarce::new(3);
    let arc: Arc<dyn SegmentDisk> = Arc::new(Arc::clone(&disk));
    assert!(RollingFile::create(arc, "c".to_owned(), "x", 100, HEAD).is_err());
    assert!(disk.lock().files.is_empty());
}
