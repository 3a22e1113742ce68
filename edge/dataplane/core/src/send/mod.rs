//! A viewer's side of a session: [`MediaPacket`]s in, sealed RTP out, and the RTCP around it.
//!
//! Per-viewer rewriting, history, retransmission, pacing, replay of the first group of pictures, sender reports and takeover
//! live here. Sockets do not, nor anything that knows a publisher's session. Nothing allocates per packet.
//!
//! The driver, per packet of a source: insert it into the stream's ring, then for each viewer ask `begin`, and `write` it. What
//! `write` holds back for pacing, replays and retransmissions come out of `poll_packet`, again and again until `None`, at each
//! `poll_timeout`.

mod beginning;
mod codec;
mod drops;
mod header;
mod history;
mod numbering;
mod pace;
mod parameters;
mod report;
#[cfg(test)]
mod tests;
mod timeline;
mod track;

use crate::packet::{MediaPacket, Ssrc};
use crate::ring::StreamRing;
use crate::rtcp::{self, NackedNumbers, Rtcp};
use crate::source::{MediaKind, SenderClock, SourceInfo};
use crate::srtp::SealContext;
use crate::time::Time;
pub use codec::SendCodec;
pub use drops::SendDrop;
use pace::Pacer;
pub use parameters::{SendDisabled, SendExtensions, SendParameters, SendTrackParameters};
use report::ReportClock;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use track::TrackSender;

/// How long reports wait after a takeover for the clocks of both tracks. Chromium reports sound first after 1.3 to 3.8 s.
const ALIGNMENT_PATIENCE: Duration = Duration::from_secs(6);

/// Repairs that wait for their turn. A viewer that has lost more needs a key frame, not packets.
const MAX_REPAIRS: usize = 256;

/// Entries looked at in one FIR; a viewer has one or two video tracks.
const MAX_FIR_ENTRIES: usize = 4;

/// Counters since the start of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// RTP packets sent, retransmissions included.
    pub packets: u64,
    /// Their bytes, headers and tags included.
    pub bytes: u64,
    /// Retransmissions among them.
    pub retransmissions: u64,
    /// Packets asked for by NACK.
    pub nacks_received: u64,
    /// Key frames asked for by PLI or FIR.
    pub key_frame_requests: u64,
    /// Starts from a kept key frame.
    pub replays: u64,
}

/// The viewer's side of a session.
pub struct SendHalf {
    cname: String,
    disabled: SendDisabled,
    tracks: Vec<TrackSender>,
    pacer: Pacer,
    /// Repairs to be made: index into `tracks` and the viewer's sequence number.
    repairs: VecDeque<(usize, u16)>,
    reports: ReportClock,
    /// Until then reports wait for the other track's clock; see `awaits_alignment`.
    alignment_until: Time,
    drops: [u32; SendDrop::ALL.len()],
    stats: SendStats,
}

impl SendHalf {
    /// A half that watches nothing yet.
    pub fn new(parameters: SendParameters) -> SendHalf {
        SendHalf {
            cname: parameters.cname,
            disabled: parameters.disabled,
            tracks: parameters.tracks.into_iter().map(TrackSender::new).collect(),
            pacer: Pacer::default(),
            repairs: VecDeque::new(),
            reports: ReportClock::default(),
            alignment_until: Time::ZERO,
            drops: [0; SendDrop::ALL.len()],
            stats: SendStats::default(),
        }
    }

    /// Shows a source to the viewer: the first one, or another that takes over. `clocks` and `rings` by the source's track index.
    ///
    /// Ssrcs stay, timestamps move forward, video starts at a key frame: replayed from the ring when there is one, else asked for.
    /// Sender reports are due at once; sent before `poll_packet` they precede the first packet.
    pub fn switch_source(
        &mut self,
        source: &SourceInfo,
        clocks: &[Option<SenderClock>],
        rings: &[StreamRing],
        now: Time,
    ) {
        self.repairs.clear();
        for track in &mut self.tracks {
            let replays = track.switch_source(source, rings, !self.disabled.cache, now);
            self.stats.replays += u64::from(replays);
            if let Some(clock) = track.source_track().and_then(|index| *clocks.get(index)?) {
                track.handle_sender_clock(clock, now);
            }
        }
        self.alignment_until = now + ALIGNMENT_PATIENCE;
        self.align();
        self.reports.restart(now);
    }

    /// From now on video packets tell the player to buffer at least this long; a hint that delays nothing here.
    ///
    /// Nothing is said until a delay is worth saying, so that near streams pay no bytes for it.
    pub fn set_repair_delay(&mut self, delay: Duration) {
        for track in &mut self.tracks {
            track.set_repair_delay(delay);
        }
    }

    /// Whether the player obeys [`SendHalf::set_repair_delay`]: it would show a picture later than its sound.
    pub fn buffers_pictures(&self) -> bool {
        self.tracks.iter().any(TrackSender::buffers_pictures)
    }

    /// The source is gone and no other has come: nothing is due until `switch_source`, which then goes on as at a takeover.
    pub fn clear_source(&mut self) {
        self.repairs.clear();
        self.tracks.iter_mut().for_each(TrackSender::clear_source);
    }

    /// Whether a track begins for this viewer with this live packet. Its report is due then: sent before `write` it precedes the
    /// first packet.
    pub fn begin(&mut self, track: usize, packet: &MediaPacket, now: Time) -> bool {
        let mut tracks = self.tracks.iter_mut();
        let sender = tracks.find(|sender| sender.source_track() == Some(track));
        let begins = sender.is_some_and(|sender| !sender.is_live() && sender.begin_live(packet, now));
        if begins {
            self.align();
            self.reports.restart(now);
        }
        begins
    }

    /// Rewrites and seals one live packet of the source's `track`, appended to `output`; the packet is in the ring already.
    ///
    /// `Ok(None)` when nothing goes out now: the packet is held back for pacing and comes out of `poll_packet`, or its number was
    /// spent on padding.
    pub fn write(
        &mut self,
        track: usize,
        packet: &MediaPacket,
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Result<Option<Range<usize>>, SendDrop> {
        let sender = self
            .tracks
            .iter_mut()
            .find(|sender| sender.source_track() == Some(track))
            .ok_or(SendDrop::NoTrack)?;
        let began = sender.is_live();
        let written = sender.write(packet, &mut self.pacer, output, seal, now)?;
        if !began {
            self.align();
            self.reports.restart(now);
        }
        if let Some(range) = &written {
            self.pacer.handle_sent(range.len());
            self.stats.packets += 1;
            self.stats.bytes += range.len() as u64;
        }
        Ok(written)
    }

    /// The next sealed packet that is due: retransmissions first, then what pacing has held back. Call until `None`.
    pub fn poll_packet(
        &mut self,
        rings: &[StreamRing],
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Option<Range<usize>> {
        if self.begin_due(rings, now) || !self.has_backlog() || !self.pacer.admits(now) {
            return None;
        }
        let range = self
            .poll_repair(rings, output, seal)
            .or_else(|| self.poll_held(rings, output, seal, now))?;
        self.pacer.handle_sent(range.len());
        self.stats.packets += 1;
        self.stats.bytes += range.len() as u64;
        Some(range)
    }

    fn poll_repair(&mut self, rings: &[StreamRing], output: &mut Vec<u8>, seal: &SealContext) -> Option<Range<usize>> {
        while let Some((index, sequence_number)) = self.repairs.pop_front() {
            let sender = &mut self.tracks[index];
            let Some(ring) = sender.source_track().and_then(|track| rings.get(track)) else {
                continue;
            };
            match sender.repair(sequence_number, ring, output, seal) {
                Ok(range) => {
                    self.stats.retransmissions += 1;
                    return Some(range);
                }
                Err(reason) => self.count(reason),
            }
        }
        None
    }

    fn poll_held(
        &mut self,
        rings: &[StreamRing],
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Option<Range<usize>> {
        for index in 0..self.tracks.len() {
            let sender = &mut self.tracks[index];
            let Some(ring) = sender.source_track().and_then(|track| rings.get(track)) else {
                // A driver without the source's rings has lost the source.
                sender.clear_source();
                continue;
            };
            while sender.is_behind() {
                match sender.poll_held(ring, output, seal, now) {
                    Ok(Some(range)) => return Some(range),
                    Ok(None) => break,
                    Err(reason) => {
                        self.drops[reason.index()] += 1;
                    }
                }
            }
        }
        None
    }

    /// Starts the tracks whose source's first burst is over. `true` when one did: its report is due before its first packet.
    fn begin_due(&mut self, rings: &[StreamRing], now: Time) -> bool {
        let mut replays = 0;
        for sender in &mut self.tracks {
            if sender.begins_at().is_some_and(|at| at <= now)
                && let Some(ring) = sender.source_track().and_then(|track| rings.get(track))
            {
                replays += u64::from(sender.begin_from(ring, now));
            }
        }
        if replays > 0 {
            self.stats.replays += replays;
            self.align();
            self.reports.restart(now);
        }
        replays > 0
    }

    fn has_backlog(&self) -> bool {
        !self.repairs.is_empty() || self.tracks.iter().any(TrackSender::is_behind)
    }

    /// Takes one decrypted RTCP compound: repair and key-frame requests, reception reports.
    pub fn handle_rtcp(&mut self, compound: &[u8], now: Time) -> Result<(), SendDrop> {
        for packet in rtcp::parse(compound).map_err(SendDrop::Rtcp)? {
            match packet {
                Rtcp::Nack {
                    media_ssrc, missing, ..
                } => self.handle_nack(media_ssrc, missing, now),
                Rtcp::Pli { media_ssrc, .. } => self.handle_key_frame_request(media_ssrc),
                Rtcp::Fir { entries, .. } => {
                    for entry in entries.chunks_exact(8).take(MAX_FIR_ENTRIES) {
                        self.handle_key_frame_request(Ssrc(u32::from_be_bytes([
                            entry[0], entry[1], entry[2], entry[3],
                        ])));
                    }
                }
                Rtcp::ReceiverReport { receptions, .. } | Rtcp::SenderReport { receptions, .. } => {
                    for reception in receptions {
                        self.reports.handle_reception(&reception, now);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn handle_nack(&mut self, media_ssrc: Ssrc, missing: NackedNumbers<'_>, now: Time) {
        let Some(index) = self.tracks.iter().position(|track| track.ssrc() == media_ssrc) else {
            self.count(SendDrop::UnknownSsrc);
            return;
        };
        // Before the first report nothing is known of the round trip; a player repeats itself after 100 ms at the earliest.
        let rtt = self
            .reports
            .rtt()
            .unwrap_or(Duration::from_millis(50))
            .max(Duration::from_millis(10));
        for sequence_number in missing {
            self.stats.nacks_received += 1;
            let reason = if self.disabled.nack {
                Some(SendDrop::NackDisabled)
            } else if self.repairs.len() >= MAX_REPAIRS {
                Some(SendDrop::NackOverflow)
            } else {
                self.tracks[index].accept_nack(sequence_number, rtt, now).err()
            };
            match reason {
                Some(reason) => self.count(reason),
                None => self.repairs.push_back((index, sequence_number)),
            }
        }
    }

    fn handle_key_frame_request(&mut self, media_ssrc: Ssrc) {
        match self.tracks.iter_mut().find(|track| track.ssrc() == media_ssrc) {
            Some(track) => {
                self.stats.key_frame_requests += 1;
                track.want_key_frame();
            }
            None => self.count(SendDrop::UnknownSsrc),
        }
    }

    /// A new mapping of wallclock to RTP time for the source's `track`.
    pub fn handle_sender_clock(&mut self, track: usize, clock: SenderClock, now: Time) {
        let Some(sender) = self
            .tracks
            .iter_mut()
            .find(|sender| sender.source_track() == Some(track))
        else {
            return;
        };
        let first = !sender.has_sender_clock();
        sender.handle_sender_clock(clock, now);
        self.align();
        if first {
            self.reports.restart(now);
        }
    }

    /// After a takeover: moves video so that both tracks relate to the wallclock as before, or both differently by the same.
    fn align(&mut self) {
        let Some(leader) = self
            .tracks
            .iter()
            .position(|track| track.kind() == MediaKind::Audio && track.is_live())
        else {
            return;
        };
        for follower in 0..self.tracks.len() {
            if follower != leader && self.tracks[follower].is_live() {
                let [leader, follower] = self
                    .tracks
                    .get_disjoint_mut([leader, follower])
                    .expect("two different indices within the list");
                if follower.timeline.align_to(&leader.timeline) {
                    follower.timeline.forget_before();
                }
            }
        }
    }

    /// Whether a takeover's tracks have not been aligned yet. A player fits a line through each track's last twenty reports: when
    /// the new host's clock enters one track's line seconds before the other's, sound and picture part for as long.
    fn awaits_alignment(&self) -> bool {
        let continues = |kind| {
            self.tracks
                .iter()
                .any(|track| track.kind() == kind && track.source_track().is_some() && track.timeline.continues())
        };
        continues(MediaKind::Audio) && continues(MediaKind::Video)
    }

    /// The next plaintext compound to seal and send: sender reports with SDES, before the first packet and each second.
    pub fn poll_rtcp(&mut self, now: Time) -> Option<Vec<u8>> {
        if !self.reports.is_due(now) {
            return None;
        }
        if self.disabled.sender_reports {
            self.reports.schedule(false, now);
            return None;
        }
        if now < self.alignment_until && self.awaits_alignment() {
            self.reports.wait_until(self.alignment_until);
            return None;
        }
        let mut compound = Vec::new();
        for track in &self.tracks {
            if let Some(report) = track.sender_report(now) {
                rtcp::write_sender_report(&mut compound, &report, &[]);
                self.reports.handle_sent(&report, now);
            }
        }
        for track in self.tracks.iter().filter(|track| track.sender_report(now).is_some()) {
            rtcp::write_sdes(&mut compound, track.ssrc(), &self.cname);
        }
        self.reports.schedule(!compound.is_empty(), now);
        if compound.is_empty() { None } else { Some(compound) }
    }

    /// The source's track of which a key frame is wanted; repeated while the viewer waits for one.
    pub fn poll_key_frame_request(&mut self, now: Time) -> Option<usize> {
        self.tracks
            .iter_mut()
            .find_map(|track| track.poll_key_frame_request(now))
    }

    /// When `poll_packet`, `poll_rtcp` or `poll_key_frame_request` will next have something.
    pub fn poll_timeout(&self) -> Option<Time> {
        let backlog = self.has_backlog().then(|| self.pacer.next_admission());
        let key_frames = self.tracks.iter().filter_map(TrackSender::key_frame_request_at);
        let beginnings = self.tracks.iter().filter_map(TrackSender::begins_at);
        key_frames
            .chain(beginnings)
            .chain(backlog)
            .chain(self.reports.poll_timeout())
            .min()
    }

    /// The plaintext compound that ends the session from our side.
    pub fn goodbye(&mut self, _now: Time) -> Vec<u8> {
        let ssrcs: Vec<Ssrc> = self
            .tracks
            .iter()
            .flat_map(|track| [track.ssrc(), track.rtx_ssrc()])
            .collect();
        let mut compound = Vec::new();
        if let Some(first) = ssrcs.first() {
            rtcp::write_receiver_report(&mut compound, *first, &[]);
            rtcp::write_sdes(&mut compound, *first, &self.cname);
            rtcp::write_bye(&mut compound, &ssrcs);
        }
        compound
    }

    /// Reasons counted inside the half since the last call (a result that `write` or `handle_rtcp` returned is not among them).
    pub fn drain_drops(&mut self, mut count: impl FnMut(SendDrop, u32)) {
        for (reason, counted) in SendDrop::ALL.iter().zip(&mut self.drops) {
            if *counted > 0 {
                count(*reason, std::mem::take(counted));
            }
        }
    }

    fn count(&mut self, reason: SendDrop) {
        self.drops[reason.index()] += 1;
    }

    /// Counters, all tracks together.
    pub fn stats(&self) -> SendStats {
        self.stats
    }

    /// Smoothed round-trip time from the viewer's reports; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.reports.rtt()
    }
}

/// Ticks of an RTP clock as UQ32.32 seconds.
fn ntp_from_ticks(ticks: i64, clock_rate: u32) -> i64 {
    ((i128::from(ticks) << 32) / i128::from(clock_rate)) as i64
}
