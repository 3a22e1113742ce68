//! Format parameters: the `key=value;…` list of an `a=fmtp` line.

/// The value of one parameter, found without regard to case (RFC 8866 §6.15 leaves the syntax to each format).
pub fn parameter<'a>(fmtp: &'a str, key: &str) -> Option<&'a str> {
    parameters(fmtp)
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
}

/// `fmtp` without what only its sender can say about its own stream (RFC 6184 §8.1, RFC 7587 §6.1: `sprop-…`).
pub fn without_sprop(fmtp: &str) -> String {
    let kept: Vec<&str> = fmtp
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty() && !starts_with_sprop(part))
        .collect();
    kept.join(";")
}

/// RFC 6184 §8.1: absent means 0.
pub fn packetization_mode(fmtp: &str) -> u8 {
    parameter(fmtp, "packetization-mode").map_or(0, |value| value.parse().unwrap_or(u8::MAX))
}

/// The first byte of profile-level-id, the profile; absent means baseline (RFC 6184 §8.1).
pub fn h264_profile(fmtp: &str) -> u8 {
    parameter(fmtp, "profile-level-id")
        .and_then(|value| value.get(..2))
        .and_then(|profile| u8::from_str_radix(profile, 16).ok())
        .unwrap_or(0x42)
}

/// What format parameters of H.264 say that decides who can take whose stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct H264Format {
    /// RFC 6184 §6.2: 1 allows aggregates and fragments.
    pub packetization_mode: u8,
    /// profile_idc.
    pub profile: u8,
}

impl H264Format {
    /// Reads the format parameters of one payload type.
    pub fn from_fmtp(fmtp: &str) -> Self {
        H264Format {
            packetization_mode: packetization_mode(fmtp),
            profile: h264_profile(fmtp),
        }
    }

    /// Which of a receiver's payload types a stream of this format goes out under; `None` when it cannot take the stream.
    ///
    /// The packetization-mode must allow the stream's; a matching profile is preferred and never required, because what decoders
    /// accept is wider than what offers say (FFmpeg states levels nobody offers).
    pub fn choose<T>(self, offered: impl Iterator<Item = (T, H264Format)>) -> Option<T> {
        // A receiver of mode 1 also takes the single NAL units of mode 0 (RFC 6184 §6.3).
        offered
            .filter(|(_, format)| format.packetization_mode >= self.packetization_mode)
            .min_by_key(|(_, format)| format.profile != self.profile)
            .map(|(chosen, _)| chosen)
    }
}

/// Parameter sets sent out of band, decoded: `sprop-parameter-sets=base64,base64` (RFC 6184 §8.1).
///
/// Sets that are not base64 are left out; the stream usually repeats them anyway.
pub fn sprop_parameter_sets(fmtp: &str) -> Vec<Vec<u8>> {
    let Some(sets) = parameter(fmtp, "sprop-parameter-sets") else {
        return Vec::new();
    };
    sets.split(',')
        .take(8)
        .filter_map(decode_base64)
        .filter(|set| !set.is_empty())
        .collect()
}

fn parameters(fmtp: &str) -> impl Iterator<Item = (&str, &str)> {
    fmtp.split(';')
        .filter_map(|part| part.trim().split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

fn starts_with_sprop(part: &str) -> bool {
    part.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("sprop-"))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0_u32;
    let mut count = 0;
    for character in text.trim_end_matches('=').bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_case_and_spacing() {
        let fmtp = "Level-Asymmetry-Allowed=1; packetization-mode=1;profile-level-id=64001F";
        assert_eq!(parameter(fmtp, "level-asymmetry-allowed"), Some("1"));
        assert_eq!((packetization_mode(fmtp), h264_profile(fmtp)), (1, 0x64));
        assert_eq!((packetization_mode(""), h264_profile("")), (0, 0x42));
        assert_eq!(h264_profile("profile-level-id=é"), 0x42);
    }

    #[test]
    fn sender_properties_are_not_echoed() {
        assert_eq!(without_sprop("sprop-stereo=0; minptime=10;SPROP-x=1"), "minptime=10");
    }

    #[test]
    fn parameter_sets_come_out_of_base64() {
        let sets = sprop_parameter_sets("packetization-mode=1;sprop-parameter-sets=Z0IACpZTBYmI,aMljiA==");
        assert_eq!(sets[0], [0x67, 0x42, 0x00, 0x0a, 0x96, 0x53, 0x05, 0x89, 0x88]);
        assert_eq!(sets[1], [0x68, 0xc9, 0x63, 0x88]);
        assert!(sprop_parameter_sets("sprop-parameter-sets=?!").is_empty());
    }
}
