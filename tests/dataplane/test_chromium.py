"""Chromium publishes and watches through the packet path, without any HTTP between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.dataplane.harness import PacketPath, packet_path
from tests.waiting import until

pytestmark = pytest.mark.browser

PUBLISH = """async () => {
  const canvas = document.createElement('canvas'); canvas.width = 320; canvas.height = 180;
  const pen = canvas.getContext('2d'); let n = 0;
  setInterval(() => { pen.fillStyle = `hsl(${n * 7 % 360} 80% 50%)`; pen.fillRect(0, 0, 320, 180);
    pen.fillStyle = 'white'; pen.font = '60px sans-serif'; pen.fillText(String(n++), 40, 110); }, 33);
  const stream = canvas.captureStream(30);
  const sound = new AudioContext(); const tone = sound.createOscillator();
  const out = sound.createMediaStreamDestination(); tone.connect(out); tone.start();
  const pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'}); window.pc = pc;
  pc.addTransceiver(out.stream.getAudioTracks()[0], {direction: 'sendonly', streams: [stream]});
  pc.addTransceiver(stream.getVideoTracks()[0], {direction: 'sendonly', streams: [stream]});
  await pc.setLocalDescription();
  await pc.setRemoteDescription({type: 'answer', sdp: await window.publish(pc.localDescription.sdp)});
}"""

VIEW = """async () => {
  const pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'}); window.pc = pc;
  pc.addTransceiver('audio', {direction: 'recvonly'}); pc.addTransceiver('video', {direction: 'recvonly'});
  const video = document.createElement('video'); video.muted = true; video.autoplay = true;
  document.body.append(video); window.video = video;
  pc.ontrack = event => { video.srcObject = event.streams[0]; };
  await pc.setLocalDescription();
  await pc.setRemoteDescription({type: 'answer', sdp: await window.view(pc.localDescription.sdp)});
}"""

STATS = """async () => {
  const found = {};
  for (const s of (await window.pc.getStats()).values()) {
    if (s.type === 'inbound-rtp') found[s.kind] = {decoded: s.framesDecoded, lost: s.packetsLost, nacks: s.nackCount,
      received: s.packetsReceived, freezes: s.freezeCount, samples: s.totalSamplesReceived};
  }
  return found;
}"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--autoplay-policy=no-user-gesture-required",
                "--disable-features=WebRtcHideLocalIpsWithMdns",
            ],
        )
        try:
            yield browser
        finally:
            await browser.close()


async def open_page(browser: Browser, path: PacketPath, room: str) -> Page:
    page = await browser.new_page()
    await page.goto("about:blank")
    await page.expose_function("publish", lambda sdp: path.dataplane.publish(room, sdp.encode(), 1).sdp)
    await page.expose_function("view", lambda sdp: path.dataplane.view(room, sdp.encode()).sdp)
    return page


async def decoded_frames(page: Page, at_least: int) -> dict[str, dict[str, float]]:
    async def found() -> dict[str, dict[str, float]] | None:
        stats: dict[str, dict[str, float]] = await page.evaluate(STATS)
        enough = "audio" in stats and (stats.get("video", {}).get("decoded") or 0) >= at_least
        return stats if enough else None

    stats = await until(found, 60.0, f"{at_least} frames")
    assert stats is not None
    return stats


async def test_chromium_watches_what_chromium_publishes_with_aes_gcm() -> None:
    async with packet_path() as path, chromium() as browser:
        host = await open_page(browser, path, "r")
        await host.evaluate(PUBLISH)
        connected = await path.event("session_connected", lambda event: event.role == "host")
        assert connected.srtp_profile == "SRTP_AEAD_AES_128_GCM"
        viewer = await open_page(browser, path, "r")
        await viewer.evaluate(VIEW)
        first = await decoded_frames(viewer, 1)
        later = await decoded_frames(viewer, int(first["video"]["decoded"]) + 60)
        assert later["video"]["lost"] == 0
        assert later["audio"]["samples"] > first["audio"]["samples"]
