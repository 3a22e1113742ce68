//! One snapshot of all counters, and the same as Prometheus text.

use super::Dataplane;
use crate::counters::{Counter, DropReason, WorkerCounters, drop_names};
use crate::link::{StreamStats, TrunkStats};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::PoisonError;
use std::thread::JoinHandle;

/// Counters since start, read without stopping the packet path.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the fields are those of `Snapshot` in `_native.pyi`, described there
pub struct Snapshot {
    pub trunks: Vec<TrunkStats>,
    pub streams: Vec<StreamStats>,
    pub sessions: u64,
    pub hosts: u64,
    pub viewers: u64,
    pub drops: BTreeMap<&'static str, u64>,
    pub cpu_seconds: BTreeMap<String, f64>,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub retransmissions_sent: u64,
    pub nacks_received: u64,
    pub gso_fallbacks: u64,
}

impl Dataplane {
    /// All numbers at this moment; those of streams and trunks are up to a quarter of a second old.
    pub fn snapshot(&self) -> Snapshot {
        let (hosts, viewers) = self.directory.count();
        let (trunks, streams) = self.reports();
        Snapshot {
            trunks,
            streams,
            sessions: hosts + viewers,
            hosts,
            viewers,
            drops: self.drops(),
            cpu_seconds: self.cpu_seconds(),
            packets_sent: self.sum(Counter::PacketsSent),
            packets_received: self.sum(Counter::PacketsReceived),
            retransmissions_sent: self.sum(Counter::RetransmissionsSent),
            nacks_received: self.sum(Counter::NacksReceived),
            gso_fallbacks: self.sum(Counter::GsoFallbacks),
        }
    }

    /// Prometheus text (version 0.0.4) of the packet path's own counters. No label names a room or a person.
    pub fn render_metrics(&self) -> String {
        let mut text = String::with_capacity(16 * 1_024);
        let (hosts, viewers) = self.directory.count();
        render(
            &mut text,
            "drops_total",
            "counter",
            "Datagrams, packets and requests that went no further.",
        );
        for (name, count) in self.drops() {
            let _ = writeln!(text, "tradewind_dataplane_drops_total{{reason=\"{name}\"}} {count}");
        }
        for counter in Counter::ALL {
            let name = format!("{}_total", counter.name());
            render(&mut text, &name, "counter", counter.help());
            let _ = writeln!(text, "tradewind_dataplane_{name} {}", self.sum(*counter));
        }
        render(&mut text, "sessions", "gauge", "Open sessions.");
        let _ = writeln!(text, "tradewind_dataplane_sessions{{role=\"host\"}} {hosts}");
        let _ = writeln!(text, "tradewind_dataplane_sessions{{role=\"viewer\"}} {viewers}");
        render(
            &mut text,
            "cpu_seconds_total",
            "counter",
            "Processor time of each thread.",
        );
        for (thread, seconds) in self.cpu_seconds() {
            let _ = writeln!(
                text,
                "tradewind_dataplane_cpu_seconds_total{{thread=\"{thread}\"}} {seconds}"
            );
        }
        text
    }

    /// Processor time by thread; `other` is the rest of the process, Python included.
    fn cpu_seconds(&self) -> BTreeMap<String, f64> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seconds: BTreeMap<String, f64> = threads
            .iter()
            .map(|thread| {
                (
                    thread.thread().name().unwrap_or_default().to_owned(),
                    thread_seconds(thread),
                )
            })
            .collect();
        let own: f64 = seconds.values().sum();
        seconds.insert(
            "other".to_owned(),
            (clock_seconds(libc::CLOCK_PROCESS_CPUTIME_ID) - own).max(0.0),
        );
        seconds
    }

    fn workers(&self) -> impl Iterator<Item = &WorkerCounters> {
        let trunk = self.trunk.iter().map(|trunk| &*trunk.counters);
        self.shards.iter().map(|shard| &*shard.counters).chain(trunk)
    }

    fn sum(&self, counter: Counter) -> u64 {
        self.workers().map(|worker| worker.get(counter)).sum()
    }

    fn drops(&self) -> BTreeMap<&'static str, u64> {
        let mut drops: BTreeMap<&'static str, u64> = drop_names().iter().map(|name| (*name, 0)).collect();
        for worker in self.workers() {
            for (name, count) in drop_names().iter().zip(worker.drops()) {
                *drops.entry(name).or_default() += count;
            }
        }
        drops.insert(DropReason::EventQueueFull.name(), self.events.dropped());
        drops
    }

    /// What the trunk says of trunks and streams, with viewers added and local sources in their shard's words.
    fn reports(&self) -> (Vec<TrunkStats>, Vec<StreamStats>) {
        let report = self
            .trunk
            .as_ref()
            .map(|trunk| trunk.report.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let report = report.unwrap_or_default();
        let mut streams: BTreeMap<(String, u64), StreamStats> = report
            .streams
            .into_iter()
            .map(|stream| ((stream.room.clone(), stream.incarnation), stream))
            .collect();
        for shard in &self.shards {
            let report = shard.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for stream in report.streams {
                let key = (stream.room.clone(), stream.incarnation);
                match streams.get_mut(&key) {
                    None => {
                        streams.insert(key, stream);
                    }
                    Some(known) => {
                        known.viewers += stream.viewers;
                        if stream.local {
                            let parents = (known.parent.take(), known.backup.take(), known.phase);
                            let viewers = known.viewers;
                            *known = stream;
                            (known.parent, known.backup, known.phase) = parents;
                            known.viewers = viewers;
                        }
                    }
                }
            }
        }
        (report.trunks, streams.into_values().collect())
    }
}

fn render(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(
        text,
        "# HELP tradewind_dataplane_{name} {help}\n# TYPE tradewind_dataplane_{name} {kind}"
    );
}

/// Processor seconds that `clock` has counted.
fn clock_seconds(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec into a local.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if result < 0 {
        0.0
    } else {
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    }
}

/// Processor seconds of a thread that has not been joined.
fn thread_seconds(thread: &JoinHandle<()>) -> f64 {
    let mut clock = 0;
    // SAFETY: the handle keeps the thread's id valid, also after its end; the call writes one local.
    let result = unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock) };
    if result == 0 { clock_seconds(clock) } else { 0.0 }
}

/// Pins the calling thread to one core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is a plain bit set, for which zero is the empty set; CPU_SET ignores numbers beyond it, and the
    // call reads a local of the stated length.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if core >= 8 * std::mem::size_of::<libc::cpu_set_t>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
