//! Lines of an SDP document: limits, text checks, `type=value`.

use crate::sdp::{LINE_MAX_BYTES, SdpError};

/// One `type=value` line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The letter before the equals sign.
    pub kind: u8,
    /// What follows it.
    pub value: &'a str,
    /// One-based, for messages.
    pub number: usize,
}

/// Checks size and character set of the whole, then hands out lines. RFC 8866 §5: CRLF, but a lone LF is accepted.
pub fn lines(bytes: &[u8], max_bytes: usize) -> Result<impl Iterator<Item = Result<Line<'_>, SdpError>>, SdpError> {
    if bytes.len() > max_bytes {
        let detail = format!("The body has {} bytes; send at most {max_bytes}.", bytes.len());
        return Err(SdpError::bad("sdp_too_large", detail));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        SdpError::bad(
            "sdp_not_text",
            "The body is not UTF-8 text; send SDP as application/sdp.",
        )
    })?;
    if text
        .bytes()
        .any(|byte| byte < 0x20 && !matches!(byte, b'\r' | b'\n' | b'\t'))
    {
        return Err(SdpError::bad(
            "sdp_not_text",
            "The body has control characters; send SDP as application/sdp.",
        ));
    }
    Ok(text
        .split('\n')
        .enumerate()
        .filter_map(|(index, line)| split(line, index + 1)))
}

fn split(line: &str, number: usize) -> Option<Result<Line<'_>, SdpError>> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return None;
    }
    if line.len() > LINE_MAX_BYTES {
        let detail = format!("Line {number} has {} bytes; send at most {LINE_MAX_BYTES}.", line.len());
        return Some(Err(SdpError::bad("sdp_line_too_long", detail)));
    }
    let parsed = match line.as_bytes() {
        // A carriage return inside a value would let it forge lines of the answer.
        [kind @ b'a'..=b'z', b'=', ..] if !line.contains('\r') => Ok(Line {
            kind: *kind,
            value: &line[2..],
            number,
        }),
        _ => Err(malformed(number, "is not of the form type=value")),
    };
    Some(parsed)
}

/// A 400 that names the line.
pub fn malformed(number: usize, what: &str) -> SdpError {
    SdpError::bad(
        "sdp_malformed",
        format!("Line {number} {what}; send an offer as a browser makes it."),
    )
}

/// RFC 8866 §9 `token`, bounded, because tokens are echoed.
pub fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte))
}

/// RFC 8839 §5.4 `ice-char`s between two lengths.
pub fn is_ice_text(text: &str, min: usize) -> bool {
    (min..=256).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
