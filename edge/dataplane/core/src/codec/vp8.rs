//! VP8 payload descriptors (RFC 7741 §4.2): read them, and keep them continuous when a viewer's source changes.

/// A payload descriptor and where its fields lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// S: the payload begins a partition.
    pub start_of_partition: bool,
    /// PID: partition index.
    pub partition: u8,
    /// N: nothing refers to this frame.
    pub non_reference: bool,
    /// PictureID, 7 or 15 bits.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX: counts base layer frames.
    pub tl0_pic_idx: Option<u8>,
    /// TID: temporal layer.
    pub temporal_layer: Option<u8>,
    /// KEYIDX: counts key frames, five bits.
    pub key_idx: Option<u8>,
    /// Length of the descriptor.
    pub len: usize,
    picture_id_at: usize,
    tl0_at: usize,
    key_idx_at: usize,
}

/// PictureID with its width, which a rewrite must not change: the payload keeps its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureId {
    /// M = 0.
    Short(u8),
    /// M = 1.
    Long(u16),
}

impl PictureId {
    /// The number without its width.
    pub const fn value(self) -> u16 {
        match self {
            PictureId::Short(value) => value as u16,
            PictureId::Long(value) => value,
        }
    }

    const fn with_value(self, value: u16) -> Self {
        match self {
            PictureId::Short(_) => PictureId::Short((value & self.highest()) as u8),
            PictureId::Long(_) => PictureId::Long(value & self.highest()),
        }
    }

    /// The highest number of this width; the one after it is 0.
    const fn highest(self) -> u16 {
        match self {
            PictureId::Short(_) => 0x7F,
            PictureId::Long(_) => 0x7FFF,
        }
    }
}

impl Descriptor {
    /// Reads the descriptor of a payload; `None` when it is cut short or nothing follows it.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let extension = if first & 0x80 != 0 { *payload.get(1)? } else { 0 };
        let mut at = if first & 0x80 != 0 { 2 } else { 1 };
        let mut descriptor = Descriptor {
            start_of_partition: first & 0x10 != 0,
            partition: first & 0x07,
            non_reference: first & 0x20 != 0,
            picture_id: None,
            tl0_pic_idx: None,
            temporal_layer: None,
            key_idx: None,
            len: 0,
            picture_id_at: 0,
            tl0_at: 0,
            key_idx_at: 0,
        };
        if extension & 0x80 != 0 {
            descriptor.picture_id_at = at;
            let high = *payload.get(at)?;
            if high & 0x80 != 0 {
                let low = *payload.get(at + 1)?;
                descriptor.picture_id = Some(PictureId::Long(u16::from_be_bytes([high & 0x7F, low])));
                at += 2;
            } else {
                descriptor.picture_id = Some(PictureId::Short(high));
                at += 1;
            }
        }
        if extension & 0x40 != 0 {
            descriptor.tl0_at = at;
            descriptor.tl0_pic_idx = Some(*payload.get(at)?);
            at += 1;
        }
        if extension & 0x30 != 0 {
            let byte = *payload.get(at)?;
            descriptor.key_idx_at = at;
            descriptor.temporal_layer = (extension & 0x20 != 0).then_some(byte >> 6);
            descriptor.key_idx = (extension & 0x10 != 0).then_some(byte & 0x1F);
            at += 1;
        }
        descriptor.len = at;
        (payload.len() > at).then_some(descriptor)
    }

    /// First packet of a key frame: start of partition 0 and, in the frame tag, P = 0 (RFC 7741 §4.3).
    pub fn is_key_frame_start(&self, payload: &[u8]) -> bool {
        self.start_of_partition && self.partition == 0 && payload.get(self.len).is_some_and(|tag| tag & 1 == 0)
    }
}

/// Whether a payload is the first packet of a key frame.
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|descriptor| descriptor.is_key_frame_start(payload))
}

/// Shifts one viewer's PictureID, TL0PICIDX and KEYIDX so that they go on counting when the source changes.
///
/// Decoders take a PictureID that jumps back for an old frame and freeze. Between changes numbers are shifted by a
/// constant, so gaps stay gaps and a retransmission is rewritten the same way as its original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Continuity {
    shift: Shift,
    last: Option<Numbers>,
}

/// What is added to a source's numbers; plain values, so that a history entry or a switch point can remember it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Modulo 2^15, or 2^7 for short PictureIDs.
    pub picture_id: u16,
    /// Modulo 2^8.
    pub tl0_pic_idx: u8,
    /// Modulo 2^5.
    pub key_idx: u8,
}

/// The highest numbers that went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers {
    picture_id: u16,
    tl0_pic_idx: u8,
    key_idx: u8,
}

impl Continuity {
    /// The payload that follows is the first of another source: its numbers become the next ones.
    pub fn restart(&mut self, first_payload: &[u8]) {
        let (Some(last), Some(first)) = (self.last, Descriptor::parse(first_payload)) else {
            return;
        };
        let picture_id = first.picture_id.map_or(0, PictureId::value);
        self.shift = Shift {
            picture_id: last.picture_id.wrapping_add(1).wrapping_sub(picture_id) & 0x7FFF,
            tl0_pic_idx: last
                .tl0_pic_idx
                .wrapping_add(1)
                .wrapping_sub(first.tl0_pic_idx.unwrap_or(0)),
            key_idx: last.key_idx.wrapping_add(1).wrapping_sub(first.key_idx.unwrap_or(0)) & 0x1F,
        };
    }

    /// Rewrites a payload in place and remembers how far the numbers have come. Returns what was added.
    pub fn rewrite(&mut self, payload: &mut [u8]) -> Shift {
        let Some(descriptor) = Descriptor::parse(payload) else {
            return self.shift;
        };
        apply(&descriptor, self.shift, payload);
        let circle = descriptor.picture_id.map_or(0x7FFF, PictureId::highest);
        let sent = |id: PictureId| id.value().wrapping_add(self.shift.picture_id) & circle;
        let now = Numbers {
            picture_id: descriptor.picture_id.map_or(0, sent),
            tl0_pic_idx: descriptor.tl0_pic_idx.unwrap_or(0).wrapping_add(self.shift.tl0_pic_idx),
            key_idx: descriptor.key_idx.unwrap_or(0).wrapping_add(self.shift.key_idx) & 0x1F,
        };
        let last = self.last.get_or_insert(now);
        // A late packet must not set the count back: what is less than half the circle ahead is newer.
        if now.picture_id.wrapping_sub(last.picture_id) & circle <= circle / 2 {
            *last = now;
        }
        self.shift
    }

    /// What is added at present.
    pub const fn shift(&self) -> Shift {
        self.shift
    }
}

/// Rewrites a payload in place with a shift that was remembered, for a retransmission of what went out before a change.
pub fn rewrite_with(shift: Shift, payload: &mut [u8]) {
    if shift != Shift::default()
        && let Some(descriptor) = Descriptor::parse(payload)
    {
        apply(&descriptor, shift, payload);
    }
}

fn apply(descriptor: &Descriptor, shift: Shift, payload: &mut [u8]) {
    if let Some(id) = descriptor.picture_id {
        match id.with_value(id.value().wrapping_add(shift.picture_id)) {
            PictureId::Short(value) => payload[descriptor.picture_id_at] = value,
            PictureId::Long(value) => {
                let [high, low] = value.to_be_bytes();
                payload[descriptor.picture_id_at] = high | 0x80;
                payload[descriptor.picture_id_at + 1] = low;
            }
        }
    }
    if let Some(index) = descriptor.tl0_pic_idx {
        payload[descriptor.tl0_at] = index.wrapping_add(shift.tl0_pic_idx);
    }
    if let Some(index) = descriptor.key_idx {
        let byte = &mut payload[descriptor.key_idx_at];
        *byte = (*byte & 0xE0) | (index.wrapping_add(shift.key_idx) & 0x1F);
    }
}
