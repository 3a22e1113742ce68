"""Clients of other people against a running edge: ICE, DTLS in the role they choose, SRTP profile, media."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from aiortc import RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from playwright.async_api import async_playwright
from pylibdatachannel import Configuration, Description, DescriptionType, PeerConnection

from tests.edge_process import ROOT, EdgeProcess
from tests.interop.conftest import CONNECT_S, Handshake, handshake
from tests.peer.client import Rtp, Viewer
from tests.waiting import end, wait_for
from tradewind.up.whip import SignalledConnection

GCM = "SRTP_AEAD_AES_128_GCM"
AES_CM = "SRTP_AES128_CM_SHA1_80"
MEDIA_TIMEOUT_S = 30
SDP = {"content-type": "application/sdp"}

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--headless=new",
    "--disable-background-networking",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
)

# Publishes a moving canvas and a tone, watches the room, and says how many frames came out and what was negotiated.
CHROMIUM_PAGE = """
async ({whip, whep, codec}) => {
  const post = async (url, pc) => {
    await pc.setLocalDescription();
    const response = await fetch(url, {method: 'POST', body: pc.localDescription.sdp,
                                       headers: {'content-type': 'application/sdp'}});
    if (response.status !== 201) throw new Error(`${url}: ${response.status} ${await response.text()}`);
    await pc.setRemoteDescription({type: 'answer', sdp: await response.text()});
    return response.headers.get('location');
  };
  const canvas = document.createElement('canvas');
  canvas.width = 320; canvas.height = 180;
  const context = canvas.getContext('2d');
  let drawn = 0;
  const timer = setInterval(() => {
    context.fillStyle = `hsl(${drawn++ * 7 % 360} 80% 50%)`; context.fillRect(0, 0, 320, 180);
  }, 33);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const sink = audio.createMediaStreamDestination();
  tone.connect(sink); tone.start();
  const stream = new MediaStream([...canvas.captureStream(30).getTracks(), ...sink.stream.getTracks()]);
  const host = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  for (const track of stream.getTracks()) {
    const transceiver = host.addTransceiver(track, {direction: 'sendonly', streams: [stream]});
    if (track.kind === 'video') {
      const wanted = one => one.mimeType.endsWith(codec) || one.mimeType.endsWith('rtx');
      transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(wanted));
    }
  }
  await post(whip, host);
  const viewer = new RTCPeerConnection();
  const video = document.createElement('video');
  video.muted = true;
  const streams = new Set();
  viewer.ontrack = event => { streams.add(event.streams[0].id); video.srcObject = event.streams[0]; video.play(); };
  viewer.addTransceiver('audio', {direction: 'recvonly'});
  viewer.addTransceiver('video', {direction: 'recvonly'});
  await post(whep, viewer);
  const inbound = async () => {
    const report = {streams: streams.size};
    for (const one of (await viewer.getStats()).values()) {
      if (one.type === 'inbound-rtp' && one.kind === 'video') report.frames = one.framesDecoded;
      if (one.type === 'inbound-rtp' && one.kind === 'audio') report.samples = one.totalSamplesReceived;
      if (one.type === 'transport') { report.cipher = one.srtpCipher; report.dtls = one.dtlsState; }
    }
    return report;
  };
  const deadline = Date.now() + 25000;
  let report = await inbound();
  while (Date.now() < deadline && !(report.frames >= 30 && report.samples >= 24000)) {
    await new Promise(resolve => setTimeout(resolve, 100));
    report = await inbound();
  }
  clearInterval(timer); host.close(); viewer.close();
  return report;
}
"""


@pytest.mark.browser
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_chromium_publishes_and_watches(edge: EdgeProcess, room: str, codec: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        try:
            page = await browser.new_page()
            await page.goto(f"{edge.http}/livez")
            addresses = {"whip": f"{edge.http}/whip/{room}", "whep": f"{edge.http}/whep/{room}", "codec": codec}
            report = await page.evaluate(CHROMIUM_PAGE, addresses)
        finally:
            await browser.close()
    assert handshake(edge, room, "host") == Handshake("server", GCM)
    assert handshake(edge, room, "viewer") == Handshake("server", GCM)
    assert report["cipher"] == GCM
    assert report["frames"] >= 30, report
    assert report["samples"] >= 24_000, report
    assert report["streams"] == 1, "audio and video belong to one stream"


def test_ffmpeg_publishes_as_dtls_server(edge: EdgeProcess, room: str) -> None:
    command = [sys.executable, "-m", "bench.ffmpeg_host", "--url", f"{edge.http}/whip/{room}", "--seconds", "60"]
    with process(command), Viewer(edge, room, video="H264").connect() as viewer:
        ours = handshake(edge, room, "host")
        assert ours.dtls_role == "client", "FFmpeg offers setup:passive"
        assert ours.srtp_profile in (GCM, AES_CM)
        key_frame = viewer.receive_rtp(is_h264_start, "H.264 key frame")
        assert key_frame.ssrc == viewer.answer.ssrcs("video")[0]


def is_h264_start(packet: Rtp) -> bool:
    """A parameter set, alone or in a STAP-A."""
    return packet.payload_type == 96 and packet.payload[0] & 0x1F in (7, 24)


def test_gstreamer_publishes_with_an_rsa_certificate(reachable_edge: EdgeProcess, room: str, tmp_path: Path) -> None:
    edge = reachable_edge
    client = shutil.which("whip-client")
    if client is None:
        pytest.skip("no whip-client on this machine (apt install simple-whip-client)")
    audio = f"audiotestsrc is-live=true ! audioconvert ! opusenc ! rtpopuspay pt=100 ! {rtp_caps('audio', 'OPUS', 100)}"
    video = f"videotestsrc is-live=true ! vp8enc deadline=1 ! rtpvp8pay pt=96 ! {rtp_caps('video', 'VP8', 96)}"
    command = [client, "-u", f"{edge.http}/whip/{room}", "-A", audio, "-V", video]
    with process(command, {"LD_LIBRARY_PATH": str(igd_stub(tmp_path))}), Viewer(edge, room).connect() as viewer:
        assert handshake(edge, room, "host") == Handshake("server", AES_CM)
        viewer.receive_rtp(lambda packet: packet.payload_type == 96, "VP8 packet")
        viewer.receive_rtp(lambda packet: packet.payload_type == 111, "Opus packet")


def rtp_caps(media: str, encoding: str, payload_type: int) -> str:
    return f"application/x-rtp,media={media},encoding-name={encoding},payload={payload_type}"


def igd_stub(directory: Path) -> Path:
    """Debian 12's whip-client links libsoup 2 and its libnice, by way of UPnP, libsoup 3, which ends the process at its
    start. Nobody needs UPnP here."""
    names = ("new", "thread_new", "add_port", "remove_port", "remove_port_local", "delete_all_mappings", "get_type")
    source = directory / "igd.c"
    source.write_text("".join(f"long gupnp_simple_igd_{name}(void) {{ return 0; }}\n" for name in names))
    library = directory / "libgupnp-igd-1.0.so.4"
    subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source], check=True)
    return directory


def test_libdatachannel_connects(edge: EdgeProcess, room: str) -> None:
    """OBS's stack. The Python package is built without media, yet offers an SRTP profile in every handshake: its data
    channel's section is shown to the edge as an audio section, and the edge's answer to it as a data channel's."""
    connection = PeerConnection(Configuration(ice_servers=[]))
    try:
        connection.create_data_channel("unused")
        wait_for(lambda: connection.local_description is not None, "libdatachannel makes no offer")
        offer = connection.local_description.description
        application, _, attributes = offer.partition("m=application")[2].partition("\r\n")
        assert application.endswith("webrtc-datachannel")
        audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
        response = httpx.post(
            f"{edge.http}/whip/{room}", content=offer.partition("m=application")[0] + audio + attributes, headers=SDP
        )
        assert response.status_code == 201, response.text
        connection.set_remote_description(Description(data_channel_answer(response.text), DescriptionType.ANSWER))
        assert handshake(edge, room, "host") == Handshake("server", AES_CM)
        wait_for(lambda: connection.ice_state.name in ("CONNECTED", "COMPLETED"), "ICE is not connected", CONNECT_S)
        assert connection.state.name in ("CONNECTING", "CONNECTED"), "DTLS is up; SCTP waits for nobody"
    finally:
        connection.close()


def data_channel_answer(answer: str) -> str:
    """The transport part of an audio answer, as an answer to a data channel."""
    session, _, section = answer.partition("m=audio")
    kept = ("a=mid", "a=ice-", "a=fingerprint", "a=setup", "a=candidate", "a=end-of-candidates")
    lines = [line for line in section.splitlines() if line.startswith(kept)]
    head = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sctp-port:5000\r\n"
    return session + head + "".join(f"{line}\r\n" for line in lines)


async def test_aiortc_publishes_and_watches(edge: EdgeProcess, room: str) -> None:
    host = SignalledConnection(f"{edge.http}/whip/{room}")
    viewer = SignalledConnection(f"{edge.http}/whep/{room}")
    tracks: list[MediaStreamTrack] = []
    viewer.connection.on("track", tracks.append)
    try:
        host.connection.addTrack(AudioStreamTrack())
        host.connection.addTrack(VideoStreamTrack())
        await host.open()
        for kind in ("audio", "video"):
            viewer.connection.addTransceiver(kind, "recvonly")
        await viewer.open()
        async with asyncio.timeout(MEDIA_TIMEOUT_S):
            for track in tracks:
                await track.recv()
        assert sorted(track.kind for track in tracks) == ["audio", "video"]
        for role in ("host", "viewer"):
            assert await asyncio.to_thread(handshake, edge, room, role) == Handshake("server", GCM)
    finally:
        await host.close()
        await viewer.close()


async def test_aiortc_gets_406_with_a_reason_when_nothing_is_in_common(edge: EdgeProcess, room: str) -> None:
    connection = RTCPeerConnection()
    connection.addTransceiver("audio", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp.replace("opus/48000/2", "speex/32000")
    await connection.close()
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{edge.http}/whep/{room}", content=offer, headers=SDP)
    assert (answer.status_code, answer.json()["reason"]) == (406, "no_common_codec")
    assert "opus" in answer.json()["detail"]


@contextmanager
def process(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A client of its own process, ended with the block."""
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ".", **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        end(child)
