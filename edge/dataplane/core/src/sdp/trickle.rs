//! Candidates sent after the offer: `application/trickle-ice-sdpfrag` (RFC 8840, RFC 9725 §4.3.2).

use crate::sdp::line::{is_token, lines, malformed};
use crate::sdp::{OFFER_MAX_BYTES, Remote, SdpError};
use std::net::IpAddr;

/// A client gathers a few candidates per interface and protocol.
const CANDIDATES_MAX: usize = 128;

/// Validates a fragment against the session's credentials and counts its candidates.
///
/// ICE-lite sends no checks, so the candidates themselves are not used: the peer's own checks show where it is.
pub fn check_trickle(fragment: &[u8], remote: &Remote) -> Result<usize, SdpError> {
    let mut candidates = 0;
    let mut ufrag = None;
    let mut pwd = None;
    for line in lines(fragment, OFFER_MAX_BYTES)? {
        let line = line?;
        let (name, value) = line.value.split_once(':').unwrap_or((line.value, ""));
        match (line.kind, name) {
            (b'a', "ice-ufrag") => ufrag = Some(value),
            (b'a', "ice-pwd") => pwd = Some(value),
            (b'a', "candidate") => {
                candidates += 1;
                if !is_candidate(value) {
                    return Err(malformed(line.number, "is no valid candidate"));
                }
            }
            (b'a', _) | (b'm', _) => {}
            _ => return Err(malformed(line.number, "has no place in a trickle fragment")),
        }
        if candidates > CANDIDATES_MAX {
            let detail = format!("More than {CANDIDATES_MAX} candidates; send fewer.");
            return Err(SdpError::bad("sdp_too_many_attributes", detail));
        }
    }
    let (Some(ufrag), Some(pwd)) = (ufrag, pwd) else {
        return Err(SdpError::bad(
            "no_ice_credentials",
            "The fragment needs a=ice-ufrag and a=ice-pwd of the offer.",
        ));
    };
    match (ufrag == remote.ufrag, pwd == remote.pwd) {
        (true, true) => Ok(candidates),
        // RFC 9725 §4.3.3: new credentials ask for an ICE restart; 422 where only trickle is supported (§4.3).
        (false, _) => Err(SdpError {
            status: 422,
            reason: "ice_restart_unsupported",
            detail: "The fragment has another ice-ufrag than the offer; open a new session instead of an ICE restart."
                .into(),
        }),
        (true, false) => Err(SdpError::bad(
            "trickle_mismatch",
            "The fragment's ice-pwd is not the offer's.",
        )),
    }
}

/// `<foundation> <component> <transport> <priority> <address> <port> typ <type> …` (RFC 8839 §5.1). Addresses may be
/// mDNS names, and the transport any: RFC 9725 §4.3.2 wants a candidate that cannot be used passed over, not refused.
fn is_candidate(value: &str) -> bool {
    let words: Vec<&str> = value.split_ascii_whitespace().take(8).collect();
    let [foundation, component, transport, priority, address, port, "typ", _] = words[..] else {
        return false;
    };
    let name_ok =
        |name: &str| name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (1..=64).contains(&foundation.len())
        && component.parse::<u8>().is_ok_and(|component| component > 0)
        && is_token(transport)
        && priority.parse::<u32>().is_ok()
        && (address.parse::<IpAddr>().is_ok() || name_ok(address))
        && port.parse::<u16>().is_ok()
}
