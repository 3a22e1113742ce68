//! What goes to other workers and comes from them: packets of sources, and who wants them.

use super::Shard;
use crate::counters::DropReason;
use crate::handoff::{Handoff, SourceHandle, WorkerIndex};
use std::sync::Arc;
use tradewind_core::packet::MediaPacket;
use tradewind_core::time::Time;

impl Shard {
    /// A packet of a host of this shard.
    pub(super) fn publish_packet(&mut self, index: usize, track: usize, mut packet: MediaPacket, now: Time) {
        let Some(handle) = self.source_of(index, now) else {
            return;
        };
        self.note_first_media(index);
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        match source.complete_key_frame(track, &mut packet) {
            Ok(before) => {
                if let Some(before) = before {
                    self.pass_on(handle, track, before, now);
                }
                self.pass_on(handle, track, packet, now);
            }
            Err(reason) => self.parts.counters.drop_named(reason.name()),
        }
    }

    /// Hands a packet to every worker that wants it, and to the viewers here.
    fn pass_on(&mut self, handle: SourceHandle, track: usize, packet: MediaPacket, now: Time) {
        let packet = Arc::new(packet);
        let Some(source) = self.sources.get(&handle) else {
            return;
        };
        let room = self.rooms.get(source.info.id.room.as_str());
        for worker in room.map_or(&[][..], |room| &room.interested) {
            let handoff = Handoff::Packet {
                source: handle,
                track: track as u8,
                packet: Arc::clone(&packet),
            };
            if self.parts.mailbox.send_media(*worker, handoff).is_err() {
                let to_trunk = *worker >= self.parts.shards;
                self.parts.counters.drop_one(if to_trunk {
                    DropReason::HandoffTrunkFull
                } else {
                    DropReason::HandoffRingFull
                });
            }
        }
        self.handle_packet(handle, track, packet, now);
    }

    /// Another worker wants, or no longer wants, a room's media: it gets what is kept from the latest key frame on.
    pub(super) fn handle_interest(&mut self, from: WorkerIndex, room: &Arc<str>, wanted: bool) {
        let state = self.rooms.entry(Arc::clone(room)).or_default();
        state.interested.retain(|worker| *worker != from);
        if !wanted {
            return self.forget_room(room);
        }
        state.interested.push(from);
        let own = self.parts.mailbox.index();
        for (handle, source) in &self.sources {
            if source.owner != own || *source.info.id.room != **room {
                continue;
            }
            for (track, clock) in source.clocks.iter().enumerate() {
                if let Some(clock) = *clock {
                    let notice = Handoff::SenderClock {
                        source: *handle,
                        track: track as u8,
                        clock,
                    };
                    if self.parts.mailbox.send_notice(from, notice).is_err() {
                        self.parts.counters.drop_one(DropReason::HandoffNoticeFull);
                    }
                }
            }
            for (track, ring) in source.rings.iter().enumerate() {
                let (Some(start), Some(last)) = (ring.group_start(), ring.highest()) else {
                    continue;
                };
                for packet in (start..=last).filter_map(|number| ring.get(number)) {
                    let handoff = Handoff::Packet {
                        source: *handle,
                        track: track as u8,
                        packet: Arc::clone(packet),
                    };
                    if self.parts.mailbox.send_media(from, handoff).is_err() {
                        self.parts.counters.drop_one(DropReason::HandoffRingFull);
                    }
                }
            }
        }
    }

    /// Takes a batch of what other workers handed over; returns whether more waits.
    pub(super) fn handle_handoffs(&mut self, now: Time) -> bool {
        for _ in 0..super::HANDOFFS_PER_TURN {
            let Some((from, handoff)) = self.parts.mailbox.receive() else {
                return false;
            };
            match handoff {
                Handoff::Packet { source, track, packet } => self.handle_packet(source, track.into(), packet, now),
                Handoff::SourceUp { handle, info } => self.bring_up(handle, info, from, None, now),
                Handoff::SourceDown { handle, .. } => self.take_down(handle, now),
                Handoff::SenderClock { source, track, clock } => {
                    self.apply_sender_clock(source, track.into(), clock, now);
                }
                Handoff::RepairDelay { source, repair_ms } => self.apply_repair_delay(source, repair_ms, now),
                Handoff::Interest { room, wanted } => self.handle_interest(from, &room, wanted),
                Handoff::KeyFrameRequest { source, track } => self.request_key_frame(source, track.into(), now),
                Handoff::ForeignDatagram(mut datagram) => {
                    let (source, destination) = (datagram.source, datagram.destination);
                    self.handle_datagram(true, source, destination, &mut datagram.bytes, now);
                }
                Handoff::AddressOwned { address } => self.addresses.handle_owned(address, from),
                Handoff::AddressReleased { address } => self.addresses.handle_released(address, from),
                Handoff::AddressClaimed { address } => self.handle_claim(from, address, now),
            }
        }
        true
    }
}
