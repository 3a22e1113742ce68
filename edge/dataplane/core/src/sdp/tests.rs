use super::*;
use crate::packet::Ssrc;
use crate::source::{Codec, MediaKind, TrackInfo};
use proptest::prelude::*;

macro_rules! offers {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../tests/offers/", $name, ".sdp")).as_slice())),*]
    };
}

const PUBLISHERS: [(&str, &[u8]); 7] = offers!(
    "chromium_whip",
    "chromium_whip_simulcast",
    "firefox_whip",
    "ffmpeg_whip",
    "simple_whip_client",
    "simple_whip_client_no_trickle",
    "aiortc_whip",
);
const VIEWERS: [(&str, &[u8]); 4] = offers!(
    "chromium_whep",
    "chromium_whep_all_extensions",
    "firefox_whep",
    "aiortc_whep"
);

fn named(name: &str) -> String {
    let all = PUBLISHERS.iter().chain(&VIEWERS);
    let (_, bytes) = all.copied().find(|(other, _)| *other == name).expect("a fixture");
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn local() -> LocalParameters {
    LocalParameters {
        ufrag: "ourufrag".into(),
        pwd: "ourpasswordof24character".into(),
        fingerprint_sha256: [0xAB; 32],
        candidates: vec!["[2001:db8::1]:7700".parse().unwrap(), "192.0.2.1:7700".parse().unwrap()],
        session_id: 42,
    }
}

fn view_parameters(tracks: &[TrackInfo]) -> ViewParameters<'_> {
    ViewParameters {
        cname: "tw1".into(),
        audio_ssrc: Ssrc(1),
        video_ssrc: Ssrc(2),
        video_rtx_ssrc: Ssrc(3),
        tracks,
    }
}

fn publish(offer: &str) -> Result<(String, PublishPlan), SdpError> {
    answer_publish(&Offer::parse(offer.as_bytes())?, &local())
}

fn view(offer: &str) -> Result<(String, ViewPlan), SdpError> {
    answer_view(&Offer::parse(offer.as_bytes())?, &local(), &view_parameters(&[]))
}

fn lines_with<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(prefix)).collect()
}

/// A minimal offer for cases that no real client sends.
fn small(edit: impl Fn(&str) -> String) -> String {
    let session = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n";
    let transport = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\na=rtcp-mux\r\n";
    let fingerprint = format!("a=fingerprint:sha-256 {}\r\n", ["01"; 32].join(":"));
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n";
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n";
    edit(&[session, audio, transport, &fingerprint, video, transport, &fingerprint].concat())
}

#[test]
fn every_real_publisher_is_answered() {
    for (name, bytes) in PUBLISHERS {
        let (answer, plan) = publish(std::str::from_utf8(bytes).unwrap()).expect(name);
        assert_eq!(plan.media.len(), 2, "{name}");
        assert_eq!(lines_with(&answer, "a=recvonly").len(), 2, "{name}");
        assert!(!answer.contains("simulcast") && !answer.contains("a=rid"), "{name}");
        assert_eq!(lines_with(&answer, "a=ice-lite").len(), 1, "{name}");
        assert_eq!(lines_with(&answer, "a=end-of-candidates").len(), 1, "{name}");
        assert_eq!(lines_with(&answer, "a=rtcp-mux").len(), 2, "{name}");
        assert!(answer.lines().count() > 20 && answer.ends_with("\r\n"), "{name}");
        let mids = lines_with(&answer, "a=mid:")
            .iter()
            .map(|line| &line[6..])
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(
            lines_with(&answer, "a=group:BUNDLE "),
            [format!("a=group:BUNDLE {mids}")],
            "{name}"
        );
    }
}

#[test]
fn every_real_viewer_is_answered_with_one_stream() {
    for (name, bytes) in VIEWERS {
        let (answer, plan) = view(std::str::from_utf8(bytes).unwrap()).expect(name);
        assert_eq!(plan.media.len(), 2, "{name}");
        assert_eq!(
            lines_with(&answer, "a=msid:"),
            ["a=msid:tw1 audio", "a=msid:tw1 video"],
            "{name}"
        );
        assert_eq!(
            lines_with(&answer, "a=ssrc-group:FID "),
            ["a=ssrc-group:FID 2 3"],
            "{name}"
        );
        assert_eq!(
            lines_with(&answer, "a=ssrc:")
                .iter()
                .filter(|l| l.contains(" cname:tw1"))
                .count(),
            3,
            "{name}"
        );
        assert!(
            !answer.contains("transport-cc") && !answer.contains("goog-remb"),
            "{name}"
        );
    }
}

#[test]
fn chromium_publishes_its_first_codec_with_rtx_and_transport_feedback() {
    let (answer, plan) = publish(&named("chromium_whip")).unwrap();
    let [audio, video] = &plan.media[..] else {
        panic!("two sections")
    };
    assert_eq!(
        (audio.kind, audio.codec.codec, audio.codec.payload_type),
        (MediaKind::Audio, Codec::Opus, 111)
    );
    assert_eq!((audio.ssrc, audio.rtx_ssrc), (Some(Ssrc(3_803_209_701)), None));
    assert_eq!((video.codec.codec, video.codec.payload_type), (Codec::Vp8, 96));
    assert_eq!(video.codec.rtx_payload_type, Some(97));
    assert!(video.codec.nack && video.codec.pli && video.codec.fir && video.codec.transport_cc);
    assert_eq!(
        (video.ssrc, video.rtx_ssrc),
        (Some(Ssrc(2_833_295_557)), Some(Ssrc(110_676_531)))
    );
    assert_eq!(
        (video.extensions.mid, video.extensions.transport_wide_cc),
        (Some(4), Some(3))
    );
    assert_eq!(
        (video.extensions.video_orientation, video.extensions.playout_delay),
        (Some(13), None)
    );
    assert_eq!(audio.extensions.audio_level, Some(1));
    assert_eq!(plan.remote.dtls_role, DtlsRole::Server);
    assert_eq!(
        (plan.remote.ufrag.as_str(), plan.remote.pwd.as_str()),
        ("qD0r", "8qp4B6oHU0rdiSP7dvVT1C2j")
    );
    assert_eq!(plan.remote.fingerprint.bytes[..2], [0x88, 0x6C]);
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"));
    assert!(answer.contains("a=rtcp-fb:96 transport-cc\r\n") && answer.contains("a=setup:passive\r\n"));
    assert!(
        answer.contains("a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n")
    );
}

#[test]
fn simulcast_is_answered_without_layers_and_without_guessing_ssrcs() {
    let (_, plan) = publish(&named("chromium_whip_simulcast")).unwrap();
    assert_eq!((plan.media[1].ssrc, plan.media[1].rtx_ssrc), (None, None));
}

#[test]
fn ffmpeg_offers_passive_and_gets_active() {
    let (answer, plan) = publish(&named("ffmpeg_whip")).unwrap();
    assert_eq!(plan.remote.dtls_role, DtlsRole::Client);
    assert_eq!(lines_with(&answer, "a=setup:"), ["a=setup:active", "a=setup:active"]);
    let video = &plan.media[1];
    assert_eq!((video.codec.codec, video.codec.payload_type), (Codec::H264, 106));
    assert_eq!(video.codec.rtx_payload_type, Some(105));
    assert!(video.codec.nack && !video.codec.pli);
    assert_eq!(video.extensions, ExtensionIds::default());
    assert_eq!(
        (video.ssrc, video.rtx_ssrc),
        (Some(Ssrc(3_148_619_283)), Some(Ssrc(3_148_619_284)))
    );
}

#[test]
fn gstreamer_writes_upper_case_and_bundles_on_port_zero() {
    let (answer, plan) = publish(&named("simple_whip_client")).unwrap();
    let [video, audio] = &plan.media[..] else {
        panic!("two sections")
    };
    assert_eq!((video.kind, audio.codec.codec), (MediaKind::Video, Codec::Opus));
    assert!(
        answer.contains("a=rtpmap:100 OPUS/48000/2"),
        "the client's own spelling comes back"
    );
    assert!(!video.codec.transport_cc, "no extension, no feedback");
    assert!(!answer.contains("sprop-"));
    assert_eq!(lines_with(&answer, "a=group:BUNDLE"), ["a=group:BUNDLE video0 audio1"]);
}

#[test]
fn aiortc_lists_several_hashes_and_sha_256_is_used() {
    let (_, plan) = publish(&named("aiortc_whip")).unwrap();
    assert_eq!(plan.remote.fingerprint.algorithm, FingerprintAlgorithm::Sha256);
    assert_eq!(plan.remote.fingerprint.bytes.len(), 32);
}

#[test]
fn a_viewer_keeps_every_codec_that_can_be_forwarded() {
    let (answer, plan) = view(&named("chromium_whep")).unwrap();
    let video = &plan.media[1];
    let types: Vec<u8> = video.codecs.iter().map(|codec| codec.payload_type).collect();
    assert_eq!(types, [96, 102, 108, 116, 41, 104, 114, 39, 43], "with fragments first");
    assert!(video.codecs.iter().all(|codec| codec.rtx_payload_type.is_some()));
    assert_eq!(
        (video.extensions.playout_delay, video.extensions.transport_wide_cc),
        (Some(5), None)
    );
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 "));
    assert!(!answer.contains("AV1") && !answer.contains("VP9") && !answer.contains("red/"));
    let (_, firefox) = view(&named("firefox_whep")).unwrap();
    assert_eq!(firefox.media[1].extensions.playout_delay, Some(6), "offered recvonly");
}

#[test]
fn a_viewer_that_offers_the_playout_delay_gets_it_under_its_own_id() {
    let uri = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    for (name, line) in [
        ("chromium_whep", "a=extmap:5 "),
        ("firefox_whep", "a=extmap:6/sendonly "),
    ] {
        let (answer, _) = view(&named(name)).unwrap();
        assert_eq!(lines_with(&answer, &format!("{line}{uri}")).len(), 1, "{name}");
    }
    let (answer, _) = publish(&named("chromium_whip")).unwrap();
    assert!(!answer.contains(uri), "nothing to tell a host");
}

#[test]
fn h264_matches_packetization_mode_and_only_prefers_the_profile() {
    let (_, plan) = view(&named("chromium_whep")).unwrap();
    let pick = |fmtp: &str| {
        plan.media[1]
            .codec_for(Codec::H264, fmtp)
            .map(|codec| codec.payload_type)
    };
    assert_eq!(pick("packetization-mode=1;profile-level-id=42e01f"), Some(102));
    assert_eq!(pick("packetization-mode=1;profile-level-id=4d0028"), Some(116));
    assert_eq!(
        pick("packetization-mode=1;profile-level-id=64000d"),
        Some(102),
        "never grounds for refusal"
    );
    assert_eq!(pick(""), Some(102));
    let single = named("chromium_whep").replace("packetization-mode=1", "packetization-mode=0");
    let (_, plan) = view(&single).unwrap();
    assert!(plan.media[1].codec_for(Codec::H264, "packetization-mode=1").is_none());
}

#[test]
fn a_viewer_who_cannot_take_the_rooms_codec_is_told_which() {
    let offer = Offer::parse(named("firefox_whep").as_bytes()).unwrap();
    let track = |codec, fmtp: &str| TrackInfo {
        codec,
        fmtp: fmtp.into(),
        ssrc: None,
    };
    let tracks = [track(Codec::Opus, ""), track(Codec::H264, "packetization-mode=1")];
    let error = answer_view(&offer, &local(), &view_parameters(&tracks)).unwrap_err();
    assert_eq!((error.status, error.reason), (406, "no_common_codec"));
    assert!(error.detail.contains("H264"));
    answer_view(&offer, &local(), &view_parameters(&[track(Codec::Vp8, "")])).unwrap();
}

#[test]
fn candidates_stand_once_and_ipv4_first() {
    let (answer, _) = publish(&named("chromium_whip")).unwrap();
    let candidates = lines_with(&answer, "a=candidate:");
    assert_eq!(candidates.len(), 2);
    assert!(candidates[0].ends_with(" 192.0.2.1 7700 typ host"));
    assert!(answer.find("a=candidate").unwrap() < answer.find("m=video").unwrap());
}

#[test]
fn sections_that_cannot_be_used_keep_their_place_with_port_zero() {
    let offer = small(|offer| {
        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";
        let second = "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:w\r\na=rtcp-mux\r\na=rtpmap:97 VP8/90000\r\n";
        offer
            .replace("m=audio", &format!("{data}m=audio"))
            .replace("BUNDLE a v", "BUNDLE d a v w")
            + second
    });
    let (answer, plan) = view(&offer).unwrap();
    let sections: Vec<&str> = lines_with(&answer, "m=");
    assert_eq!(sections[0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert!(sections[1].starts_with("m=audio 9") && sections[2].starts_with("m=video 9"));
    assert_eq!(sections[3], "m=video 0 UDP/TLS/RTP/SAVPF 97");
    assert_eq!(lines_with(&answer, "a=group:BUNDLE"), ["a=group:BUNDLE a v"]);
    assert_eq!(plan.media.len(), 2);
}

#[test]
fn refusals_name_what_is_missing() {
    let without = |prefix: &'static str| {
        small(move |offer| {
            let kept: Vec<&str> = offer
                .split_inclusive('\n')
                .filter(|line| !line.starts_with(prefix))
                .collect();
            kept.concat()
        })
    };
    let cases = [
        (without("a=fingerprint"), 400, "no_fingerprint"),
        (without("a=group"), 400, "no_bundle"),
        (without("a=rtcp-mux"), 400, "no_rtcp_mux"),
        (without("a=ice-ufrag"), 400, "no_ice_credentials"),
        (without("a=ice-pwd"), 400, "no_ice_credentials"),
        (
            small(|offer| offer.replace("a=ice-pwd:abcdefghijklmnopqrstuv", "a=ice-pwd:short")),
            400,
            "no_ice_credentials",
        ),
        (small(|offer| offer.replace("sha-256", "sha-1")), 400, "no_fingerprint"),
        (small(|offer| offer.replace("01:01", "01:1")), 400, "sdp_malformed"),
        (small(|offer| offer.replace("actpass", "holdconn")), 400, "bad_setup"),
        (
            small(|offer| offer.replace("s=-", "s=-\r\na=ice-lite")),
            400,
            "ice_lite_peer",
        ),
        (
            small(|offer| offer.replace("sendrecv", "recvonly")),
            400,
            "wrong_direction",
        ),
        (
            small(|offer| offer.replace("VP8", "VP9").replace("opus", "G722")),
            406,
            "no_common_codec",
        ),
        (small(|offer| offer.replace("a=mid:v", "a=mid:a")), 400, "sdp_malformed"),
        (
            small(|offer| offer.replace("a=mid:v", "a=mid:v v")),
            400,
            "sdp_malformed",
        ),
        (
            small(|offer| offer.replace("a=mid:v", "a=mid:v\ra=evil")),
            400,
            "sdp_malformed",
        ),
        (small(|offer| offer.replace("v=0", "v=1")), 400, "sdp_malformed"),
        (
            small(|offer| offer.replace("SAVPF 96", "SAVPF 300")),
            400,
            "sdp_malformed",
        ),
        (small(|offer| offer.replace("s=-", "s=\0")), 400, "sdp_not_text"),
        ("v=0\r\n".into(), 400, "sdp_no_media"),
        ("".into(), 400, "sdp_malformed"),
    ];
    for (offer, status, reason) in cases {
        let error = publish(&offer).expect_err(reason);
        assert_eq!((error.status, error.reason), (status, reason), "{error}\n{offer}");
        assert!(SdpError::REASONS.contains(&reason) && error.detail.len() > 20);
    }
    publish(&small(str::to_owned)).unwrap();
}

#[test]
fn one_usable_kind_is_enough_for_a_viewer() {
    let (answer, plan) = view(&small(|offer| offer.replace("VP8", "VP9"))).unwrap();
    assert_eq!((plan.media.len(), plan.media[0].kind), (1, MediaKind::Audio));
    assert!(answer.contains("m=video 0 "));
    let (_, plan) = view(&small(|offer| offer.replace("opus", "PCMU"))).unwrap();
    assert_eq!(plan.media[0].kind, MediaKind::Video);
}

#[test]
fn a_viewer_who_asks_for_the_rooms_picture_without_a_common_codec_is_refused() {
    let track = |codec| TrackInfo {
        codec,
        fmtp: String::new(),
        ssrc: None,
    };
    let both = [track(Codec::Opus), track(Codec::Vp8)];
    let answered = |offer: &str, tracks: &[TrackInfo]| {
        answer_view(
            &Offer::parse(offer.as_bytes()).unwrap(),
            &local(),
            &view_parameters(tracks),
        )
    };
    let without_vp8 = small(|offer| offer.replace("VP8", "VP9"));
    let error = answered(&without_vp8, &both).unwrap_err();
    assert_eq!((error.status, error.reason), (406, "no_common_codec"));
    assert!(error.detail.contains("video section offers VP9"), "{}", error.detail);
    let without_opus = small(|offer| offer.replace("opus", "PCMU"));
    assert_eq!(answered(&without_opus, &both).unwrap_err().status, 406);

    // Where nobody knows what is sent, or the room has no picture, the plan says what was left out.
    for tracks in [&both[..0], &both[..1]] {
        let (_, plan) = answered(&without_vp8, tracks).unwrap();
        assert_eq!((plan.media.len(), plan.left_out), (1, vec![MediaKind::Video]));
    }
    // Who wants sound alone closes the section, one way or the other, or has none.
    let (audio, _) = without_vp8.split_once("m=video").unwrap();
    for offer in [
        without_vp8.replace("m=video 9", "m=video 0"),
        without_vp8.replace("a=mid:v\r\na=sendrecv", "a=mid:v\r\na=inactive"),
        audio.replace("BUNDLE a v", "BUNDLE a"),
    ] {
        let (_, plan) = answered(&offer, &both).expect(&offer);
        assert_eq!((plan.media.len(), plan.left_out.len()), (1, 0));
    }
    // A second picture is left out too, and nothing lacks.
    let second = "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:w\r\na=rtcp-mux\r\na=rtpmap:97 VP9/90000\r\n";
    let two = small(|offer| offer.replace("BUNDLE a v", "BUNDLE a v w")) + second;
    assert_eq!(answered(&two, &both).unwrap().1.left_out, []);
}

/// RFC 9725 §4.4.3: no partly successful publications.
#[test]
fn a_host_is_taken_with_all_that_it_sends_or_not_at_all() {
    let error = publish(&small(|offer| offer.replace("VP8", "H265"))).unwrap_err();
    assert_eq!((error.status, error.reason), (406, "no_common_codec"));
    assert!(error.detail.contains("video section offers H265"), "{}", error.detail);
    let second = "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:w\r\na=rtcp-mux\r\na=rtpmap:97 VP8/90000\r\n";
    let two = small(|offer| offer.replace("BUNDLE a v", "BUNDLE a v w")) + second;
    let error = publish(&two).unwrap_err();
    assert_eq!((error.status, error.reason), (400, "too_many_tracks"));
    assert!(SdpError::REASONS.contains(&error.reason));
    for silent in ["a=recvonly\r\n", "a=inactive\r\n"] {
        let (answer, plan) = publish(&(two.clone() + silent)).expect("what is not sent may be left out");
        assert_eq!(plan.media.len(), 2);
        assert_eq!(lines_with(&answer, "m=")[2], "m=video 0 UDP/TLS/RTP/SAVPF 97");
    }
}

#[test]
fn credentials_and_fingerprint_may_stand_at_session_level() {
    let offer = small(|offer| {
        let is_transport = |line: &&str| line.starts_with("a=ice") || line.starts_with("a=finger");
        let (transport, rest): (Vec<&str>, Vec<&str>) = offer.split_inclusive('\n').partition(is_transport);
        let half = &transport[..transport.len() / 2];
        rest.concat()
            .replacen("s=-\r\n", &format!("s=-\r\n{}", half.concat()), 1)
    });
    assert_eq!(publish(&offer).unwrap().1.remote.ufrag, "abcd");
}

#[test]
fn a_single_section_needs_neither_mid_nor_bundle() {
    let offer = small(|offer| {
        let video = offer.find("m=video").unwrap();
        offer[..video]
            .replace("a=group:BUNDLE a v\r\n", "")
            .replace("a=mid:a\r\n", "")
    });
    let (answer, plan) = publish(&offer).unwrap();
    assert_eq!(plan.media[0].mid, None);
    assert!(!answer.contains("BUNDLE") && !answer.contains("a=mid"));
}

#[test]
fn h264_publisher_is_left_the_mode_with_fragments() {
    let formats = "m=video 9 UDP/TLS/RTP/SAVPF 96 98 100\r\na=rtpmap:98 H264/90000\r\na=rtpmap:100 H264/90000\r\n\
                   a=fmtp:100 packetization-mode=1\r\n";
    let offer = small(|offer| {
        offer
            .replace("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", formats)
            .replace("a=rtpmap:96 VP8/90000\r\n", "")
    });
    assert_eq!(publish(&offer).unwrap().1.media[1].codec.payload_type, 100);
}

#[test]
fn an_offer_that_only_limits_refuse_is_answered_without_them() {
    let media = |mid: usize| format!("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:x{mid}\r\n");
    let offer = small(str::to_owned) + &(0..SECTIONS_MAX).map(media).collect::<String>();
    let error = Offer::parse(offer.as_bytes()).unwrap_err();
    assert_eq!(error.reason, "sdp_too_many_media");
    let offer = Offer::parse_within(offer.as_bytes(), OfferLimits::NONE).unwrap();
    assert!(offer.sections.len() > SECTIONS_MAX);
    assert!(answer_publish(&offer, &local()).is_ok());
}

#[test]
fn huge_and_hostile_offers_are_refused_by_limits() {
    let error = Offer::parse(&vec![b'v'; 1 << 20]).unwrap_err();
    assert_eq!(error.reason, "sdp_too_large");
    let many = format!("v=0\r\n{}", "m=audio 9 RTP/SAVPF 0\r\n".repeat(2_000));
    assert_eq!(Offer::parse(many.as_bytes()).unwrap_err().reason, "sdp_too_many_media");
    let many = format!("v=0\r\n{}", "m=audio 9 RTP/SAVPF 0\r\n".repeat(10_000));
    assert_eq!(Offer::parse(many.as_bytes()).unwrap_err().reason, "sdp_too_large");
    let long = format!("v=0\r\ns={}\r\n", "x".repeat(LINE_MAX_BYTES));
    assert_eq!(Offer::parse(long.as_bytes()).unwrap_err().reason, "sdp_line_too_long");
    let ssrcs: String = (0..100).map(|ssrc| format!("a=ssrc:{ssrc} cname:x\r\n")).collect();
    let error = publish(&(small(str::to_owned) + &ssrcs)).unwrap_err();
    assert_eq!(error.reason, "sdp_too_many_attributes");
}

#[test]
fn trickle_fragments_must_belong_to_the_session() {
    let (_, plan) = publish(&small(str::to_owned)).unwrap();
    let credentials = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let candidate =
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=candidate:1 1 UDP 2015363327 192.0.2.2 54364 typ host\r\n";
    let fragment =
        format!("{credentials}{candidate}a=candidate:2 1 udp 1 x-y.local 9 typ host\r\na=end-of-candidates\r\n");
    assert_eq!(check_trickle(fragment.as_bytes(), &plan.remote), Ok(2));
    // RFC 9725 §4.3.2: a transport that is not supported here is passed over.
    let tls = fragment.replace("1 UDP", "1 ssltcp");
    assert_eq!(check_trickle(tls.as_bytes(), &plan.remote), Ok(2));
    let refused = |fragment: String| check_trickle(fragment.as_bytes(), &plan.remote).unwrap_err();
    assert_eq!(refused(fragment.replace("1 UDP", "1 <udp>")).reason, "sdp_malformed");
    assert_eq!(refused(candidate.into()).reason, "no_ice_credentials");
    let restart = refused(fragment.replace("abcd\r", "efgh\r"));
    assert_eq!((restart.status, restart.reason), (422, "ice_restart_unsupported"));
    assert_eq!(refused(fragment.replace("stuv", "stux")).reason, "trickle_mismatch");
    assert_eq!(refused(fragment.replace("54364", "x")).reason, "sdp_malformed");
    assert_eq!(refused("v=0\r\n".into()).reason, "sdp_malformed");
    assert_eq!(
        refused(format!("{credentials}{}", candidate.repeat(200))).reason,
        "sdp_too_many_attributes"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = Offer::parse(&bytes);
    }

    #[test]
    fn arbitrary_fragments_never_panic_and_never_pass_for_another_session(
        lines in proptest::collection::vec("(a=(candidate:|ice-ufrag:|ice-pwd:|mid:))?[ -~]{0,80}", 0..12),
    ) {
        let (_, plan) = publish(&small(str::to_owned)).unwrap();
        let fragment = lines.join("\r\n");
        if check_trickle(fragment.as_bytes(), &plan.remote).is_ok() {
            prop_assert!(fragment.contains(&plan.remote.pwd));
        }
    }

    #[test]
    fn arbitrary_lines_never_panic_and_never_forge_the_answer(
        index in 0..11_usize,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), "[ -~]{0,60}", any::<bool>()), 1..12),
    ) {
        let all: Vec<&[u8]> = PUBLISHERS.iter().chain(&VIEWERS).map(|(_, bytes)| *bytes).collect();
        let text = std::str::from_utf8(all[index]).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, value, replace) in edits {
            let at = at.index(lines.len());
            let split = lines[at].find(':').map_or(lines[at].len().min(2), |colon| colon + 1);
            if replace { lines[at] = format!("{}{value}", &lines[at][..split]); } else { lines.remove(at); }
            if lines.is_empty() { lines.push(value); }
        }
        if let Ok(offer) = Offer::parse(lines.join("\r\n").as_bytes()) {
            for answer in [
                answer_publish(&offer, &local()).map(|(answer, _)| answer),
                answer_view(&offer, &local(), &view_parameters(&[])).map(|(answer, _)| answer),
            ].into_iter().flatten() {
                prop_assert_eq!(lines_with(&answer, "m=").len(), offer.sections.len());
                prop_assert!(answer.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
                // What is written can be read.
                prop_assert!(Offer::parse(answer.as_bytes()).is_ok());
            }
        }
    }
}
