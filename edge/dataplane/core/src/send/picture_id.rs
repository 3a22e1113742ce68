//! VP8 picture numbers of one viewer: they go on by one where another source begins (RFC 7741 §4.2).

/// Where the descriptor of a payload holds its running numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Fields {
    /// Offset and value of a PictureID, and whether it has 15 bits.
    picture_id: Option<(usize, u16, bool)>,
    /// Offset and value of TL0PICIDX.
    tl0picidx: Option<(usize, u8)>,
}

fn read(payload: &[u8]) -> Fields {
    let mut fields = Fields::default();
    let (Some(first), Some(extended)) = (payload.first(), payload.get(1)) else {
        return fields;
    };
    if first & 0x80 == 0 {
        return fields;
    }
    let mut at = 2;
    if extended & 0x80 != 0 {
        match (payload.get(at), payload.get(at + 1)) {
            (Some(high), Some(low)) if high & 0x80 != 0 => {
                fields.picture_id = Some((at, u16::from(high & 0x7F) << 8 | u16::from(*low), true));
                at += 2;
            }
            (Some(short), _) if short & 0x80 == 0 => {
                fields.picture_id = Some((at, u16::from(*short), false));
                at += 1;
            }
            _ => return fields,
        }
    }
    if extended & 0x40 != 0 {
        fields.tl0picidx = payload.get(at).map(|value| (at, *value));
    }
    fields
}

/// Continues picture numbers across sources.
#[derive(Debug, Default)]
pub(super) struct PictureIds {
    picture_id_offset: u16,
    tl0picidx_offset: u8,
    /// Newest numbers the viewer got.
    last: Option<(u16, u8)>,
    starting: bool,
}

impl PictureIds {
    /// Another source begins with the next packet.
    pub(super) fn start(&mut self) {
        self.starting = true;
    }

    /// Rewrites the numbers of a payload that was copied for the viewer.
    pub(super) fn patch(&mut self, payload: &mut [u8], newest: bool) {
        let fields = read(payload);
        if self.starting {
            self.starting = false;
            let own = (
                fields.picture_id.map_or(0, |(_, id, _)| id),
                fields.tl0picidx.map_or(0, |(_, index)| index),
            );
            (self.picture_id_offset, self.tl0picidx_offset) = match self.last {
                // RFC 7741 §4.2: a gap in the numbers means lost frames; none were.
                Some((id, index)) => ((id + 1).wrapping_sub(own.0), index.wrapping_add(1).wrapping_sub(own.1)),
                None => (0, 0),
            };
        }
        let (mut last_id, mut last_index) = self.last.unwrap_or_default();
        if let Some((at, id, long)) = fields.picture_id {
            let id = id.wrapping_add(self.picture_id_offset) & if long { 0x7FFF } else { 0x7F };
            if long {
                payload[at..at + 2].copy_from_slice(&(id | 0x8000).to_be_bytes());
            } else {
                payload[at] = id as u8;
            }
            last_id = id;
        }
        if let Some((at, index)) = fields.tl0picidx {
            payload[at] = index.wrapping_add(self.tl0picidx_offset);
            last_index = payload[at];
        }
        if newest {
            self.last = Some((last_id, last_index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_another_source_begins() {
        let mut ids = PictureIds::default();
        ids.start();
        let mut first = [0x90, 0xC0, 0xFF, 0xFF, 7, 0xAA];
        ids.patch(&mut first, true);
        assert_eq!(
            first,
            [0x90, 0xC0, 0xFF, 0xFF, 7, 0xAA],
            "a first source keeps its numbers"
        );
        ids.start();
        let mut other = [0x90, 0xC0, 0x80, 0x05, 200, 0xAA];
        ids.patch(&mut other, true);
        assert_eq!(other, [0x90, 0xC0, 0x80, 0x00, 8, 0xAA]);
        let mut next = [0x90, 0xC0, 0x80, 0x06, 200, 0xAA];
        ids.patch(&mut next, true);
        assert_eq!(next, [0x90, 0xC0, 0x80, 0x01, 8, 0xAA]);
        let mut late = [0x90, 0xC0, 0x80, 0x05, 200, 0xAA];
        ids.patch(&mut late, false);
        assert_eq!(late[3], 0);
        ids.start();
        let mut short = [0x90, 0x80, 0x7F, 0xAA];
        ids.patch(&mut short, true);
        assert_eq!(short, [0x90, 0x80, 0x02, 0xAA]);
    }

    #[test]
    fn truncated_descriptors_are_left_alone() {
        let whole = [0x90, 0xC0, 0x80, 0x05, 200];
        for len in 0..whole.len() {
            let mut ids = PictureIds {
                last: Some((9, 9)),
                ..Default::default()
            };
            ids.start();
            ids.patch(&mut whole[..len].to_vec(), true);
        }
    }
}
