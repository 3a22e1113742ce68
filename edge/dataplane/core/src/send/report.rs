//! When sender reports are due, and the round trip that their echoes tell.

use crate::rtcp::{ReceptionReport, SenderReport};
use crate::time::Time;
use std::time::Duration;

/// A player needs two reports per track before it can play in sync, so the second one follows soon.
const SECOND_REPORT: Duration = Duration::from_millis(200);

/// After that.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Sent reports remembered: four seconds of two tracks. An echo of an older one tells nothing.
const MAX_SENT: usize = 8;

/// A longer round trip is a lie or a sleeping laptop.
const MAX_RTT: Duration = Duration::from_secs(10);

/// The schedule of reports and the smoothed round trip.
#[derive(Debug, Default)]
pub(super) struct ReportClock {
    next: Option<Time>,
    sent_since_start: u8,
    /// Middle 32 bits of a report's NTP timestamp, and when it left.
    sent: [(u32, Time); MAX_SENT],
    sent_at: usize,
    rtt: Option<Duration>,
}

impl ReportClock {
    /// A track begins or its clock becomes known: report at once.
    pub(super) fn restart(&mut self, now: Time) {
        self.next = Some(now);
        self.sent_since_start = 0;
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        self.next.is_some_and(|at| now >= at)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.next
    }

    /// Nothing is due before, unless a track begins or its clock becomes known.
    pub(super) fn wait_until(&mut self, at: Time) {
        self.next = Some(at);
    }

    /// After a round of reports; without any (no clock yet) nothing is due until one is known.
    pub(super) fn schedule(&mut self, reported: bool, now: Time) {
        self.next = reported.then(|| {
            now + if self.sent_since_start == 0 {
                SECOND_REPORT
            } else {
                REPORT_INTERVAL
            }
        });
        self.sent_since_start = self.sent_since_start.saturating_add(1);
    }

    pub(super) fn handle_sent(&mut self, report: &SenderReport, now: Time) {
        self.sent[self.sent_at % MAX_SENT] = ((report.ntp >> 16) as u32, now);
        self.sent_at += 1;
    }

    /// RFC 3550 §6.4.1: round trip = arrival − LSR − DLSR. The reports carry the publisher's clock, so ours is looked up.
    pub(super) fn handle_reception(&mut self, reception: &ReceptionReport, now: Time) {
        if reception.last_sender_report == 0 {
            return;
        }
        let Some((_, sent)) = self
            .sent
            .iter()
            .find(|(middle, _)| *middle == reception.last_sender_report)
        else {
            return;
        };
        let delay_us = u64::from(reception.delay_since_last_sender_report) * 1_000_000 / 65_536;
        let Some(rtt) = (now - *sent)
            .checked_sub(Duration::from_micros(delay_us))
            .filter(|rtt| *rtt <= MAX_RTT)
        else {
            return;
        };
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}
