//! Sound that waits for its picture, for the viewers whose players show it later.

use super::Shard;
use super::fan_out::Audience;
use super::rooms::Source;
use crate::handoff::SourceHandle;
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::hold::{SoundHold, hold_for};
use tradewind_core::packet::MediaPacket;
use tradewind_core::source::{MediaKind, TrackInfo};
use tradewind_core::time::Time;

/// What waits of one source.
pub struct HeldSound {
    /// By track; none for video.
    holds: Vec<Option<SoundHold>>,
    /// When the first of it is due, as noted in the shard's table.
    due: Option<Time>,
}

impl HeldSound {
    /// Nothing waits.
    pub fn new(tracks: &[TrackInfo]) -> Self {
        let has_picture = tracks.iter().any(|track| track.codec.kind() == MediaKind::Video);
        let holds = tracks
            .iter()
            .map(|track| {
                (has_picture && track.codec.kind() == MediaKind::Audio)
                    .then(|| SoundHold::new(track.codec.clock_rate()))
            })
            .collect();
        HeldSound { holds, due: None }
    }
}

impl Shard {
    /// Sound does not wait behind a picture, and its packets are single. Players that buffer the picture get it when their
    /// picture will be shown, the others at once.
    pub(super) fn handle_sound(&mut self, handle: SourceHandle, track: usize, packet: Arc<MediaPacket>, now: Time) {
        let sound_hold = self.parts.features.sound_hold;
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        let hold = source.sound.holds[track].as_mut().filter(|_| sound_hold);
        let Some(hold) = hold.filter(|_| hold_for(source.repair_delay).is_some()) else {
            return self.fan_out(handle, &[(track as u8, packet)], Audience::All, now);
        };
        hold.handle_packet(Arc::clone(&packet));
        self.fan_out(handle, &[(track as u8, packet)], Audience::ShowingAtOnce, now);
        self.release_sound(handle, now);
    }

    /// Sends the sound whose time has come.
    pub(super) fn release_due_sound(&mut self, now: Time) {
        while let Some((due, handle)) = self.held_sound.first().copied() {
            if due > now {
                return;
            }
            self.release_sound(handle, now);
        }
    }

    fn release_sound(&mut self, handle: SourceHandle, now: Time) {
        let Some(source) = self.sources.get(&handle) else {
            return;
        };
        let wait = hold_for(source.repair_delay).unwrap_or_default();
        for track in 0..source.sound.holds.len() {
            loop {
                let hold = self
                    .sources
                    .get_mut(&handle)
                    .and_then(|source| source.sound.holds[track].as_mut());
                let Some(packet) = hold.and_then(|hold| hold.poll_packet(wait, now)) else {
                    break;
                };
                self.fan_out(handle, &[(track as u8, packet)], Audience::BufferingPictures, now);
            }
        }
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        let due = source
            .sound
            .holds
            .iter()
            .flatten()
            .filter_map(|hold| hold.poll_timeout(wait))
            .min();
        if due != source.sound.due {
            if let Some(noted) = source.sound.due {
                self.held_sound.remove(&(noted, handle));
            }
            self.held_sound.extend(due.map(|due| (due, handle)));
            source.sound.due = due;
        }
    }

    /// When [`Shard::release_due_sound`] has something to do.
    pub(super) fn next_held_sound(&self) -> Option<Time> {
        self.held_sound.first().map(|(due, _)| *due)
    }

    /// Has players of a source buffer for its repairs.
    pub(super) fn apply_repair_delay(&mut self, handle: SourceHandle, repair_ms: u16, now: Time) {
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        source.repair_delay = Duration::from_millis(repair_ms.into());
        let Some(room) = self.rooms.get(source.info.id.room.as_str()) else {
            return;
        };
        if room.current != Some(handle) {
            return;
        }
        for index in &room.viewers {
            if let Some(send) = self.peers[*index].as_mut().and_then(|peer| peer.session.send()) {
                send.set_repair_delay(source.repair_delay);
            }
        }
        self.release_sound(handle, now);
    }

    /// Nothing of a source that is gone is due.
    pub(super) fn forget_held_sound(&mut self, handle: SourceHandle, source: &Source) {
        if let Some(due) = source.sound.due {
            self.held_sound.remove(&(due, handle));
        }
    }
}
