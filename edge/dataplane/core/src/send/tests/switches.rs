//! What settings can switch off.

use super::*;

#[test]
fn repairs_can_be_switched_off() {
    let mut parameters = parameters();
    parameters.disabled.nack = true;
    let mut world = World::live(parameters);
    let first = world.write(VIDEO, video(1, 0, b"K"), 0).unwrap().unwrap();
    assert_eq!(world.nack(&[first.number], 10), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_disabled", 1)]));
}

#[test]
fn without_the_cache_every_viewer_waits() {
    let mut parameters = parameters();
    parameters.disabled.cache = true;
    let mut world = World::new(parameters);
    world.rings[VIDEO].insert(Arc::new(video(1, 0, b"K"))).unwrap();
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(1));
    assert_eq!(world.poll(1), []);
    assert_eq!(world.half.poll_key_frame_request(at(1)), Some(VIDEO));
}

#[test]
fn sender_reports_can_be_switched_off_and_leave_no_timer_behind() {
    let mut disabled = parameters();
    disabled.disabled.sender_reports = true;
    for (parameters, reports) in [(parameters(), 1), (disabled, 0)] {
        let mut world = World::live(parameters);
        world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
        let clock = SenderClock { ntp: SECOND, rtp: 0 };
        world.half.handle_sender_clock(VIDEO, clock, at(1));
        assert_eq!(world.reports(1).len(), reports);
        assert_eq!(world.half.poll_timeout().is_some(), reports > 0);
    }
}
