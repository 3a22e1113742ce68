//! A viewer's RTP header: a template with ssrc and mid, the rest per packet.

use super::SendExtensions;
use crate::packet::{MediaExtensions, Ssrc};
use crate::rtp::{HeaderFields, write_header};

/// Writes headers with one ssrc.
#[derive(Debug)]
pub(super) struct HeaderWriter {
    ssrc: Ssrc,
    mid: Vec<u8>,
    extensions: SendExtensions,
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
            template: Vec::new(),
        };
        let fields = HeaderFields {
            marker: false,
            payload_type: 0,
            sequence_number: 0,
            timestamp: 0,
            ssrc,
        };
        let mut template = Vec::with_capacity(32);
        match extensions.mid {
            Some(id) => write_header(&mut template, fields, &[(id, &writer.mid)]),
            None => write_header(&mut template, fields, &[]),
        };
        writer.template = template;
        writer
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
        // Id 0 is never negotiated; `write_header` leaves it out.
        let id = |wanted: bool, id: Option<u8>| if wanted { id.unwrap_or(0) } else { 0 };
        let elements: [(u8, &[u8]); 4] = [
            (id(true, self.extensions.mid), &self.mid),
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
