//! H.264 payloads (RFC 6184): single NAL units, STAP-A, FU-A.

use crate::sdp::sprop_parameter_sets;

/// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 §5.2).
mod kind {
    pub const SLICE: u8 = 1;
    pub const IDR_SLICE: u8 = 5;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const STAP_A: u8 = 24;
    pub const FU_A: u8 = 28;
}

/// Parameter sets are tens of bytes; one that is larger is not kept.
const PARAMETER_SET_MAX_BYTES: usize = 512;

/// Encoders use one or two picture parameter sets; ids above this one are not kept.
const PICTURE_PARAMETER_SETS_MAX: usize = 4;

/// All sets together go out as one packet, which leaves room for headers and a trunk's.
const AGGREGATE_MAX_BYTES: usize = 1_000;

/// A NAL unit, or the first fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NalUnit<'a> {
    /// nal_unit_type, with fragments resolved to what they are fragments of.
    pub kind: u8,
    /// Bytes after the NAL unit header.
    pub body: &'a [u8],
    /// The whole unit with its header; `None` for a fragment.
    pub whole: Option<&'a [u8]>,
}

/// NAL units that begin in a payload. Ends at the first length that leaves it.
pub fn nal_units(payload: &[u8]) -> impl Iterator<Item = NalUnit<'_>> {
    let kind = payload.first().map_or(0, |header| header & 0x1F);
    let single = match (kind, payload) {
        (kind::FU_A, [_, header, body @ ..]) if header & 0x80 != 0 => Some(NalUnit {
            kind: header & 0x1F,
            body,
            whole: None,
        }),
        (1..kind::STAP_A, [_, body @ ..]) => Some(NalUnit {
            kind,
            body,
            whole: Some(payload),
        }),
        _ => None,
    };
    let mut rest = if kind == kind::STAP_A { &payload[1..] } else { &[] };
    let aggregated = std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let whole = after.get(..usize::from(u16::from_be_bytes(*length)))?;
        rest = &after[whole.len()..];
        let (header, body) = whole.split_first()?;
        Some(NalUnit {
            kind: header & 0x1F,
            body,
            whole: Some(whole),
        })
    });
    single.into_iter().chain(aggregated)
}

/// SPS, or the first slice of an IDR picture.
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    nal_units(payload).any(|unit| match unit.kind {
        kind::SPS => true,
        // first_mb_in_slice is Exp-Golomb: a leading 1 bit is 0, the picture's first slice (H.264 §7.3.3).
        kind::IDR_SLICE => unit.body.first().is_some_and(|byte| byte & 0x80 != 0),
        _ => false,
    })
}

/// Whether a payload begins a bidirectionally predicted slice, which WebRTC players show out of order.
pub fn is_b_slice_start(payload: &[u8]) -> bool {
    nal_units(payload).any(|unit| {
        // slice_type follows first_mb_in_slice; 1 and 6 are B (H.264 table 7-6).
        let mut bits = Bits {
            bytes: unit.body,
            at: 0,
        };
        unit.kind == kind::SLICE && bits.exp_golomb().is_some() && matches!(bits.exp_golomb(), Some(1 | 6))
    })
}

/// The parameter sets of a stream, to put in front of a key frame that comes without them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    sps: Vec<u8>,
    /// Indexed by pic_parameter_set_id; empty where not seen.
    pps: [Vec<u8>; PICTURE_PARAMETER_SETS_MAX],
}

impl ParameterSets {
    /// Starts from `sprop-parameter-sets` of the publisher's format parameters, if there are any.
    pub fn from_fmtp(fmtp: &str) -> Self {
        let mut sets = ParameterSets::default();
        for set in sprop_parameter_sets(fmtp) {
            sets.handle_payload(&set);
        }
        sets
    }

    /// Keeps the parameter sets of a payload; allocates only when one differs from what is kept.
    pub fn handle_payload(&mut self, payload: &[u8]) {
        for unit in nal_units(payload) {
            let Some(whole) = unit.whole.filter(|whole| whole.len() <= PARAMETER_SET_MAX_BYTES) else {
                continue;
            };
            let slot = match unit.kind {
                kind::SPS => Some(&mut self.sps),
                kind::PPS => {
                    let id = Bits {
                        bytes: unit.body,
                        at: 0,
                    }
                    .exp_golomb();
                    id.and_then(|id| self.pps.get_mut(usize::try_from(id).ok()?))
                }
                _ => None,
            };
            if let Some(slot) = slot.filter(|slot| slot.as_slice() != whole) {
                slot.clear();
                slot.extend_from_slice(whole);
            }
        }
    }

    /// Whether a decoder could start with what is kept.
    pub fn is_complete(&self) -> bool {
        !self.sps.is_empty() && self.pps.iter().any(|pps| !pps.is_empty())
    }

    /// One STAP-A payload with all sets, to be sent under the key frame's timestamp without a marker; `None` while incomplete, or
    /// too large for a packet.
    pub fn payload(&self) -> Option<Vec<u8>> {
        if !self.is_complete() {
            return None;
        }
        let sets = || {
            std::iter::once(&self.sps)
                .chain(&self.pps)
                .filter(|set| !set.is_empty())
        };
        // RFC 6184 §5.7.1: F is the OR and NRI the maximum of the aggregated units'.
        let nri = sets().map(|set| set[0] & 0x60).max().unwrap_or(0);
        let mut payload = vec![nri | kind::STAP_A];
        for set in sets() {
            payload.extend_from_slice(&u16::try_from(set.len()).unwrap_or(0).to_be_bytes());
            payload.extend_from_slice(set);
        }
        (payload.len() <= AGGREGATE_MAX_BYTES).then_some(payload)
    }
}

/// Whether a payload may hold parameter sets; one look at its first byte. Sets in fragments (FU-A) are not looked for: a set is tens
/// of bytes, and nobody splits those.
pub fn brings_parameter_sets(payload: &[u8]) -> bool {
    let kind = payload.first().map_or(0, |header| header & 0x1F);
    matches!(kind, kind::SPS | kind::PPS | kind::STAP_A)
}

/// Whether a payload brings its own sequence parameter set.
pub fn has_sps(payload: &[u8]) -> bool {
    nal_units(payload).any(|unit| unit.kind == kind::SPS)
}

/// Bits of a slice header or parameter set, most significant first. Emulation prevention is ignored: the few leading
/// bits that are read here cannot contain two zero bytes.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte & (0x80 >> (self.at % 8)) != 0;
        self.at += 1;
        Some(bit)
    }

    /// ue(v), H.264 §9.1; values of 2^16 and above do not occur where this is used.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 16 {
                return None;
            }
        }
        (0..zeros)
            .try_fold(1_u32, |value, _| Some((value << 1) | u32::from(self.bit()?)))
            .map(|value| value - 1)
    }
}
