//! What a host may be sent, by what was agreed with it.

use super::*;

/// All compounds that are due at `ms`.
fn compounds(half: &mut ReceiveHalf, ms: u64) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| half.poll_rtcp(at(ms))).collect()
}

/// The packets of a compound by name.
fn names(compound: &[u8]) -> Vec<&'static str> {
    let name = |packet: Rtcp<'_>| match packet {
        Rtcp::ReceiverReport { .. } => "report",
        Rtcp::Sdes(_) => "names",
        Rtcp::Nack { .. } => "nack",
        Rtcp::Pli { .. } => "pli",
        Rtcp::Fir { .. } => "fir",
        Rtcp::TwccFeedback(_) => "feedback",
        other => panic!("{other:?}"),
    };
    rtcp::parse(compound).unwrap().map(name).collect()
}

/// A host whose second packet of three is missing, with numbers for transport-wide feedback.
fn with_a_gap(parameters: ReceiveParameters) -> ReceiveHalf {
    let mut half = ReceiveHalf::new(parameters);
    for (number, transport_number, payload) in [(1u64, 7u8, KEY), (3, 8, DELTA)] {
        let packet = rtp(VIDEO, 96, number, 1, &[(2, &[0, transport_number])], payload);
        half.handle_rtp(&packet, number, at(0)).unwrap();
    }
    half
}

#[test]
fn without_reduced_size_every_compound_begins_with_a_report() {
    for (reduced_size, head) in [(true, &[][..]), (false, &["report", "names"])] {
        let mut half = with_a_gap(ReceiveParameters {
            reduced_size,
            ..parameters()
        });
        half.request_key_frame(1, at(0));
        for (ms, kind) in [(0, "pli"), (5, "nack"), (50, "feedback")] {
            let sent = compounds(&mut half, ms);
            let sent: Vec<_> = sent.iter().map(|compound| names(compound)).collect();
            assert_eq!(sent, [[head, &[kind][..]].concat()], "at {ms} ms");
        }
        assert_eq!(
            compounds(&mut half, 60),
            Vec::<Vec<u8>>::new(),
            "no report for its own sake"
        );
    }
}

#[test]
fn a_report_before_feedback_stands_for_the_next_one_due() {
    let mut half = with_a_gap(ReceiveParameters {
        reduced_size: false,
        ..parameters()
    });
    compounds(&mut half, 50);
    assert_eq!(half.poll_timeout(), Some(at(175)), "the repetition of the request");
    half.handle_rtp(&rtx(2, DELTA), 1, at(60)).unwrap();
    assert_eq!(half.poll_timeout(), Some(at(1_050)));
}

#[test]
fn a_host_is_asked_for_a_key_frame_as_it_agreed_to_be() {
    for (pli, fir, kinds) in [
        (true, true, &["pli"][..]),
        (true, false, &["pli"]),
        (false, true, &["fir"]),
        (false, false, &[]),
    ] {
        let mut parameters = parameters();
        for codec in &mut parameters.tracks[1].codecs {
            (codec.pli, codec.fir) = (pli, fir);
        }
        let mut half = ReceiveHalf::new(parameters);
        half.handle_rtp(&video(1, DELTA), 1, at(0)).unwrap();
        half.request_key_frame(1, at(0));
        let sent: Vec<_> = compounds(&mut half, 0)
            .iter()
            .flat_map(|compound| names(compound))
            .collect();
        assert_eq!(sent, kinds, "pli {pli}, fir {fir}");
        assert_eq!(half.stats().plis_sent, kinds.len() as u64);
    }
}

#[test]
fn each_full_intra_request_is_a_command_of_its_own_for_the_tracks_ssrc() {
    let mut parameters = parameters();
    for codec in &mut parameters.tracks[1].codecs {
        (codec.pli, codec.fir) = (false, true);
    }
    let mut half = ReceiveHalf::new(parameters);
    half.handle_rtp(&video(1, DELTA), 1, at(0)).unwrap();
    for (ms, command) in [(0, 1), (500, 2)] {
        half.request_key_frame(1, at(ms));
        let sent = compounds(&mut half, ms);
        let fir = sent.iter().find_map(|compound| {
            rtcp::parse(compound).unwrap().find_map(|packet| match packet {
                Rtcp::Fir { entries, .. } => Some(entries.to_vec()),
                _ => None,
            })
        });
        assert_eq!(fir, Some([&VIDEO.to_be_bytes()[..], &[command, 0, 0, 0]].concat()));
    }
}

#[test]
fn many_scattered_requests_go_out_in_several_compounds_that_pass_every_tunnel() {
    for reduced_size in [true, false] {
        let mut half = ReceiveHalf::new(ReceiveParameters {
            reduced_size,
            ..parameters()
        });
        let is_lost = |number: u64| number % 18 == 17;
        // One more than a request's bit mask reaches: each takes a pair of its own.
        for number in (0..=512 * 18).filter(|number| !is_lost(*number)) {
            half.handle_rtp(&video(number, DELTA), number, at(0)).unwrap();
        }
        half.request_key_frame(1, at(0));
        let sent = compounds(&mut half, 5);
        assert!(sent.len() > 1);
        let mut asked = vec![];
        for compound in &sent {
            assert!(compound.len() <= 1_200, "{} bytes", compound.len());
            assert_eq!(names(compound)[0] == "report", !reduced_size);
            for packet in rtcp::parse(compound).unwrap() {
                if let Rtcp::Nack { missing, .. } = packet {
                    asked.extend(missing.map(u64::from));
                }
            }
        }
        assert_eq!(
            asked,
            (0..512 * 18).filter(|number| is_lost(*number)).collect::<Vec<_>>()
        );
        assert_eq!(half.stats().nacks_sent, 512);
    }
}

#[test]
fn a_burst_of_arrivals_is_told_in_packets_that_pass_every_tunnel_whatever_our_name() {
    for cname in ["edge".to_owned(), "e".repeat(255)] {
        let mut half = ReceiveHalf::new(ReceiveParameters {
            reduced_size: false,
            cname,
            ..parameters()
        });
        for number in 0..400u16 {
            let packet = rtp(VIDEO, 96, number.into(), 1, &[(2, &(number * 7).to_be_bytes())], DELTA);
            let ms = u64::from(number) * 70;
            half.handle_rtp(&packet, number.into(), at(ms)).unwrap();
        }
        let sent = compounds(&mut half, 28_000);
        assert!((2..=10).contains(&sent.len()), "{} compounds", sent.len());
        assert!(
            sent.iter()
                .all(|compound| names(compound).starts_with(&["report", "names"]))
        );
        assert!(sent.iter().all(|compound| compound.len() <= 1_300));
    }
}
