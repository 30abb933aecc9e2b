//! Readings of `/proc` about a process and the network: read and parsed here, nowhere else in the
//! bench.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use anyhow::{Context, Result};

/// Times of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ThreadTime {
    /// Time on a processor, ns.
    pub(super) ran_ns: u64,
    /// Time in which it was ready to run and waited for a processor, ns.
    pub(super) waited_ns: u64,
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ProcessMemory {
    /// Resident memory now, bytes.
    pub(super) resident: u64,
}

/// A UDP socket as the kernel lists it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KernelSocket {
    /// Bytes that wait to be read.
    pub(super) waiting: u64,
    /// Datagrams dropped for want of room.
    pub(super) drops: u64,
}

/// UDP counters of a network namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UdpCounters {
    /// Datagrams that programs have read.
    pub(super) read: u64,
    /// Datagrams dropped for want of room in a socket.
    pub(super) no_room: u64,
}

/// The threads of a process by their id, those that have ended left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ProcessThreads(BTreeMap<String, ThreadTime>);

impl ProcessThreads {
    /// Time that all the threads ran since `before`, ns.
    pub(super) fn ran_since(&self, before: &Self) -> u64 {
        let ran = |(id, now): (&String, &ThreadTime)| now.ran_ns - before.thread(id).ran_ns;
        self.0.iter().map(ran).sum()
    }

    /// Time that the thread which ran most since `before` waited for a processor, ns.
    pub(super) fn busiest_waited_since(&self, before: &Self) -> u64 {
        let spent = |(id, now): (&String, &ThreadTime)| {
            let then = before.thread(id);
            (now.ran_ns - then.ran_ns, now.waited_ns - then.waited_ns)
        };
        self.0
            .iter()
            .map(spent)
            .max()
            .map_or(0, |(_, waited)| waited)
    }

    /// Times of a thread; zero for one that did not exist yet.
    fn thread(&self, id: &str) -> ThreadTime {
        self.0.get(id).copied().unwrap_or_default()
    }
}

/// All threads of a process.
pub(super) fn process(pid: u32) -> Result<ProcessThreads> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        match fs::read_to_string(task.path().join("schedstat")) {
            Ok(text) => {
                let id = task.file_name().to_string_lossy().into_owned();
                threads.insert(id, sched(&text).context("a schedstat that is none")?);
            }
            // It has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ProcessThreads(threads))
}

/// Processes that a process has started and that still run.
pub(super) fn children(of: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        // One that has ended meanwhile is none any more.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if parent(&stat) == Some(of) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Times of the calling thread.
pub(super) fn this_thread() -> Result<ThreadTime> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    sched(&text).context("a schedstat that is none")
}

/// A process's memory.
pub(super) fn memory(pid: u32) -> Result<ProcessMemory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status(&text).context("no VmRSS in a process's status")
}

/// The most memory that this process has had, octets.
pub(super) fn peak_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    kib(&text, "VmHWM:").context("no VmHWM in a process's status")
}

/// Every UDP socket (IPv4) of this network namespace by its local port.
pub(super) fn sockets() -> Result<BTreeMap<u16, KernelSocket>> {
    Ok(socket_table(&fs::read_to_string("/proc/net/udp")?))
}

/// UDP counters of this network namespace.
pub(super) fn udp() -> Result<UdpCounters> {
    snmp(&fs::read_to_string("/proc/net/snmp")?).context("no UDP in the kernel's counters")
}

/// The kernel's release.
pub(super) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Time for which all processors together have worked, whatever for, ns.
pub(super) fn worked() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    stat(&text).context("no processors in the kernel's statistics")
}

/// Mean number of threads that ran or wanted to during the last minute.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Name of the processor.
pub(super) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

fn sched(text: &str) -> Option<ThreadTime> {
    let mut fields = text.split_whitespace().map(str::parse);
    Some(ThreadTime {
        ran_ns: fields.next()?.ok()?,
        waited_ns: fields.next()?.ok()?,
    })
}

/// `pid (name) state parent …`, where the name may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// `cpu user nice system idle iowait irq softirq steal …`, in hundredths of a second.
fn stat(text: &str) -> Option<u64> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks.as_slice() else {
        return None;
    };
    Some((user + nice + system + irq + softirq + steal) * 10_000_000)
}

fn status(text: &str) -> Option<ProcessMemory> {
    let resident = kib(text, "VmRSS:")?;
    Some(ProcessMemory { resident })
}

/// A figure of a process's status, octets.
fn kib(text: &str, name: &str) -> Option<u64> {
    let figure = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = figure.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn socket_table(text: &str) -> BTreeMap<u16, KernelSocket> {
    // The first line names the columns.
    text.lines().skip(1).filter_map(socket).collect()
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops`
fn socket(line: &str) -> Option<(u16, KernelSocket)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let (_, waiting) = fields.get(4)?.split_once(':')?;
    let socket = KernelSocket {
        waiting: u64::from_str_radix(waiting, 16).ok()?,
        drops: fields.get(12)?.parse().ok()?,
    };
    Some((u16::from_str_radix(port, 16).ok()?, socket))
}

/// Two lines that begin with `Udp:`, one of names and one of values.
fn snmp(text: &str) -> Option<UdpCounters> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let counters: BTreeMap<_, _> = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .collect();
    let counter = |name| counters.get(name)?.parse().ok();
    Some(UdpCounters {
        read: counter("InDatagrams")?,
        no_room: counter("RcvbufErrors")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::process;

    #[test]
    fn schedstat_is_run_time_then_waiting_time() {
        let read = sched("123456789 4567 89\n").unwrap();
        assert_eq!((read.ran_ns, read.waited_ns), (123_456_789, 4_567));
        assert_eq!(sched(""), None);
        assert_eq!(sched("1 x"), None);
    }

    #[test]
    fn work_is_all_but_idleness() {
        let text = "cpu  1 2 3 1000 1000 4 5 6 0 0\ncpu0 1 2 3\n";
        assert_eq!(stat(text), Some(210_000_000));
        assert_eq!(stat("cpu  1 2\n"), None);
        assert!(worked().unwrap() > 0);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("7 (a) 9 (b) S 42 7 7 0"), Some(42));
        assert_eq!(parent(""), None);
        let mut child = process::Command::new("sleep").arg("9").spawn().unwrap();
        assert!(children(process::id()).unwrap().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn resident_memory_is_in_kib() {
        let text = "Name:\tasterscribe\nVmHWM:\t    9000 kB\nVmRSS:\t    8212 kB\n";
        assert_eq!(status(text).unwrap().resident, 8_212 * 1024);
        assert_eq!(kib(text, "VmHWM:"), Some(9_000 * 1024));
        assert_eq!(status("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_socket_is_found_by_its_port_with_what_waits_and_what_was_dropped() {
        let text = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:9C40 00000000:0000 07 00000000:00000A00 00:00000000 00000000  1000        0 4711 2 0000000000000000 17
  101: broken
";
        let expected = KernelSocket {
            waiting: 0xa00,
            drops: 17,
        };
        assert_eq!(socket_table(text), BTreeMap::from([(40_000, expected)]));
    }

    #[test]
    fn udp_counters_are_found_by_name() {
        let text = "\
Ip: Forwarding DefaultTTL
Ip: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
Udp: 1000 2 3 4 5 6
UdpLite: InDatagrams NoPorts
UdpLite: 7 8
";
        let expected = UdpCounters {
            read: 1_000,
            no_room: 5,
        };
        assert_eq!(snmp(text), Some(expected));
        assert_eq!(snmp("Udp: InDatagrams\n"), None);
    }

    #[test]
    fn this_kernel_writes_what_is_read_here() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(
            sockets().unwrap().get(&port),
            Some(&KernelSocket::default())
        );
        assert!(memory(process::id()).unwrap().resident > 0);
        udp().unwrap();
        let threads = process(process::id()).unwrap();
        assert!(threads.ran_since(&ProcessThreads::default()) > 0);
        this_thread().unwrap();
    }

    #[test]
    fn threads_are_told_apart() {
        let threads = |list: &[(&str, u64, u64)]| {
            let thread = |&(id, ran_ns, waited_ns): &(&str, _, _)| {
                (id.to_owned(), ThreadTime { ran_ns, waited_ns })
            };
            ProcessThreads(list.iter().map(thread).collect())
        };
        let before = threads(&[("7", 1_000, 90), ("8", 10, 500), ("9", 5, 5)]);
        let after = threads(&[("7", 1_100, 95), ("8", 20, 900), ("10", 3, 3)]);
        assert_eq!(after.ran_since(&before), 113);
        assert_eq!(after.busiest_waited_since(&before), 5);
        assert_eq!(ProcessThreads::default().busiest_waited_since(&before), 0);
    }
}
