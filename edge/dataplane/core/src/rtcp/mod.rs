//! RTCP packets (RFC 3550 §6, RFC 4585, RFC 5104, transport-wide feedback): compounds read from strangers, packets written.
//!
//! Reading never allocates; an unknown packet type is passed over, a broken length ends the compound. What to answer is
//! decided in `receive` and `send`, never here.

mod twcc;
mod write;

pub use twcc::{TwccFeedback, TwccRecorder};
pub use write::{
    ReceptionReport, SenderReport, write_bye, write_fir, write_nack, write_pli, write_receiver_report, write_sdes,
    write_sender_report,
};

use crate::packet::Ssrc;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// Why a datagram is not RTCP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RtcpError {
    /// A packet is shorter than its length field or than its type demands.
    Truncated,
    /// The version field is not 2.
    BadVersion,
}

impl RtcpError {
    /// Every reason, so that each has a counter from the start.
    pub const ALL: &'static [RtcpError] = &[RtcpError::Truncated, RtcpError::BadVersion];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            RtcpError::Truncated => "rtcp_truncated",
            RtcpError::BadVersion => "rtcp_bad_version",
        }
    }
}

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum Rtcp<'a> {
    /// SR (RFC 3550 §6.4.1) with its reception reports.
    SenderReport {
        /// What the sender says of itself.
        report: SenderReport,
        /// What it says of others.
        receptions: ReceptionReports<'a>,
    },
    /// RR (RFC 3550 §6.4.2).
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// What it says of others.
        receptions: ReceptionReports<'a>,
    },
    /// SDES (RFC 3550 §6.5), chunks unread: nothing here depends on a stranger's CNAME.
    Sdes(&'a [u8]),
    /// BYE (RFC 3550 §6.6).
    Bye(Ssrcs<'a>),
    /// Generic NACK (RFC 4585 §6.2.1).
    Nack {
        /// Who asks.
        sender_ssrc: Ssrc,
        /// Whose packets are missing.
        media_ssrc: Ssrc,
        /// Which ones.
        missing: NackedNumbers<'a>,
    },
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli {
        /// Who asks.
        sender_ssrc: Ssrc,
        /// Whose picture is lost.
        media_ssrc: Ssrc,
    },
    /// Full intra request (RFC 5104 §4.3.1): ssrcs with command numbers.
    Fir {
        /// Who asks.
        sender_ssrc: Ssrc,
        /// Entries of 8 bytes: ssrc, command number, reserved.
        entries: &'a [u8],
    },
    /// Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    TwccFeedback(TwccFeedback<'a>),
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03), bits per second.
    Remb {
        /// Who estimates.
        sender_ssrc: Ssrc,
        /// The estimate in bits per second.
        bitrate_bps: u64,
    },
    /// Any other packet.
    Unknown {
        /// Packet type byte.
        packet_type: u8,
        /// The five-bit count or format field.
        count: u8,
    },
}

/// Checks the framing of a whole compound and returns a walk over its packets.
///
/// Reduced-size compounds (RFC 5506) are accepted. An error means that nothing of the datagram may be used.
pub fn parse(datagram: &[u8]) -> Result<Compound<'_>, RtcpError> {
    let mut rest = datagram;
    if rest.is_empty() {
        return Err(RtcpError::Truncated);
    }
    while !rest.is_empty() {
        rest = split_packet(rest)?.rest;
    }
    let mut check = Compound { rest: datagram };
    while !check.rest.is_empty() {
        check.step()?;
    }
    Ok(Compound { rest: datagram })
}

/// Walks the packets of a checked compound.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Rtcp<'a>;

    fn next(&mut self) -> Option<Rtcp<'a>> {
        if self.rest.is_empty() { None } else { self.step().ok() }
    }
}

struct Framed<'a> {
    count: u8,
    packet_type: u8,
    body: &'a [u8],
    rest: &'a [u8],
}

fn split_packet(bytes: &[u8]) -> Result<Framed<'_>, RtcpError> {
    let Some(&[first, packet_type, l0, l1]) = bytes.first_chunk::<4>() else {
        return Err(RtcpError::Truncated);
    };
    if first >> 6 != 2 {
        return Err(RtcpError::BadVersion);
    }
    let len = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
    let (packet, rest) = bytes.split_at_checked(len).ok_or(RtcpError::Truncated)?;
    let mut body = &packet[4..];
    if first & 0x20 != 0 {
        let padding_len = usize::from(*body.last().ok_or(RtcpError::Truncated)?);
        let kept = body.len().checked_sub(padding_len).ok_or(RtcpError::Truncated)?;
        body = &body[..kept];
    }
    Ok(Framed {
        count: first & 0x1F,
        packet_type,
        body,
        rest,
    })
}

impl<'a> Compound<'a> {
    fn step(&mut self) -> Result<Rtcp<'a>, RtcpError> {
        let Framed {
            count,
            packet_type,
            body,
            rest,
        } = split_packet(self.rest)?;
        self.rest = rest;
        match (packet_type, count) {
            (SENDER_REPORT, _) => {
                let (fixed, blocks) = body.split_at_checked(24).ok_or(RtcpError::Truncated)?;
                Ok(Rtcp::SenderReport {
                    report: SenderReport::read(fixed),
                    receptions: reception_reports(blocks, count)?,
                })
            }
            (RECEIVER_REPORT, _) => {
                let (fixed, blocks) = body.split_at_checked(4).ok_or(RtcpError::Truncated)?;
                Ok(Rtcp::ReceiverReport {
                    ssrc: Ssrc(be32(fixed, 0)),
                    receptions: reception_reports(blocks, count)?,
                })
            }
            (SOURCE_DESCRIPTION, _) => Ok(Rtcp::Sdes(body)),
            (GOODBYE, _) => {
                let bytes = body.get(..4 * usize::from(count)).ok_or(RtcpError::Truncated)?;
                Ok(Rtcp::Bye(Ssrcs { bytes }))
            }
            (TRANSPORT_FEEDBACK, 1) => {
                let (sender_ssrc, media_ssrc, entries) = feedback(body)?;
                Ok(Rtcp::Nack {
                    sender_ssrc,
                    media_ssrc,
                    missing: NackedNumbers {
                        entries,
                        base: 0,
                        mask: 0,
                    },
                })
            }
            (TRANSPORT_FEEDBACK, 15) => TwccFeedback::read(body)
                .map(Rtcp::TwccFeedback)
                .ok_or(RtcpError::Truncated),
            (PAYLOAD_FEEDBACK, 1) => {
                let (sender_ssrc, media_ssrc, _) = feedback(body)?;
                Ok(Rtcp::Pli {
                    sender_ssrc,
                    media_ssrc,
                })
            }
            (PAYLOAD_FEEDBACK, 4) => {
                let (sender_ssrc, _, entries) = feedback(body)?;
                Ok(Rtcp::Fir { sender_ssrc, entries })
            }
            (PAYLOAD_FEEDBACK, 15) => {
                let (sender_ssrc, _, fci) = feedback(body)?;
                match fci.first_chunk::<8>() {
                    Some(&[b'R', b'E', b'M', b'B', _, e, m0, m1]) => {
                        // draft-alvestrand-rmcat-remb-03 §2.2: 6 bit exponent, 18 bit mantissa.
                        let mantissa = u64::from(e & 3) << 16 | u64::from(m0) << 8 | u64::from(m1);
                        let bitrate_bps = mantissa.checked_shl(u32::from(e >> 2)).unwrap_or(u64::MAX);
                        Ok(Rtcp::Remb {
                            sender_ssrc,
                            bitrate_bps,
                        })
                    }
                    _ => Ok(Rtcp::Unknown { packet_type, count }),
                }
            }
            _ => Ok(Rtcp::Unknown { packet_type, count }),
        }
    }
}

fn feedback(body: &[u8]) -> Result<(Ssrc, Ssrc, &[u8]), RtcpError> {
    let (fixed, entries) = body.split_at_checked(8).ok_or(RtcpError::Truncated)?;
    Ok((Ssrc(be32(fixed, 0)), Ssrc(be32(fixed, 4)), entries))
}

fn reception_reports(blocks: &[u8], count: u8) -> Result<ReceptionReports<'_>, RtcpError> {
    let bytes = blocks.get(..24 * usize::from(count)).ok_or(RtcpError::Truncated)?;
    Ok(ReceptionReports { bytes })
}

/// Big-endian 32 bits at `at`; callers have checked the length.
fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.first_chunk::<4>())
        .map_or(0, |four| u32::from_be_bytes(*four))
}

/// Walks reception report blocks.
#[derive(Clone, Debug)]
pub struct ReceptionReports<'a> {
    bytes: &'a [u8],
}

impl Iterator for ReceptionReports<'_> {
    type Item = ReceptionReport;

    fn next(&mut self) -> Option<ReceptionReport> {
        let (block, rest) = self.bytes.split_at_checked(24)?;
        self.bytes = rest;
        Some(ReceptionReport::read(block))
    }
}

/// Walks the ssrcs of a BYE.
#[derive(Clone, Debug)]
pub struct Ssrcs<'a> {
    bytes: &'a [u8],
}

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let (four, rest) = self.bytes.split_at_checked(4)?;
        self.bytes = rest;
        Some(Ssrc(be32(four, 0)))
    }
}

/// Walks the sequence numbers of a generic NACK: each entry names one and a bit mask of the 16 after it.
#[derive(Clone, Debug)]
pub struct NackedNumbers<'a> {
    entries: &'a [u8],
    base: u16,
    mask: u16,
}

impl Iterator for NackedNumbers<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask != 0 {
            let bit = self.mask.trailing_zeros() as u16;
            self.mask &= self.mask - 1;
            return Some(self.base.wrapping_add(bit + 1));
        }
        let (&[p0, p1, m0, m1], rest) = self.entries.split_first_chunk::<4>()?;
        self.entries = rest;
        self.base = u16::from_be_bytes([p0, p1]);
        self.mask = u16::from_be_bytes([m0, m1]);
        Some(self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_compound_reads_back_as_written() {
        let report = SenderReport {
            ssrc: Ssrc(1),
            ntp: 0x1122_3344_5566_7788,
            rtp: 9,
            packet_count: 10,
            octet_count: 11,
        };
        let reception = ReceptionReport {
            ssrc: Ssrc(2),
            fraction_lost: 128,
            cumulative_lost: -3,
            extended_highest_sequence_number: 0x0001_0002,
            jitter: 77,
            last_sender_report: 5,
            delay_since_last_sender_report: 65_536,
        };
        let mut compound = Vec::new();
        write_sender_report(&mut compound, &report, &[reception]);
        write_sdes(&mut compound, Ssrc(1), "name");
        write_receiver_report(&mut compound, Ssrc(3), &[reception, reception]);
        write_pli(&mut compound, Ssrc(1), Ssrc(2));
        write_fir(&mut compound, Ssrc(1), Ssrc(2), 4);
        write_bye(&mut compound, &[Ssrc(8), Ssrc(9)]);
        let packets: Vec<_> = parse(&compound).unwrap().collect();
        assert_eq!(packets.len(), 6);
        match &packets[0] {
            Rtcp::SenderReport {
                report: read,
                receptions,
            } => {
                assert_eq!(*read, report);
                assert_eq!(receptions.clone().collect::<Vec<_>>(), [reception]);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(&packets[1], Rtcp::Sdes(_)));
        assert!(
            matches!(&packets[2], Rtcp::ReceiverReport { ssrc: Ssrc(3), receptions } if receptions.clone().count() == 2)
        );
        assert!(matches!(
            &packets[3],
            Rtcp::Pli {
                sender_ssrc: Ssrc(1),
                media_ssrc: Ssrc(2)
            }
        ));
        assert!(matches!(
            &packets[4],
            Rtcp::Fir {
                sender_ssrc: Ssrc(1),
                entries: [0, 0, 0, 2, 4, 0, 0, 0]
            }
        ));
        assert!(matches!(&packets[5], Rtcp::Bye(ssrcs) if ssrcs.clone().eq([Ssrc(8), Ssrc(9)])));
    }

    #[test]
    fn remb_is_mantissa_times_power_of_two() {
        let packet = [
            0x8F,
            206,
            0,
            5,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            b'R',
            b'E',
            b'M',
            b'B',
            1,
            3 << 2 | 1,
            0,
            2,
            0,
            0,
            0,
            9,
        ];
        match parse(&packet).unwrap().next() {
            Some(Rtcp::Remb { bitrate_bps, .. }) => assert_eq!(bitrate_bps, (0x1_0002) << 3),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lying_count_or_length_refuses_the_whole_compound() {
        let mut compound = Vec::new();
        write_receiver_report(&mut compound, Ssrc(3), &[]);
        compound[0] |= 31;
        assert_eq!(parse(&compound).unwrap_err(), RtcpError::Truncated);
        assert_eq!(parse(&[0x80, 200, 0, 9]).unwrap_err(), RtcpError::Truncated);
        assert_eq!(parse(&[0x40, 200, 0, 0]).unwrap_err(), RtcpError::BadVersion);
        assert_eq!(parse(&[]).unwrap_err(), RtcpError::Truncated);
    }

    proptest! {
        #[test]
        fn nacked_numbers_survive_the_wire(mut numbers in proptest::collection::btree_set(0u32..3000, 1..200), start: u16) {
            let sent: Vec<u16> = std::mem::take(&mut numbers).into_iter().map(|n| start.wrapping_add(n as u16)).collect();
            let mut compound = Vec::new();
            write_nack(&mut compound, Ssrc(1), Ssrc(2), sent.iter().copied());
            let mut read = Vec::new();
            for packet in parse(&compound).unwrap() {
                match packet {
                    Rtcp::Nack { sender_ssrc: Ssrc(1), media_ssrc: Ssrc(2), missing } => read.extend(missing),
                    other => panic!("{other:?}"),
                }
            }
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut datagram in proptest::collection::vec(any::<u8>(), 0..120), kind in 198u8..210, count in 0u8..32) {
            if datagram.len() >= 4 {
                datagram[0] = 0x80 | count;
                datagram[1] = kind;
                datagram[2] = 0;
                datagram[3] = (datagram.len() / 4 - 1) as u8;
                let whole = datagram.len() / 4 * 4;
                datagram.truncate(whole);
            }
            if let Ok(compound) = parse(&datagram) {
                for packet in compound {
                    match packet {
                        Rtcp::Nack { missing, .. } => { let _ = missing.count(); }
                        Rtcp::TwccFeedback(feedback) => { let _ = feedback.arrivals().count(); }
                        _ => {}
                    }
                }
            }
        }
    }
}
