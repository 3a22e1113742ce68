//! A whole offer: session-level lines, then sections.

use crate::sdp::line::{Line, is_ice_text, lines, malformed};
use crate::sdp::section::push_bounded;
use crate::sdp::{Direction, DtlsRole, Fingerprint, FingerprintAlgorithm, MediaSection, OfferLimits, Remote, SdpError};

/// A parsed offer. Nothing about it has been accepted yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Sections in offer order.
    pub sections: Vec<MediaSection>,
    /// Mids of `a=group:BUNDLE` in order; empty when there is none.
    pub bundle: Vec<String>,
    direction: Option<Direction>,
    ice_lite: bool,
    transport: TransportAttributes,
}

/// ICE and DTLS attributes, which stand at session level or in each section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransportAttributes {
    ufrag: Option<String>,
    pwd: Option<String>,
    fingerprints: Vec<Fingerprint>,
    setup: Option<Setup>,
}

/// `a=setup` (RFC 4145 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

impl Offer {
    /// Parses a request body. Limits come first; the time taken is linear in the size of the body.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        Self::parse_within(bytes, OfferLimits::default())
    }

    /// `parse` with limits of the caller's choice; repeated mids are looked for in the square of the sections' number.
    pub fn parse_within(bytes: &[u8], limits: OfferLimits) -> Result<Self, SdpError> {
        let mut offer = Offer::default();
        let mut lines = lines(bytes, limits.bytes)?;
        // RFC 8866 §5.1: the version is the first line and the only one there is.
        match lines.next().transpose()? {
            Some(Line {
                kind: b'v', value: "0", ..
            }) => {}
            _ => return Err(malformed(1, "is not v=0")),
        }
        for line in lines {
            let line = line?;
            match line.kind {
                b'm' if offer.sections.len() >= limits.sections => {
                    let detail = format!(
                        "The offer has more than {} media sections; send one audio and one video.",
                        limits.sections
                    );
                    return Err(SdpError::bad("sdp_too_many_media", detail));
                }
                b'm' => offer.sections.push(MediaSection::parse(line)?),
                b'a' => match offer.sections.last_mut() {
                    Some(section) => section.take_attribute(line)?,
                    None => offer.take_attribute(line)?,
                },
                _ => {}
            }
        }
        if offer.sections.is_empty() {
            return Err(SdpError::bad(
                "sdp_no_media",
                "The offer has no m= line; add an audio or video transceiver.",
            ));
        }
        offer.check_mids()?;
        Ok(offer)
    }

    /// Direction of a section, falling back to the session's and then to the default (RFC 8866 §6.7).
    pub fn direction(&self, section: &MediaSection) -> Direction {
        section.direction.or(self.direction).unwrap_or_default()
    }

    /// Whether a section is in the BUNDLE group.
    pub fn is_bundled(&self, section: &MediaSection) -> bool {
        section.mid.as_ref().is_some_and(|mid| self.bundle.contains(mid))
    }

    /// Checks that accepted sections can share one transport (RFC 9143, RFC 8834 §4.5).
    pub(crate) fn check_transport(&self, accepted: &[&MediaSection]) -> Result<(), SdpError> {
        let offered = self.sections.iter().filter(|section| !section.is_refused()).count();
        if offered > 1 && !accepted.iter().all(|section| self.is_bundled(section)) {
            return Err(SdpError::bad(
                "no_bundle",
                "Several media sections without a=group:BUNDLE; offer all of them in one group (bundlePolicy max-bundle).",
            ));
        }
        if !accepted.iter().all(|section| section.rtcp_mux) {
            return Err(SdpError::bad(
                "no_rtcp_mux",
                "A media section has no a=rtcp-mux; RTP and RTCP share one port here.",
            ));
        }
        Ok(())
    }

    /// Credentials, fingerprint and role that hold for the whole BUNDLE group, from the section that carries it or from
    /// session level.
    pub(crate) fn remote(&self, accepted: &[&MediaSection]) -> Result<Remote, SdpError> {
        if self.ice_lite {
            let detail = "The offer says a=ice-lite; this side is lite already, so nobody would send checks.";
            return Err(SdpError::bad("ice_lite_peer", detail));
        }
        // RFC 9143 §7.1: transport attributes of the group stand in its first section; later ones only repeat them.
        let levels: Vec<&TransportAttributes> = accepted
            .iter()
            .map(|section| &section.transport)
            .chain([&self.transport])
            .collect();
        let credentials = levels
            .iter()
            .find_map(|level| Some((level.ufrag.as_ref()?, level.pwd.as_ref()?)));
        let (ufrag, pwd) = credentials.ok_or_else(|| {
            SdpError::bad(
                "no_ice_credentials",
                "The offer has no a=ice-ufrag with a=ice-pwd; send both.",
            )
        })?;
        let fingerprints = levels
            .iter()
            .map(|level| &level.fingerprints)
            .find(|list| !list.is_empty());
        let fingerprint = fingerprints.and_then(|list| {
            // RFC 8122 §5: several hashes are of one certificate; SHA-256 is the one everybody has.
            list.iter()
                .find(|one| one.algorithm == FingerprintAlgorithm::Sha256)
                .or(list.first())
        });
        let fingerprint = fingerprint.ok_or_else(|| {
            SdpError::bad(
                "no_fingerprint",
                "The offer has no a=fingerprint with SHA-256 or stronger; media must be DTLS-SRTP.",
            )
        })?;
        let dtls_role = match levels.iter().find_map(|level| level.setup) {
            Some(Setup::Passive) => DtlsRole::Client,
            Some(Setup::Active | Setup::ActPass) | None => DtlsRole::Server,
            Some(Setup::HoldConn) => {
                return Err(SdpError::bad(
                    "bad_setup",
                    "The offer says a=setup:holdconn; offer actpass.",
                ));
            }
        };
        Ok(Remote {
            ufrag: ufrag.clone(),
            pwd: pwd.clone(),
            fingerprint: fingerprint.clone(),
            dtls_role,
        })
    }

    fn take_attribute(&mut self, line: Line<'_>) -> Result<(), SdpError> {
        let (name, value) = line.value.split_once(':').unwrap_or((line.value, ""));
        match name {
            "group" => {
                let mut words = value.split(' ').filter(|word| !word.is_empty());
                if words.next() == Some("BUNDLE") && self.bundle.is_empty() {
                    for mid in words {
                        push_bounded(&mut self.bundle, mid.to_owned(), line)?;
                    }
                }
            }
            "ice-lite" => self.ice_lite = true,
            _ => match Direction::from_name(line.value) {
                Some(direction) => self.direction = Some(direction),
                None => self.transport.take_attribute(name, value, line)?,
            },
        }
        Ok(())
    }

    fn check_mids(&self) -> Result<(), SdpError> {
        // At most SECTIONS_MAX².
        for (index, section) in self.sections.iter().enumerate() {
            let repeated = |other: &MediaSection| section.mid.is_some() && other.mid == section.mid;
            if self.sections[..index].iter().any(repeated) {
                return Err(SdpError::bad(
                    "sdp_malformed",
                    "Two media sections have the same a=mid; give each its own.",
                ));
            }
        }
        Ok(())
    }
}

impl TransportAttributes {
    /// Takes ICE and DTLS attributes of either level; others are ignored.
    pub fn take_attribute(&mut self, name: &str, value: &str, line: Line<'_>) -> Result<(), SdpError> {
        match name {
            "ice-ufrag" if is_ice_text(value, 4) => self.ufrag = Some(value.to_owned()),
            "ice-pwd" if is_ice_text(value, 22) => self.pwd = Some(value.to_owned()),
            "ice-ufrag" | "ice-pwd" => {
                let detail = format!(
                    "Line {}: {name} has a length or characters that RFC 8839 does not allow.",
                    line.number
                );
                return Err(SdpError::bad("no_ice_credentials", detail));
            }
            "fingerprint" => {
                if let Some(fingerprint) =
                    parse_fingerprint(value).map_err(|()| malformed(line.number, "has a broken fingerprint"))?
                {
                    push_bounded(&mut self.fingerprints, fingerprint, line)?;
                }
            }
            "setup" => {
                self.setup = Some(match value {
                    "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    "actpass" => Setup::ActPass,
                    "holdconn" => Setup::HoldConn,
                    _ => {
                        return Err(SdpError::bad(
                            "bad_setup",
                            "a=setup is none of actpass, active, passive; offer actpass.",
                        ));
                    }
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// `<hash> <hex>:<hex>:…`; a hash that is not understood is `None`, a broken value an error.
fn parse_fingerprint(value: &str) -> Result<Option<Fingerprint>, ()> {
    let (name, hex) = value.trim().split_once(' ').ok_or(())?;
    let Some(algorithm) = FingerprintAlgorithm::from_name(name) else {
        return Ok(None);
    };
    let bytes: Option<Vec<u8>> = hex
        .trim()
        .split(':')
        .map(|pair| {
            if pair.len() == 2 && pair.is_ascii() {
                u8::from_str_radix(pair, 16).ok()
            } else {
                None
            }
        })
        .collect();
    let bytes = bytes.filter(|bytes| bytes.len() == algorithm.digest_len()).ok_or(())?;
    Ok(Some(Fingerprint { algorithm, bytes }))
}
