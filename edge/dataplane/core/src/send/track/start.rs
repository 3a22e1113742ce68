//! Where a viewer starts in a source: live at a key frame, from the ring's group of pictures, or after a first burst.

use super::super::beginning::Beginning;
use super::super::pace::Pacer;
use super::super::timeline::Replay;
use super::{Phase, TrackSender};
use crate::codec::h264::has_sps;
use crate::packet::MediaPacket;
use crate::ring::StreamRing;
use crate::source::{Codec, MediaKind};
use crate::time::Time;
use std::sync::Arc;

/// The replayed frames are stamped at most this far, 200 ms at 90 kHz, past the place of the newest.
const ADVANCE_MAX: i64 = 18_000;

impl TrackSender {
    /// When a viewer of a source that is new here starts, unless more of its first burst comes.
    pub(in crate::send) fn begins_at(&self) -> Option<Time> {
        self.beginning.as_ref().map(Beginning::over_at)
    }

    /// Starts from the ring now that the first burst is in it. `false` when a key frame has to be waited for after all.
    pub(in crate::send) fn begin_from(&mut self, ring: &StreamRing, now: Time) -> bool {
        self.beginning = None;
        let begins = self.start_replay(ring, now);
        if !begins {
            self.await_key_frame();
        }
        begins
    }

    pub(super) fn start_replay(&mut self, ring: &StreamRing, now: Time) -> bool {
        let Some(range) = ring.group_replay(now) else {
            return false;
        };
        let packets = range.clone().filter_map(|number| ring.get(number));
        let bytes: usize = packets
            .clone()
            .map(|packet| packet.payload.len() + self.header.plain_len() + 16)
            .sum();
        let (Some(first), Some(newest)) = (packets.clone().next(), packets.clone().next_back()) else {
            return false;
        };
        let replay = replay_of(first.timestamp, newest.timestamp, bytes, packets, now);
        let key_frame = range
            .map_while(|number| ring.get(number))
            .take_while(|packet| packet.timestamp == first.timestamp);
        let complete = key_frame.into_iter().any(|packet| has_sps(&packet.payload));
        self.begin(first, complete, Some(replay), now);
        self.behind = true;
        true
    }

    /// The first packet of a source for this viewer is known.
    ///
    /// A decoder needs parameter sets before the key frame: unless it brings them (`complete`), those of the source's description
    /// go first, as a packet of their own that `poll_held` gives out.
    pub(super) fn begin(&mut self, first: &MediaPacket, complete: bool, replay: Option<Replay>, now: Time) {
        self.phase = Phase::Live;
        self.start = first.extended_sequence_number;
        self.cursor = self.start;
        self.prelude = None;
        if self.parameter_sets.is_some() && !complete {
            self.prelude = Some((self.numbering.take(), first.timestamp));
            self.behind = true;
        }
        self.numbering.start(self.start);
        self.timeline.start(first.timestamp, replay, now);
        if self.codec.is_some_and(|codec| codec.codec == Codec::Vp8) {
            self.picture_numbers.restart(&first.payload);
        }
        self.key_frame_wanted = false;
    }

    /// Begins with this live packet if it can be entered there: sound anywhere, a picture at a key frame.
    pub(in crate::send) fn begin_live(&mut self, packet: &MediaPacket, now: Time) -> bool {
        let entry = self.kind == MediaKind::Audio || packet.key_frame_start;
        if self.phase != Phase::Awaiting || !entry || self.is_beginning(packet, now) {
            return false;
        }
        self.begin(packet, has_sps(&packet.payload), None, now);
        // A repaired key frame comes after packets that follow it: those wait in the ring.
        self.behind |= self.passed_over > packet.extended_sequence_number;
        true
    }

    /// Whether this packet is one of the first of a source that is new here; those go out when it is known how they come.
    pub(super) fn is_beginning(&mut self, packet: &MediaPacket, now: Time) -> bool {
        if let Some(beginning) = &mut self.beginning {
            beginning.handle_packet(packet.timestamp, now);
            return true;
        }
        if !self.new_here || !self.by_trunk || !packet.key_frame_start {
            return false;
        }
        self.new_here = false;
        self.key_frame_wanted = false;
        self.beginning = Some(Beginning::new(Codec::Vp8.clock_rate(), packet.timestamp, now));
        true
    }

    pub(super) fn await_key_frame(&mut self) {
        self.phase = Phase::Awaiting;
        self.passed_over = 0;
        self.behind = false;
        self.key_frame_wanted = true;
    }
}

/// Stamps a replay so that it lies, as it is sent, on the line that the live frames will take: a player fits a line through when
/// each frame came, and never forgets. With the newest frame at its own place libwebrtc showed the live ones 5 to 60 ms early for
/// half a minute (timestamp_extrapolator.cc, which weighs every frame alike).
fn replay_of<'a>(
    first: u32,
    newest: u32,
    bytes: usize,
    packets: impl Iterator<Item = &'a Arc<MediaPacket>>,
    now: Time,
) -> Replay {
    let rate = i64::from(Codec::Vp8.clock_rate());
    let span = newest.wrapping_sub(first);
    let sending = Pacer::time_for(bytes).as_micros() as i64 * rate / 1_000_000;
    // At least a fiftieth of its span, so that frames stay distinct.
    let ticks = i64::from((sending as u32).max(span / 50).min(span));
    // The frame that came soonest after it was made tells the line: those of a burst were kept somewhere before.
    let age = packets
        .filter(|packet| packet.marker)
        .map(|packet| {
            let passed = (now - packet.received_at).as_micros() as i64 * rate / 1_000_000;
            passed - i64::from(newest.wrapping_sub(packet.timestamp))
        })
        .max()
        .unwrap_or(0);
    let advance = (age + (sending + ticks) / 2).clamp(0, ADVANCE_MAX);
    Replay {
        newest,
        ticks: ticks as u32,
        advance: advance as u32,
    }
}
