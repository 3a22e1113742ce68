//! RTCP packets appended to a compound.

use super::{GOODBYE, PAYLOAD_FEEDBACK, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_FEEDBACK, be32};
use crate::packet::Ssrc;

/// What a sender reports of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderReport {
    /// Who reports.
    pub ssrc: Ssrc,
    /// NTP timestamp, UQ32.32 seconds.
    pub ntp: u64,
    /// RTP timestamp of the same moment.
    pub rtp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload bytes sent.
    pub octet_count: u32,
}

impl SenderReport {
    pub(super) fn read(fixed: &[u8]) -> SenderReport {
        SenderReport {
            ssrc: Ssrc(be32(fixed, 0)),
            ntp: u64::from(be32(fixed, 4)) << 32 | u64::from(be32(fixed, 8)),
            rtp: be32(fixed, 12),
            packet_count: be32(fixed, 16),
            octet_count: be32(fixed, 20),
        }
    }
}

/// What a receiver reports of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceptionReport {
    /// The source reported on.
    pub ssrc: Ssrc,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, 24 bit signed; duplicates make it negative.
    pub cumulative_lost: i32,
    /// Highest sequence number with the count of its cycles above.
    pub extended_highest_sequence_number: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP timestamp; 0 when there was none.
    pub last_sender_report: u32,
    /// Delay since that SR in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReceptionReport {
    pub(super) fn read(block: &[u8]) -> ReceptionReport {
        let loss = be32(block, 4);
        ReceptionReport {
            ssrc: Ssrc(be32(block, 0)),
            fraction_lost: (loss >> 24) as u8,
            cumulative_lost: (loss << 8) as i32 >> 8,
            extended_highest_sequence_number: be32(block, 8),
            jitter: be32(block, 12),
            last_sender_report: be32(block, 16),
            delay_since_last_sender_report: be32(block, 20),
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        let lost = self.cumulative_lost.clamp(-(1 << 23), (1 << 23) - 1) as u32 & 0x00FF_FFFF;
        for word in [
            self.ssrc.0,
            u32::from(self.fraction_lost) << 24 | lost,
            self.extended_highest_sequence_number,
            self.jitter,
            self.last_sender_report,
            self.delay_since_last_sender_report,
        ] {
            output.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Appends an SR; at most 31 reception reports fit, more are left out (RFC 3550 §6.4.1).
pub fn write_sender_report(output: &mut Vec<u8>, report: &SenderReport, receptions: &[ReceptionReport]) {
    let receptions = &receptions[..receptions.len().min(31)];
    write_packet(output, receptions.len() as u8, SENDER_REPORT, |output| {
        output.extend_from_slice(&report.ssrc.0.to_be_bytes());
        output.extend_from_slice(&report.ntp.to_be_bytes());
        for word in [report.rtp, report.packet_count, report.octet_count] {
            output.extend_from_slice(&word.to_be_bytes());
        }
        receptions.iter().for_each(|reception| reception.write(output));
    });
}

/// Appends an RR; at most 31 reception reports fit, more are left out.
pub fn write_receiver_report(output: &mut Vec<u8>, ssrc: Ssrc, receptions: &[ReceptionReport]) {
    let receptions = &receptions[..receptions.len().min(31)];
    write_packet(output, receptions.len() as u8, RECEIVER_REPORT, |output| {
        output.extend_from_slice(&ssrc.0.to_be_bytes());
        receptions.iter().for_each(|reception| reception.write(output));
    });
}

/// Appends an SDES with one chunk and its CNAME; the name is cut at 255 bytes (RFC 3550 §6.5.1).
pub fn write_sdes(output: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let name = &cname.as_bytes()[..cname.len().min(255)];
    write_packet(output, 1, SOURCE_DESCRIPTION, |output| {
        let start = output.len();
        output.extend_from_slice(&ssrc.0.to_be_bytes());
        output.extend_from_slice(&[1, name.len() as u8]);
        output.extend_from_slice(name);
        // RFC 3550 §6.5: one or more null bytes end the chunk on a 32-bit boundary.
        output.push(0);
        while !(output.len() - start).is_multiple_of(4) {
            output.push(0);
        }
    });
}

/// Appends a BYE; at most 31 ssrcs fit, more are left out.
pub fn write_bye(output: &mut Vec<u8>, ssrcs: &[Ssrc]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(31)];
    write_packet(output, ssrcs.len() as u8, GOODBYE, |output| {
        ssrcs
            .iter()
            .for_each(|ssrc| output.extend_from_slice(&ssrc.0.to_be_bytes()));
    });
}

/// Appends a generic NACK for numbers in ascending (wrapping) order; nothing when there are none.
pub fn write_nack(
    output: &mut Vec<u8>,
    sender_ssrc: Ssrc,
    media_ssrc: Ssrc,
    sequence_numbers: impl IntoIterator<Item = u16>,
) {
    let mut numbers = sequence_numbers.into_iter().peekable();
    if numbers.peek().is_none() {
        return;
    }
    write_packet(output, 1, TRANSPORT_FEEDBACK, |output| {
        output.extend_from_slice(&sender_ssrc.0.to_be_bytes());
        output.extend_from_slice(&media_ssrc.0.to_be_bytes());
        while let Some(base) = numbers.next() {
            let mut mask = 0u16;
            while let Some(distance) = numbers.peek().map(|number| number.wrapping_sub(base)) {
                if !(1..=16).contains(&distance) {
                    break;
                }
                mask |= 1 << (distance - 1);
                numbers.next();
            }
            output.extend_from_slice(&base.to_be_bytes());
            output.extend_from_slice(&mask.to_be_bytes());
        }
    });
}

/// Appends a picture loss indication.
pub fn write_pli(output: &mut Vec<u8>, sender_ssrc: Ssrc, media_ssrc: Ssrc) {
    write_packet(output, 1, PAYLOAD_FEEDBACK, |output| {
        output.extend_from_slice(&sender_ssrc.0.to_be_bytes());
        output.extend_from_slice(&media_ssrc.0.to_be_bytes());
    });
}

/// Appends a full intra request; `command` goes up by one with each new request (RFC 5104 §4.3.1.1).
pub fn write_fir(output: &mut Vec<u8>, sender_ssrc: Ssrc, media_ssrc: Ssrc, command: u8) {
    write_packet(output, 4, PAYLOAD_FEEDBACK, |output| {
        output.extend_from_slice(&sender_ssrc.0.to_be_bytes());
        output.extend_from_slice(&[0; 4]);
        output.extend_from_slice(&media_ssrc.0.to_be_bytes());
        output.extend_from_slice(&[command, 0, 0, 0]);
    });
}

/// Appends one packet: header, body, and the length once it is known. Bodies are multiples of four bytes.
pub(super) fn write_packet(output: &mut Vec<u8>, count: u8, packet_type: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = output.len();
    output.extend_from_slice(&[0x80 | (count & 0x1F), packet_type, 0, 0]);
    body(output);
    let words = ((output.len() - start) / 4 - 1) as u16;
    output[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}
