//! Sorts datagrams by their times. Those beyond a fixed amount of memory go into temporary files,
//! each of them sorted, which are merged as they are read.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::time::Duration;

/// Most memory for waiting datagrams, bytes; and the bytes that an entry takes beside its payload.
const MEMORY: usize = 16 << 20;
const OVERHEAD: usize = 96;

/// Most files that are merged at a time; more are first merged into one.
const MAX_RUNS: usize = 64;
const READ_BUFFER: usize = 16 << 10;

/// A datagram that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedDatagram {
    pub(super) at: Duration,
    /// Number in the file: datagrams of the same time keep that order.
    pub(super) number: u64,
    pub(super) flow: u32,
    pub(super) payload: Vec<u8>,
}

impl QueuedDatagram {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

/// Reversed order, so that the greatest of a heap is the datagram due first.
impl Ord for QueuedDatagram {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for QueuedDatagram {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Datagrams that wait for their turn.
#[derive(Debug)]
pub(super) struct DatagramQueue {
    heap: BinaryHeap<QueuedDatagram>,
    bytes: usize,
    memory: usize,
    runs: Vec<SortedRun>,
}

impl Default for DatagramQueue {
    fn default() -> Self {
        Self::with_memory(MEMORY)
    }
}

impl DatagramQueue {
    fn with_memory(memory: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            bytes: 0,
            memory,
            runs: Vec::new(),
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// Of the temporary files.
    pub(super) fn push(&mut self, entry: QueuedDatagram) -> io::Result<()> {
        self.bytes += OVERHEAD + entry.payload.len();
        self.heap.push(entry);
        if self.bytes > self.memory {
            self.spill()?;
        }
        Ok(())
    }

    /// The next datagram, if it is due by `until`.
    ///
    /// # Errors
    /// Of the temporary files.
    pub(super) fn pop(&mut self, until: Duration) -> io::Result<Option<QueuedDatagram>> {
        let of_runs = self.runs.iter().enumerate();
        let next = of_runs
            .filter_map(|(n, run)| Some((run.head.as_ref()?.key(), n)))
            .min();
        let in_memory = self.heap.peek().map(QueuedDatagram::key);
        match (in_memory, next) {
            (Some(key), other) if other.is_none_or(|(of_run, _)| key < of_run) => {
                if key.0 > until {
                    return Ok(None);
                }
                let entry = self.heap.pop();
                let length = entry.as_ref().map_or(0, |entry| entry.payload.len());
                self.bytes -= OVERHEAD + length;
                Ok(entry)
            }
            (_, Some((key, run))) if key.0 <= until => {
                let entry = self.runs[run].next()?;
                if self.runs[run].head.is_none() {
                    self.runs.swap_remove(run);
                }
                Ok(entry)
            }
            _ => Ok(None),
        }
    }

    /// Writes what is in memory to a file of its own.
    fn spill(&mut self) -> io::Result<()> {
        let mut file = RunWriter::new()?;
        while let Some(entry) = self.heap.pop() {
            file.write(&entry)?;
        }
        self.bytes = 0;
        let run = file.finish()?;
        self.runs.push(run);
        if self.runs.len() > MAX_RUNS {
            self.merge()?;
        }
        Ok(())
    }

    /// Makes one file of all; the memory is empty.
    fn merge(&mut self) -> io::Result<()> {
        let mut file = RunWriter::new()?;
        while let Some(entry) = self.pop(Duration::MAX)? {
            file.write(&entry)?;
        }
        self.runs.push(file.finish()?);
        Ok(())
    }
}

/// A temporary file in order, and the first of it that is left.
#[derive(Debug)]
struct SortedRun {
    reader: BufReader<File>,
    head: Option<QueuedDatagram>,
}

impl SortedRun {
    fn next(&mut self) -> io::Result<Option<QueuedDatagram>> {
        let following = self.read()?;
        Ok(std::mem::replace(&mut self.head, following))
    }

    fn read(&mut self) -> io::Result<Option<QueuedDatagram>> {
        let mut head = [0; HEAD];
        match self.reader.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let mut payload = vec![0; word(24) as usize];
        self.reader.read_exact(&mut payload)?;
        Ok(Some(QueuedDatagram {
            at: Duration::new(long(0), word(8)),
            number: long(12),
            flow: word(20),
            payload,
        }))
    }
}

/// Seconds, nanoseconds, number, flow and length.
const HEAD: usize = 28;

struct RunWriter(BufWriter<File>);

impl RunWriter {
    fn new() -> io::Result<Self> {
        Ok(Self(BufWriter::new(tempfile::tempfile()?)))
    }

    fn write(&mut self, entry: &QueuedDatagram) -> io::Result<()> {
        // Not reached: a datagram is below 64 KiB.
        let length = u32::try_from(entry.payload.len()).map_err(io::Error::other)?;
        let file = &mut self.0;
        file.write_all(&entry.at.as_secs().to_le_bytes())?;
        file.write_all(&entry.at.subsec_nanos().to_le_bytes())?;
        file.write_all(&entry.number.to_le_bytes())?;
        file.write_all(&entry.flow.to_le_bytes())?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&entry.payload)
    }

    fn finish(self) -> io::Result<SortedRun> {
        let mut file = self.0.into_inner()?;
        file.seek(SeekFrom::Start(0))?;
        let mut run = SortedRun {
            reader: BufReader::with_capacity(READ_BUFFER, file),
            head: None,
        };
        run.next()?;
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(at: u64, number: u64) -> QueuedDatagram {
        QueuedDatagram {
            at: Duration::from_nanos(at * 999_999_999),
            number,
            flow: number as u32 % 3,
            payload: vec![number as u8; number as usize % 300],
        }
    }

    fn drained(queue: &mut DatagramQueue, until: Duration) -> Vec<QueuedDatagram> {
        std::iter::from_fn(|| queue.pop(until).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_order_becomes_that_of_time_and_memory_is_bounded(
            times in prop::collection::vec(0..50u64, 0..400),
            memory in 100..20_000usize,
        ) {
            let mut queue = DatagramQueue::with_memory(memory);
            let mut expected = Vec::new();
            for (number, at) in (0..).zip(times) {
                expected.push(entry(at, number));
                queue.push(entry(at, number)).unwrap();
                prop_assert!(queue.bytes <= memory);
                prop_assert!(queue.runs.len() <= MAX_RUNS);
            }
            expected.sort_by_key(QueuedDatagram::key);
            prop_assert_eq!(drained(&mut queue, Duration::MAX), expected);
            prop_assert!(queue.runs.is_empty());
        }
    }

    #[test]
    fn what_is_not_due_waits() {
        for memory in [0, 1 << 20] {
            let mut queue = DatagramQueue::with_memory(memory);
            for (number, at) in (0..).zip([5, 1, 9, 3]) {
                queue.push(entry(at, number)).unwrap();
            }
            let due = drained(&mut queue, entry(5, 0).at);
            assert_eq!(due, [entry(1, 1), entry(3, 3), entry(5, 0)]);
            queue.push(entry(2, 4)).unwrap();
            let rest = drained(&mut queue, Duration::MAX);
            assert_eq!(rest, [entry(2, 4), entry(9, 2)]);
        }
    }
}
