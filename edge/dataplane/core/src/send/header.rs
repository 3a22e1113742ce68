//! A viewer's RTP header: a template with ssrc and mid, the rest per packet.

use super::SendExtensions;
use crate::packet::{MediaExtensions, Ssrc};
use crate::rtp::{HeaderFields, write_header};
use std::time::Duration;

/// Unit of playout-delay: its two numbers have 12 bits each.
const PLAYOUT_DELAY_UNIT_MS: u128 = 10;
const PLAYOUT_DELAY_UNITS_MAX: u128 = 0xFFF;
/// Upper bound told to players, in units: 4 s, the longest that a ring repairs from. libwebrtc ignores a maximum below the
/// minimum, and takes a small one with no minimum as a wish for rendering without any buffer.
const PLAYOUT_DELAY_LONGEST: u32 = 400;

/// Writes headers with one ssrc.
#[derive(Debug)]
pub(super) struct HeaderWriter {
    ssrc: Ssrc,
    mid: Vec<u8>,
    extensions: SendExtensions,
    /// Value of the playout-delay extension, once there is one to tell.
    playout_delay: Option<[u8; 3]>,
    template: Vec<u8>,
}

impl HeaderWriter {
    pub(super) fn new(ssrc: Ssrc, mid: &str, mut extensions: SendExtensions) -> HeaderWriter {
        // An m-line without mid has no name to send.
        extensions.mid = extensions.mid.filter(|_| !mid.is_empty());
        let mut writer = HeaderWriter {
            ssrc,
            mid: mid.as_bytes().to_vec(),
            extensions,
            playout_delay: None,
            template: Vec::new(),
        };
        writer.make_template();
        writer
    }

    fn make_template(&mut self) {
        let fields = HeaderFields {
            marker: false,
            payload_type: 0,
            sequence_number: 0,
            timestamp: 0,
            ssrc: self.ssrc,
        };
        let mut template = Vec::with_capacity(32);
        write_header(
            &mut template,
            fields,
            &[self.mid_element(), self.playout_delay_element()],
        );
        self.template = template;
    }

    // Id 0 is never negotiated; `write_header` leaves it out.
    fn mid_element(&self) -> (u8, &[u8]) {
        (self.extensions.mid.unwrap_or(0), &self.mid)
    }

    fn playout_delay_element(&self) -> (u8, &[u8]) {
        match (&self.playout_delay, self.extensions.playout_delay) {
            (Some(value), Some(id)) => (id, value),
            _ => (0, &[]),
        }
    }

    /// Tells the player, with every packet from now on, to buffer at least this long; whether headers differ from before.
    /// A zero is told only to a player that was told more before, and would stay there.
    pub(super) fn set_playout_delay(&mut self, least: Duration) -> bool {
        let units = least
            .as_millis()
            .div_ceil(PLAYOUT_DELAY_UNIT_MS)
            .min(PLAYOUT_DELAY_UNITS_MAX) as u32;
        if self.extensions.playout_delay.is_none() || (units == 0 && self.playout_delay.is_none()) {
            return false;
        }
        let [_, value @ ..] = (units << 12 | PLAYOUT_DELAY_LONGEST.max(units)).to_be_bytes();
        if self.playout_delay == Some(value) {
            return false;
        }
        self.playout_delay = Some(value);
        self.make_template();
        true
    }

    /// Whether the player was offered to be told a delay, and has been.
    pub(super) fn tells_playout_delay(&self) -> bool {
        self.playout_delay.is_some()
    }

    pub(super) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Bytes of a header without per-packet extensions.
    pub(super) fn plain_len(&self) -> usize {
        self.template.len()
    }

    /// Whether any of these would be written for this viewer.
    pub(super) fn wants(&self, media: &MediaExtensions) -> bool {
        (media.abs_capture_time.is_some() && self.extensions.abs_capture_time.is_some())
            || (media.audio_level.is_some() && self.extensions.audio_level.is_some())
            || (media.video_orientation.is_some() && self.extensions.video_orientation.is_some())
    }

    /// Appends a header from the template and returns its length.
    pub(super) fn write_plain(
        &self,
        output: &mut Vec<u8>,
        marker: bool,
        payload_type: u8,
        sequence_number: u16,
        timestamp: u32,
    ) -> usize {
        let start = output.len();
        output.extend_from_slice(&self.template);
        output[start + 1] = u8::from(marker) << 7 | payload_type;
        output[start + 2..start + 4].copy_from_slice(&sequence_number.to_be_bytes());
        output[start + 4..start + 8].copy_from_slice(&timestamp.to_be_bytes());
        self.template.len()
    }

    /// Appends a header with the packet's own extensions and returns its length.
    pub(super) fn write_extended(
        &self,
        output: &mut Vec<u8>,
        marker: bool,
        payload_type: u8,
        sequence_number: u16,
        timestamp: u32,
        media: &MediaExtensions,
    ) -> usize {
        let mut capture = [0u8; 16];
        let mut capture_len = 0;
        if let Some((ntp, offset)) = media.abs_capture_time {
            capture[..8].copy_from_slice(&ntp.to_be_bytes());
            capture_len = 8;
            if let Some(offset) = offset {
                capture[8..].copy_from_slice(&offset.to_be_bytes());
                capture_len = 16;
            }
        }
        let level = [media.audio_level.unwrap_or(0)];
        let orientation = [media.video_orientation.unwrap_or(0)];
        let id = |wanted: bool, id: Option<u8>| if wanted { id.unwrap_or(0) } else { 0 };
        let elements: [(u8, &[u8]); 5] = [
            self.mid_element(),
            self.playout_delay_element(),
            (
                id(capture_len > 0, self.extensions.abs_capture_time),
                &capture[..capture_len],
            ),
            (id(media.audio_level.is_some(), self.extensions.audio_level), &level),
            (
                id(media.video_orientation.is_some(), self.extensions.video_orientation),
                &orientation,
            ),
        ];
        write_header(
            output,
            HeaderFields {
                marker,
                payload_type,
                sequence_number,
                timestamp,
                ssrc: self.ssrc,
            },
            &elements,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpHeader;

    #[test]
    fn the_playout_delay_is_two_numbers_of_12_bits_in_10_ms() {
        let extensions = SendExtensions {
            mid: Some(4),
            playout_delay: Some(5),
            ..Default::default()
        };
        let mut writer = HeaderWriter::new(Ssrc(7), "1", extensions);
        let before = writer.plain_len();
        assert!(!writer.set_playout_delay(Duration::ZERO));
        assert_eq!(writer.plain_len(), before, "near streams pay nothing");
        assert!(writer.set_playout_delay(Duration::from_millis(201)));
        assert!(!writer.set_playout_delay(Duration::from_millis(210)), "rounded up");
        let mut plain = Vec::new();
        writer.write_plain(&mut plain, true, 96, 5, 6);
        // RFC 8285 §4.2: profile, two words, mid, playout-delay with 21 and 400 units, padding.
        let block = [0xBE, 0xDE, 0, 2, 0x40, b'1', 0x52, 0x01, 0x51, 0x90, 0, 0];
        assert_eq!(plain[12..], block);
        let media = MediaExtensions {
            abs_capture_time: Some((77, None)),
            ..Default::default()
        };
        let mut full = Vec::new();
        writer.write_extended(&mut full, true, 96, 5, 6, &media);
        let header = RtpHeader::parse(&full).unwrap();
        assert_eq!(header.extension(&full, 5), Some(&[0x01, 0x51, 0x90][..]));
        assert!(
            writer.set_playout_delay(Duration::ZERO),
            "a player that was told more is let go"
        );
        assert!(writer.set_playout_delay(Duration::from_secs(60)));
        plain.clear();
        writer.write_plain(&mut plain, true, 96, 5, 6);
        assert_eq!(plain[19..22], [0xFF, 0xFF, 0xFF], "both at the most that can be said");
    }

    #[test]
    fn template_and_full_form_read_the_same() {
        let extensions = SendExtensions {
            mid: Some(4),
            abs_capture_time: Some(9),
            ..Default::default()
        };
        let writer = HeaderWriter::new(Ssrc(7), "video", extensions);
        let (mut plain, mut full) = (Vec::new(), Vec::new());
        let media = MediaExtensions {
            audio_level: Some(1),
            ..Default::default()
        };
        assert!(!writer.wants(&media));
        let len = writer.write_plain(&mut plain, true, 96, 5, 6);
        assert_eq!(writer.write_extended(&mut full, true, 96, 5, 6, &media), len);
        assert_eq!(plain, full);
        let media = MediaExtensions {
            abs_capture_time: Some((77, Some(-1))),
            ..media
        };
        assert!(writer.wants(&media));
        full.clear();
        writer.write_extended(&mut full, true, 96, 5, 6, &media);
        let header = RtpHeader::parse(&full).unwrap();
        assert_eq!(header.extension(&full, 4), Some(&b"video"[..]));
        assert_eq!(header.extension(&full, 9).map(<[u8]>::len), Some(16));
        assert_eq!(header.extensions(&full).count(), 2);
    }
}
