//! Hosts and watchers steered one by one: a JSON command a line in, a JSON event a line out.
//!
//! `{"op":"host","id":"a","url":…}`, `{"op":"watch","id":"b","url":…}`, `{"op":"close","id":…}`, `{"op":"report"}`.

use crate::host::{Cadence, Host};
use crate::session::Identity;
use crate::viewer::{StreamCount, Viewer};
use crate::{cpu_seconds, say};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, Error, Result};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often sockets are looked at; the resolution of all times reported.
const TICK: Duration = Duration::from_millis(1);

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    /// Publish video (and Opus) with an exact cadence.
    Host {
        id: String,
        url: String,
        #[serde(default)]
        token: String,
        packets_per_frame: u32,
        #[serde(default)]
        key_frame_interval: Option<u64>,
        seed: u64,
    },
    /// Watch and note every decodable frame.
    Watch {
        id: String,
        url: String,
        #[serde(default)]
        token: String,
        seed: u64,
    },
    /// DELETE the session and forget it.
    Close { id: String },
    /// Print what watchers saw since the last report.
    Report,
}

struct Watcher {
    viewer: Viewer,
    posted_at: Instant,
    reported: usize,
}

/// Runs until standard input ends.
pub fn run() -> Result<()> {
    let identity = Identity::new().map_err(Error::other)?;
    let (sender, commands) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut swarm = Swarm {
        identity,
        epoch: Instant::now(),
        hosts: BTreeMap::new(),
        watchers: BTreeMap::new(),
        opened: 0,
        longest_turn: Duration::ZERO,
        reported_at: Instant::now(),
    };
    let mut last_turn = Instant::now();
    let mut buffer = vec![0u8; 2_048];
    let mut next_reports = Instant::now();
    say(&json!({"event": "ready", "unix_ms": unix_ms()}));
    loop {
        loop {
            match commands.try_recv() {
                Ok(line) => swarm.handle(&line),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
        let now = Instant::now();
        swarm.longest_turn = swarm.longest_turn.max(now - last_turn);
        last_turn = now;
        swarm
            .hosts
            .retain(|id, host| host.run(now).inspect_err(|error| failed(id, error)).is_ok());
        swarm.watchers.retain(|id, watcher| {
            watcher
                .viewer
                .receive(&mut buffer)
                .inspect_err(|error| failed(id, error))
                .is_ok()
        });
        if next_reports <= now {
            next_reports = now + Duration::from_secs(1);
            for watcher in swarm.watchers.values_mut() {
                // A dead edge refuses the datagram; the pause that follows is what is measured.
                let _ = watcher.viewer.report();
            }
        }
        std::thread::sleep(TICK);
    }
}

fn failed(id: &str, error: &Error) {
    say(&json!({"event": "failed", "id": id, "error": error.to_string()}));
}

fn unix_ms() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
        * 1e3
}

struct Swarm {
    identity: Identity,
    epoch: Instant,
    hosts: BTreeMap<String, Host>,
    watchers: BTreeMap<String, Watcher>,
    opened: usize,
    /// The longest time in which no socket was looked at, since the last report.
    longest_turn: Duration,
    reported_at: Instant,
}

impl Swarm {
    fn handle(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(command) => self.carry_out(command),
            Err(error) => say(&json!({"event": "misunderstood", "error": error.to_string(), "line": line})),
        }
    }

    fn carry_out(&mut self, command: Command) {
        let posted_at = Instant::now();
        self.opened += 1;
        match command {
            Command::Host {
                id,
                url,
                token,
                packets_per_frame,
                key_frame_interval,
                seed,
            } => {
                let cadence = Cadence {
                    frames_per_second: 30,
                    packets_per_frame,
                    payload_bytes: 1_100,
                    key_frame_interval: key_frame_interval.unwrap_or(60),
                    audio: true,
                    seed,
                };
                match Host::open(&self.identity, &url, &token, cadence) {
                    Ok(host) => {
                        opened(&id, posted_at);
                        self.hosts.insert(id, host);
                    }
                    Err(error) => refused(&id, &error),
                }
            }
            Command::Watch { id, url, token, seed } => {
                match Viewer::open(&self.identity, &url, &token, self.opened % 99_999, seed) {
                    Ok(mut viewer) => {
                        viewer.log_frames();
                        opened(&id, posted_at);
                        self.watchers.insert(
                            id,
                            Watcher {
                                viewer,
                                posted_at,
                                reported: 0,
                            },
                        );
                    }
                    Err(error) => refused(&id, &error),
                }
            }
            Command::Close { id } => {
                let host = self.hosts.remove(&id).map(|host| host.session.delete());
                let watcher = self.watchers.remove(&id).map(|watcher| watcher.viewer.session.delete());
                let error = host.or(watcher).and_then(Result::err).map(|error| error.to_string());
                say(&json!({"event": "closed", "id": id, "error": error}));
            }
            Command::Report => self.report(),
        }
    }

    /// Times are milliseconds since the process' first line; `frames` are `[time, rtp timestamp, key frame]`.
    fn report(&mut self) {
        let epoch = self.epoch;
        let milliseconds = |moment: Instant| moment.saturating_duration_since(epoch).as_secs_f64() * 1e3;
        let mut rows = serde_json::Map::new();
        for (id, watcher) in &mut self.watchers {
            let (packets, wrong) = (watcher.viewer.packets(), watcher.viewer.wrong);
            let missing: u64 = watcher.viewer.streams.values().map(StreamCount::missing).sum();
            let Some(log) = watcher.viewer.frames() else { continue };
            let fresh: Vec<_> = log.frames[watcher.reported..]
                .iter()
                .map(|frame| json!([milliseconds(frame.at), frame.timestamp, frame.key_frame]))
                .collect();
            watcher.reported = log.frames.len();
            let first = log
                .frames
                .first()
                .map(|frame| (frame.at - watcher.posted_at).as_secs_f64() * 1e3);
            rows.insert(
                id.clone(),
                json!({
                    "first_frame_ms": first,
                    "packets": packets,
                    "wrong": wrong,
                    "missing": missing,
                    "frames": fresh,
                }),
            );
        }
        let hosts: serde_json::Map<_, _> = self
            .hosts
            .iter_mut()
            .map(|(id, host)| {
                let late = host.take_lateness().as_secs_f64() * 1e3;
                (
                    id.clone(),
                    json!({"frames_since": host.take_frames(), "packets": host.packets(), "late_max_ms": late}),
                )
            })
            .collect();
        let now = Instant::now();
        let since = now - std::mem::replace(&mut self.reported_at, now);
        say(&json!({
            "event": "report",
            "now_ms": milliseconds(now),
            "since_ms": since.as_secs_f64() * 1e3,
            "cpu_seconds": cpu_seconds(),
            "longest_turn_ms": std::mem::take(&mut self.longest_turn).as_secs_f64() * 1e3,
            "hosts": hosts,
            "watchers": rows,
        }));
    }
}

fn opened(id: &str, posted_at: Instant) {
    say(&json!({"event": "opened", "id": id, "took_ms": posted_at.elapsed().as_secs_f64() * 1e3}));
}

fn refused(id: &str, error: &Error) {
    say(&json!({"event": "refused", "id": id, "error": error.to_string()}));
}
