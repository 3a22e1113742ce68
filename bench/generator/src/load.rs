//! The load: one host, many viewers, one thread, one epoll.

use crate::host::{Cadence, Host};
use crate::session::Identity;
use crate::viewer::{StreamCount, Viewer};
use crate::{cpu_seconds, say};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, Error, Result};
use std::time::{Duration, Instant};

/// What to do; one JSON object on the command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// WHIP endpoint.
    whip: String,
    /// WHEP endpoint.
    whep: String,
    #[serde(default)]
    host_token: String,
    #[serde(default)]
    viewer_token: String,
    /// Viewers connected at the end of each stage, rising.
    stages: Vec<usize>,
    /// How long a stage lasts once its viewers are connected.
    seconds: f64,
    /// Before a stage is measured: joins, handshakes and first key frames end.
    settle_seconds: f64,
    frames_per_second: u32,
    packets_per_frame: u32,
    payload_bytes: usize,
    /// The first so many stages have sound beside the picture.
    #[serde(default)]
    audio_stages: usize,
    seed: u64,
}

#[derive(Serialize)]
struct ViewerRow {
    decrypted: u64,
    wrong: u64,
    packets: u64,
    missing: u64,
    repeated: u64,
    late: u64,
    answered: u64,
    streams: BTreeMap<u32, StreamCount>,
}

/// A repair over a local network takes milliseconds; a server that paces its answers may take its time.
const HISTORY_ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Runs all stages, then has every viewer ask for one packet again. After each stage it prints one JSON line and waits for
/// a line on standard input.
pub fn run(plan: &LoadPlan) -> Result<()> {
    let identity = Identity::new().map_err(Error::other)?;
    let cadence = Cadence {
        frames_per_second: plan.frames_per_second,
        packets_per_frame: plan.packets_per_frame,
        payload_bytes: plan.payload_bytes,
        key_frame_interval: u64::from(plan.frames_per_second) * 2,
        audio: plan.audio_stages > 0,
        seed: plan.seed,
    };
    let mut host = Host::open(&identity, &plan.whip, &plan.host_token, cadence)?;
    host.run(Instant::now())?;
    let mut viewers: Vec<Viewer> = Vec::new();
    let mut events = Events::new()?;
    for (stage, &target) in plan.stages.iter().enumerate() {
        host.set_audio(stage < plan.audio_stages);
        while viewers.len() < target {
            let viewer = Viewer::open(&identity, &plan.whep, &plan.viewer_token, viewers.len(), plan.seed)?;
            events.add(viewer.descriptor(), viewers.len() as u64)?;
            viewers.push(viewer);
            // Media goes on while others join.
            host.run(Instant::now())?;
            events.receive(&mut viewers, Duration::ZERO)?;
        }
        say(&json!({"event": "connected", "viewers": viewers.len(), "srtp_profile": viewers[0].srtp_profile()}));
        // The server has joins, handshakes and first key frames behind it before anything is counted.
        let settle = Duration::from_secs_f64(plan.settle_seconds);
        drive(&mut host, &mut viewers, &mut events, settle)?;
        let before: Vec<u64> = viewers.iter().map(Viewer::packets).collect();
        let offered = host.packets();
        say(&json!({"event": "measuring", "viewers": viewers.len()}));
        host.resume_after(wait_for_line().1);
        let (started, cpu) = (Instant::now(), cpu_seconds());
        drive(
            &mut host,
            &mut viewers,
            &mut events,
            Duration::from_secs_f64(plan.seconds),
        )?;
        let elapsed = started.elapsed().as_secs_f64();
        let received: Vec<u64> = viewers
            .iter()
            .zip(&before)
            .map(|(viewer, before)| viewer.packets() - before)
            .collect();
        say(&json!({
            "event": "stage",
            "viewers": viewers.len(),
            "seconds": elapsed,
            "offered_packets": host.packets() - offered,
            "received_packets": received.iter().sum::<u64>(),
            "fewest_packets_in_stage": received.iter().min(),
            "fewest_packets_per_viewer": viewers.iter().map(Viewer::packets).min(),
            "video_datagram_bytes": viewers.iter().map(Viewer::video_datagram_bytes).sum::<f64>() / viewers.len() as f64,
            "generator_cpu_seconds": cpu_seconds() - cpu,
            "srtp_profile": viewers[0].srtp_profile(),
        }));
        let (line, paused) = wait_for_line();
        host.resume_after(paused);
        // Any word in the line means that the stages so far are enough.
        if !line.trim().is_empty() {
            break;
        }
    }
    // Histories are short: what is asked for must have been sent just now.
    drive(&mut host, &mut viewers, &mut events, Duration::from_secs(1))?;
    let mut asked = 0;
    for viewer in &mut viewers {
        asked += u64::from(viewer.ask_again()?);
    }
    drive(&mut host, &mut viewers, &mut events, HISTORY_ANSWERS_WITHIN)?;
    let rows: Vec<ViewerRow> = viewers.iter().map(row).collect();
    say(&json!({
        "event": "end",
        "asked_again": asked,
        "sockets": viewers.len(),
        "sockets_with_gro": viewers.iter().filter(|viewer| viewer.takes_runs()).count(),
        "viewers": rows,
    }));
    Ok(())
}

fn row(viewer: &Viewer) -> ViewerRow {
    ViewerRow {
        decrypted: viewer.decrypted,
        wrong: viewer.wrong,
        packets: viewer.packets(),
        missing: viewer.streams.values().map(StreamCount::missing).sum(),
        repeated: viewer.streams.values().map(|stream| stream.repeated).sum(),
        late: viewer.streams.values().map(|stream| stream.late).sum(),
        answered: viewer.answered,
        streams: viewer.streams.clone(),
    }
}

/// Waits for a line on standard input; what it says, and how long that took.
fn wait_for_line() -> (String, Duration) {
    let started = Instant::now();
    let mut line = String::new();
    // End of input means that nobody steers: go on.
    let _ = std::io::stdin().lock().read_line(&mut line);
    (line, started.elapsed())
}

fn drive(host: &mut Host, viewers: &mut [Viewer], events: &mut Events, length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    let mut report_at = Instant::now();
    let mut next_report = 0;
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(());
        }
        host.run(now)?;
        // Reports are spread over the second, as those of strangers are.
        while report_at <= now && !viewers.is_empty() {
            viewers[next_report % viewers.len()].report()?;
            next_report += 1;
            report_at += Duration::from_secs(1) / viewers.len() as u32;
        }
        let wait = host
            .next_at()
            .min(report_at)
            .min(end)
            .saturating_duration_since(Instant::now());
        events.receive(viewers, wait)?;
    }
}

/// epoll over the viewers' sockets.
struct Events {
    epoll: i32,
    ready: Vec<libc::epoll_event>,
    buffer: Vec<u8>,
}

impl Events {
    fn new() -> Result<Self> {
        // SAFETY: no memory is passed.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(Error::last_os_error());
        }
        Ok(Events {
            epoll,
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; 1_024],
            buffer: vec![0; 2_048],
        })
    }

    fn add(&mut self, descriptor: i32, number: u64) -> Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: number,
        };
        // SAFETY: `event` lives through the call; the kernel copies it.
        match unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, descriptor, &mut event) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }

    fn receive(&mut self, viewers: &mut [Viewer], wait: Duration) -> Result<()> {
        let timeout = libc::timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        // SAFETY: `ready` has room for as many events as are asked for, and `timeout` lives through the call.
        let count = unsafe {
            libc::epoll_pwait2(
                self.epoll,
                self.ready.as_mut_ptr(),
                self.ready.len() as i32,
                &timeout,
                std::ptr::null(),
            )
        };
        if count < 0 {
            let error = Error::last_os_error();
            return if error.kind() == std::io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error)
            };
        }
        for index in 0..count as usize {
            let number = self.ready[index].u64 as usize;
            viewers[number].receive(&mut self.buffer)?;
        }
        Ok(())
    }
}
