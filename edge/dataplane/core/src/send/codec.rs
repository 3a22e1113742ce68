//! A viewer's codecs, and which of them a source's track goes out as.

use crate::sdp::H264Format;
use crate::source::{Codec, TrackInfo};

/// One codec of an m-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCodec {
    /// What it carries.
    pub codec: Codec,
    /// The viewer's payload type.
    pub payload_type: u8,
    /// The RTX payload type whose `apt` is this one.
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK was agreed.
    pub nack: bool,
    /// What the viewer says of H.264; of no meaning for other codecs.
    pub h264: H264Format,
}

impl SendCodec {
    /// Under which of the viewer's payload types a track goes out: the choice behind the 406, made again for every source.
    pub(super) fn choose(codecs: &[SendCodec], track: &TrackInfo) -> Option<SendCodec> {
        let mut candidates = codecs.iter().filter(|candidate| candidate.codec == track.codec);
        if track.codec != Codec::H264 {
            return candidates.next().copied();
        }
        H264Format::from_fmtp(&track.fmtp).choose(candidates.map(|candidate| (*candidate, candidate.h264)))
    }
}
