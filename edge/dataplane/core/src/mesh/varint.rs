//! QUIC variable-length integers (RFC 9000 §16) and a bounds-checked reader over a message.

/// Largest value a variable-length integer can hold.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// The bytes end in the middle of a field, or a field breaks its bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Appends `value` in the shortest form. Values above [`VARINT_MAX`] are clamped; none of ours reach it.
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    let value = value.min(VARINT_MAX);
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Appends a byte string with its length in front.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads fields one after another; never past the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// A big-endian 16-bit number.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().map_err(|_| Malformed)?))
    }

    /// A big-endian 32-bit number.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
    }

    /// A big-endian 64-bit number.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?))
    }

    /// A variable-length integer.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let first = *self.rest.first().ok_or(Malformed)?;
        let length = 1usize << (first >> 6);
        let bytes = self.take(length)?;
        let head = u64::from(bytes[0] & 0x3f);
        Ok(bytes[1..]
            .iter()
            .fold(head, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A variable-length integer that counts or measures something of at most `max`.
    pub fn bounded(&mut self, max: usize) -> Result<usize, Malformed> {
        let value = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        if value > max { Err(Malformed) } else { Ok(value) }
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let length = self.bounded(max)?;
        self.take(length)
    }

    /// UTF-8 text of at most `max` bytes.
    pub fn text(&mut self, max: usize) -> Result<String, Malformed> {
        std::str::from_utf8(self.bytes(max)?)
            .map(str::to_owned)
            .map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9000_appendix_a_examples_decode_and_encode() {
        for (value, bytes) in [
            (
                151_288_809_941_952_652u64,
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..],
            ),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ] {
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn a_truncated_field_is_an_error() {
        assert_eq!(Reader::new(&[0xc2, 0x19]).varint(), Err(Malformed));
        assert_eq!(Reader::new(&[5, 1, 2]).bytes(16), Err(Malformed));
        assert_eq!(Reader::new(&[2, 0xff, 0xfe]).text(16), Err(Malformed));
        assert_eq!(Reader::new(&[17]).bounded(16), Err(Malformed));
    }
}
