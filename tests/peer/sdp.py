"""Offers of a test peer: one Opus and one H.264 or VP8 section, spoiled on purpose where a test says so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from tests.peer.dtls import Certificate


@dataclass(frozen=True, slots=True)
class OfferParameters:
    """What the peer offers."""

    certificate: Certificate
    direction: Literal["sendonly", "recvonly"]
    setup: Literal["actpass", "active", "passive"] = "actpass"
    ufrag: str = "peer"
    pwd: str = "peerpeerpeerpeerpeerpeer"
    video: Literal["VP8", "H264"] = "VP8"
    audio_ssrc: int = 1001
    video_ssrc: int = 1002
    video_rtx_ssrc: int = 1003
    rtx_apt: int = 96
    fingerprint: str = ""
    extensions: tuple[str, ...] = field(
        default=(
            "1 urn:ietf:params:rtp-hdrext:sdes:mid",
            "3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        )
    )

    def sdp(self) -> str:
        fmtp = "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n" if self.video == "H264" else ""
        feedback = "".join(f"a=rtcp-fb:96 {name}\r\n" for name in ("nack", "nack pli", "ccm fir", "transport-cc"))
        sends = self.direction == "sendonly"
        audio_ssrc = f"a=ssrc:{self.audio_ssrc} cname:peer\r\n" if sends else ""
        video_ssrc = (
            f"a=ssrc-group:FID {self.video_ssrc} {self.video_rtx_ssrc}\r\n"
            f"a=ssrc:{self.video_ssrc} cname:peer\r\na=ssrc:{self.video_rtx_ssrc} cname:peer\r\n"
            if sends
            else ""
        )
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
            f"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{self._section()}a=rtpmap:111 opus/48000/2\r\n{audio_ssrc}"
            f"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\n{self._section()}a=rtpmap:96 {self.video}/90000\r\n"
            f"{fmtp}{feedback}a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt={self.rtx_apt}\r\n{video_ssrc}"
        )

    def _section(self) -> str:
        lines = (
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.pwd}",
            f"a=fingerprint:sha-256 {self.fingerprint or self.certificate.fingerprint}",
            f"a=setup:{self.setup}",
            f"a={self.direction}",
            "a=rtcp-mux",
            "a=rtcp-rsize",
            *(f"a=extmap:{extension}" for extension in self.extensions),
        )
        return "".join(f"{line}\r\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer reads in an answer."""

    text: str

    def value(self, name: str) -> str:
        match = re.search(rf"^a={name}:(.*?)\r?$", self.text, re.MULTILINE)
        assert match, f"no a={name} in\n{self.text}"
        return match[1]

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses[0]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        found = re.findall(r"^a=candidate:(?:\S+ ){4}(\S+) (\d+) ", self.text, re.MULTILINE)
        assert found, f"no candidate in\n{self.text}"
        return list(dict.fromkeys((host, int(port)) for host, port in found))

    @property
    def fingerprint(self) -> str:
        return self.value("fingerprint").split()[1]

    def ssrcs(self, media: str) -> list[int]:
        section = self.text.split(f"m={media}")[1].split("\r\nm=")[0]
        return list(dict.fromkeys(int(ssrc) for ssrc in re.findall(r"^a=ssrc:(\d+)", section, re.MULTILINE)))
