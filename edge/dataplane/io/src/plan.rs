//! From what an answer promised to what a session's halves are made of.

use crate::dtls::{DtlsRole, Fingerprint};
use crate::features::Features;
use tradewind_core::packet::Ssrc;
use tradewind_core::receive::{
    ReceiveCodec, ReceiveDisabled, ReceiveExtensions, ReceiveParameters, ReceiveTrackParameters,
};
use tradewind_core::sdp::{self, H264Format, PublishMedia, PublishPlan, Remote, ViewMedia, ViewPlan};
use tradewind_core::send::{SendCodec, SendDisabled, SendExtensions, SendParameters, SendTrackParameters};

/// Random values that the core cannot draw itself.
pub trait Random {
    /// 32 unpredictable bits.
    fn next_u32(&mut self) -> u32;
}

/// Parameters of a host's half.
pub fn receive_parameters(
    plan: &PublishPlan,
    cname: &str,
    features: Features,
    random: &mut impl Random,
) -> ReceiveParameters {
    ReceiveParameters {
        tracks: plan.media.iter().map(receive_track).collect(),
        extensions: plan.media.iter().fold(ReceiveExtensions::default(), merge_extensions),
        local_ssrc: Ssrc(random.next_u32()),
        cname: cname.to_owned(),
        // One compound speaks of all sections.
        reduced_size: plan.media.iter().all(|media| media.reduced_size),
        disabled: ReceiveDisabled {
            nack: !features.nack,
            twcc: !features.twcc,
        },
    }
}

/// With BUNDLE an id means the same in every section (RFC 8843 §15), so one table serves all.
fn merge_extensions(known: ReceiveExtensions, media: &PublishMedia) -> ReceiveExtensions {
    let ids = &media.extensions;
    ReceiveExtensions {
        mid: known.mid.or(ids.mid),
        rid: None,
        repaired_rid: None,
        // Numbers are nobody's business unless feedback was agreed; it is about the transport, so one section's word is enough.
        transport_sequence_number: known
            .transport_sequence_number
            .or(ids.transport_wide_cc.filter(|_| media.codec.transport_cc)),
        abs_capture_time: known.abs_capture_time.or(ids.abs_capture_time),
        audio_level: known.audio_level.or(ids.audio_level),
        video_orientation: known.video_orientation.or(ids.video_orientation),
    }
}

fn receive_track(media: &PublishMedia) -> ReceiveTrackParameters {
    ReceiveTrackParameters {
        kind: media.kind,
        mid: media.mid.clone().unwrap_or_default(),
        codecs: vec![ReceiveCodec {
            payload_type: media.codec.payload_type,
            codec: media.codec.codec,
            fmtp: media.codec.fmtp.clone(),
            rtx_payload_type: media.codec.rtx_payload_type,
            nack: media.codec.nack,
            pli: media.codec.pli,
            fir: media.codec.fir,
        }],
        ssrcs: media.ssrc.into_iter().collect(),
        rtx_ssrcs: media.rtx_ssrc.into_iter().collect(),
    }
}

/// Parameters of a viewer's half.
pub fn send_parameters(plan: &ViewPlan, features: Features, random: &mut impl Random) -> SendParameters {
    SendParameters {
        tracks: plan.media.iter().map(|media| send_track(media, random)).collect(),
        cname: plan.cname.clone(),
        disabled: SendDisabled {
            nack: !features.nack,
            cache: !features.cache,
            sender_reports: !features.sender_reports,
        },
    }
}

fn send_track(media: &ViewMedia, random: &mut impl Random) -> SendTrackParameters {
    SendTrackParameters {
        kind: media.kind,
        mid: media.mid.clone().unwrap_or_default(),
        codecs: media
            .codecs
            .iter()
            .map(|codec| SendCodec {
                codec: codec.codec,
                payload_type: codec.payload_type,
                rtx_payload_type: codec.rtx_payload_type.filter(|_| media.rtx_ssrc.is_some()),
                nack: codec.nack,
                h264: H264Format::from_fmtp(&codec.fmtp),
            })
            .collect(),
        ssrc: media.ssrc,
        rtx_ssrc: media.rtx_ssrc.unwrap_or(Ssrc(media.ssrc.0.wrapping_add(1))),
        extensions: SendExtensions {
            mid: media.extensions.mid,
            abs_capture_time: media.extensions.abs_capture_time,
            audio_level: media.extensions.audio_level,
            video_orientation: media.extensions.video_orientation,
            playout_delay: media.extensions.playout_delay,
            transport_sequence_number: None,
        },
        first_sequence_number: random.next_u32() as u16,
        first_timestamp: random.next_u32(),
    }
}

/// Our end of the handshake.
pub fn dtls_role(remote: &Remote) -> DtlsRole {
    match remote.dtls_role {
        sdp::DtlsRole::Client => DtlsRole::Active,
        sdp::DtlsRole::Server => DtlsRole::Passive,
    }
}

/// What the peer's certificate must hash to.
pub fn fingerprint(remote: &Remote) -> Fingerprint {
    let algorithm = match remote.fingerprint.algorithm {
        sdp::FingerprintAlgorithm::Sha256 => "sha-256",
        sdp::FingerprintAlgorithm::Sha384 => "sha-384",
        sdp::FingerprintAlgorithm::Sha512 => "sha-512",
    };
    Fingerprint {
        algorithm: algorithm.to_owned(),
        bytes: remote.fingerprint.bytes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::sdp::{LocalParameters, Offer, answer_publish};

    struct Counting(u32);

    impl Random for Counting {
        fn next_u32(&mut self) -> u32 {
            self.0 += 1;
            self.0
        }
    }

    /// What is agreed with Chromium when its offer lacks the lines that `is_left_out` names.
    fn agreed(is_left_out: impl Fn(&str) -> bool) -> ReceiveParameters {
        let offer = include_str!("../../core/tests/offers/chromium_whip.sdp");
        let offer: Vec<&str> = offer.lines().filter(|line| !is_left_out(line)).collect();
        let local = LocalParameters {
            ufrag: "ufrag".into(),
            pwd: "a password of 24 letters".into(),
            fingerprint_sha256: [1; 32],
            candidates: vec![],
            session_id: 1,
        };
        let offer = Offer::parse((offer.join("\r\n") + "\r\n").as_bytes()).expect("a browser's offer");
        let (_, plan) = answer_publish(&offer, &local).expect("a browser's offer");
        let features = Features::without::<&str>(&[]).expect("nothing is switched off");
        receive_parameters(&plan, "edge", features, &mut Counting(0))
    }

    #[test]
    fn reports_may_be_left_out_only_where_every_section_says_so() {
        assert!(agreed(|_| false).reduced_size);
        assert!(!agreed(|line| line == "a=rtcp-rsize").reduced_size);
    }

    #[test]
    fn transport_feedback_is_sent_only_where_it_was_agreed() {
        assert_eq!(agreed(|_| false).extensions.transport_sequence_number, Some(3));
        let without_sound = agreed(|line| line == "a=rtcp-fb:111 transport-cc");
        assert_eq!(without_sound.extensions.transport_sequence_number, Some(3));
        let without = agreed(|line| line.starts_with("a=rtcp-fb:") && line.ends_with("transport-cc"));
        assert_eq!(without.extensions.transport_sequence_number, None);
    }

    #[test]
    fn key_frames_are_asked_for_by_what_the_host_understands() {
        let video =
            |parameters: ReceiveParameters| (parameters.tracks[1].codecs[0].pli, parameters.tracks[1].codecs[0].fir);
        assert_eq!(video(agreed(|_| false)), (true, true));
        assert_eq!(video(agreed(|line| line.ends_with("nack pli"))), (false, true));
        let neither = agreed(|line| line.ends_with("nack pli") || line.ends_with("ccm fir"));
        assert_eq!(video(neither), (false, false));
    }
}
