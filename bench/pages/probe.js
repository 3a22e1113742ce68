// Measures a picture from inside the browser: the host writes the time into it, the viewer reads it back.
// The clock is a row of black and white cells: 20 bits of milliseconds, and below it the same bits inverted, so that a
// frame that was not drawn by the host (or was torn) is never mistaken for a reading.
"use strict";
(() => {
  const WIDTH = 640;
  const HEIGHT = 360;
  const BITS = 20;
  const CELL = WIDTH / BITS;
  const WRAP = 2 ** BITS;
  const FLASH_TOP = 160;
  // The system's clock, which other processes of this machine read too; performance.timeOrigin stays behind when it is set.
  const unixNow = () => Date.now();
  const unixAt = (performanceTime) => Date.now() + performanceTime - performance.now();

  // `via`: media goes through this address instead of the one in the answer.
  const negotiate = async (connection, url, token, via) => {
    await connection.setLocalDescription(await connection.createOffer());
    if (connection.iceGatheringState !== "complete") {
      await Promise.race([
        new Promise((resolve) => {
          connection.addEventListener("icegatheringstatechange", () => {
            if (connection.iceGatheringState === "complete") resolve();
          });
        }),
        new Promise((resolve) => setTimeout(resolve, 500)),
      ]);
    }
    const headers = { "Content-Type": "application/sdp" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const postedAt = unixNow();
    const response = await fetch(url, { method: "POST", headers, body: connection.localDescription.sdp });
    if (response.status !== 201) throw new Error(`${url}: ${response.status} ${await response.text()}`);
    let sdp = await response.text();
    if (via) sdp = sdp.replace(/^(a=candidate:\S+ \d+ \S+ \d+) \S+ \d+/gm, `$1 ${via.ip} ${via.port}`);
    await connection.setRemoteDescription({ type: "answer", sdp });
    return { postedAt, resource: new URL(response.headers.get("Location"), response.url || url).href };
  };

  const end = async ({ resource, token }) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    await fetch(resource, { method: "DELETE", headers }).catch(() => {});
  };

  const drawClock = (context, milliseconds) => {
    const value = Math.floor(milliseconds) % WRAP;
    for (let bit = 0; bit < BITS; bit += 1) {
      const lit = (Math.floor(value / 2 ** bit) & 1) === 1;
      context.fillStyle = lit ? "#fff" : "#000";
      context.fillRect(bit * CELL, 0, CELL, CELL);
      context.fillStyle = lit ? "#000" : "#fff";
      context.fillRect(bit * CELL, CELL, CELL, CELL);
    }
  };

  const readClock = (pixels) => {
    let value = 0;
    for (let bit = 0; bit < BITS; bit += 1) {
      const column = Math.floor((bit + 0.5) * CELL);
      const upper = pixels[(Math.floor(CELL / 2) * WIDTH + column) * 4 + 1];
      const lower = pixels[(Math.floor(CELL * 1.5) * WIDTH + column) * 4 + 1];
      if (Math.abs(upper - lower) < 60) return null;
      if (upper > lower) value += 2 ** bit;
    }
    return value;
  };

  // The first tenth of each second.
  const isFlash = (unixMs) => unixMs % 1000 < 100;

  // A sound track written sample by sample, so that a beep belongs to the very moment of its flash: an AudioContext's
  // output reaches its stream with a delay that nothing reports.
  const startSound = (flash) => {
    const rate = 48000;
    const block = 480;
    const track = new MediaStreamTrackGenerator({ kind: "audio" });
    const writer = track.writable.getWriter();
    const startedAt = unixNow();
    // The sender's reports are made from these timestamps: they must stand on the same clock as the canvas' frames.
    const startedMicros = performance.now() * 1000;
    const beeps = [];
    let written = 0;
    let wasLoud = false;
    const write = () => {
      while (startedAt + ((written + block) * 1000) / rate <= unixNow()) {
        const samples = new Float32Array(block);
        for (let index = 0; index < block; index += 1) {
          const position = written + index;
          const at = startedAt + (position * 1000) / rate;
          const loud = !flash || isFlash(at);
          if (flash && loud && !wasLoud) beeps.push(at);
          wasLoud = loud;
          samples[index] = loud ? Math.sin((2 * Math.PI * 1000 * position) / rate) * (flash ? 0.5 : 0.05) : 0;
        }
        writer.write(
          new AudioData({
            format: "f32",
            sampleRate: rate,
            numberOfFrames: block,
            numberOfChannels: 1,
            timestamp: startedMicros + (written * 1e6) / rate,
            data: samples,
          }),
        );
        written += block;
      }
    };
    const timer = setInterval(write, 5);
    return { track, beeps, stop: () => clearInterval(timer) };
  };

  // A strip of detail that jumps farther than an encoder searches: about 900 kbit/s at 30 frames a second, four packets each,
  // as a camera's picture takes. More of it, and Chromium's encoder leaves frames out.
  const makeTexture = () => {
    const texture = document.createElement("canvas");
    texture.width = 2 * WIDTH;
    texture.height = 48;
    const context = texture.getContext("2d", { alpha: false });
    let state = 1;
    for (let top = 0; top < texture.height; top += 8) {
      for (let left = 0; left < WIDTH; left += 8) {
        state = (state * 1103515245 + 12345) % 2 ** 31;
        const grey = 40 + ((state >> 16) & 127);
        context.fillStyle = `rgb(${grey},${grey},${(grey + 30) & 255})`;
        context.fillRect(left, top, 8, 8);
        context.fillRect(left + WIDTH, top, 8, 8);
      }
    }
    return texture;
  };

  // A host: a canvas at `fps` with the clock, a moving shape, and (when asked) one flash and beep a second.
  window.startHost = async ({ url, token, fps = 30, codec = "video/H264", flash = false, bitrate = 900000 }) => {
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    document.body.append(canvas);
    const context = canvas.getContext("2d", { alpha: false });
    const stream = canvas.captureStream(0);
    const track = stream.getVideoTracks()[0];
    const host = { frames: 0, canvas, flashes: [] };
    let wasFlashing = false;
    const sound = startSound(flash);
    const texture = makeTexture();
    const frame = () => {
      const now = unixNow();
      const flashing = flash && isFlash(now);
      context.fillStyle = flashing ? "#fff" : "#101418";
      context.fillRect(0, FLASH_TOP, WIDTH, HEIGHT - FLASH_TOP);
      if (!flash) context.drawImage(texture, -((host.frames * 211) % WIDTH), FLASH_TOP);
      context.fillStyle = "#4dd2b0";
      context.fillRect((host.frames * 4) % WIDTH, 90, 60, 50);
      context.fillStyle = "#101418";
      context.fillRect(((host.frames * 4) % WIDTH) - 8, 90, 8, 50);
      drawClock(context, unixNow());
      // A flash begins with the first frame that shows it, up to a frame's interval after its beep.
      if (flashing && !wasFlashing) host.flashes.push(unixNow());
      wasFlashing = flashing;
      track.requestFrame();
      host.frames += 1;
    };
    // A timer and not requestAnimationFrame: the interval must be the media's, not the display's.
    const startedAt = performance.now();
    const tick = () => {
      if (host.stopped) return;
      frame();
      setTimeout(tick, Math.max(0, startedAt + (host.frames * 1000) / fps - performance.now()));
    };
    tick();
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const video = connection.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    connection.addTransceiver(sound.track, { direction: "sendonly", streams: [stream] });
    const codecs = RTCRtpSender.getCapabilities("video").codecs;
    const preferred = codecs.filter((entry) => entry.mimeType.toLowerCase() === codec.toLowerCase());
    const rtx = codecs.filter((entry) => entry.mimeType.toLowerCase() === "video/rtx");
    if (preferred.length === 0) throw new Error(`this browser cannot send ${codec}`);
    video.setCodecPreferences([...preferred, ...rtx]);
    const { resource } = await negotiate(connection, url, token);
    const parameters = video.sender.getParameters();
    parameters.encodings[0].maxBitrate = bitrate;
    parameters.degradationPreference = "maintain-resolution";
    await video.sender.setParameters(parameters);
    host.connection = connection;
    host.resource = resource;
    host.token = token;
    host.sound = sound;
    window.host = host;
    return { resource };
  };

  window.stopHost = async () => {
    const host = window.host;
    host.stopped = true;
    host.sound.stop();
    await end(host);
    host.connection.close();
    host.canvas.remove();
  };

  window.hostReport = async () => {
    const { frames, flashes, sound, connection } = window.host;
    const report = { frames, flashes, beeps: sound.beeps, state: connection.connectionState };
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type === "outbound-rtp" && entry.kind === "video") {
        report.video = {
          timestamp: entry.timestamp,
          framesEncoded: entry.framesEncoded,
          keyFramesEncoded: entry.keyFramesEncoded,
          framesPerSecond: entry.framesPerSecond,
          frameHeight: entry.frameHeight,
          bytesSent: entry.bytesSent,
          retransmittedPacketsSent: entry.retransmittedPacketsSent,
          nackCount: entry.nackCount,
          pliCount: entry.pliCount,
          encoderImplementation: entry.encoderImplementation,
          qualityLimitationReason: entry.qualityLimitationReason,
        };
      }
    }
    return report;
  };

  // A viewer: reads every presented frame. `samples` is [unix ms at presentation, delay ms or null, rtp timestamp].
  window.startViewer = async ({ url, token, via, listen = false, read = true }) => {
    const viewer = { samples: [], flashes: [], beeps: [], firstFrameAt: null, frames: 0, presented: 0 };
    window.viewer = viewer;
    const element = document.createElement("video");
    element.muted = !listen;
    element.autoplay = true;
    element.playsInline = true;
    element.width = WIDTH;
    document.body.append(element);
    const stream = new MediaStream();
    element.srcObject = stream;
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    let wasBright = false;
    const onFrame = (now, metadata) => {
      element.requestVideoFrameCallback(onFrame);
      const shownAt = unixAt(Math.max(now, metadata.expectedDisplayTime));
      viewer.frames += 1;
      viewer.presented = metadata.presentedFrames;
      if (viewer.firstFrameAt === null) viewer.firstFrameAt = shownAt;
      if (!read) return;
      context.drawImage(element, 0, 0, WIDTH, HEIGHT);
      const value = readClock(context.getImageData(0, 0, WIDTH, 2 * CELL).data);
      const delay = value === null ? null : (((shownAt - value) % WRAP) + WRAP) % WRAP;
      viewer.samples.push([shownAt, delay, metadata.rtpTimestamp ?? null]);
      if (listen) {
        const bright = context.getImageData(WIDTH / 2, (FLASH_TOP + HEIGHT) / 2, 1, 1).data[1] > 128;
        if (bright && !wasBright) viewer.flashes.push(shownAt);
        wasBright = bright;
      }
    };
    element.requestVideoFrameCallback(onFrame);
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    viewer.connection = connection;
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.ontrack = ({ track }) => {
      stream.addTrack(track);
      if (track.kind === "audio" && listen) listenTo(track, viewer);
    };
    const { postedAt, resource } = await negotiate(connection, url, token, via);
    viewer.postedAt = postedAt;
    viewer.resource = resource;
    viewer.token = token;
    element.play().catch(() => {});
    return { resource, postedAt };
  };

  // Notes when each beep begins, on a thread of its own: at the moment that the player pulls it from its jitter buffer, to
  // which the report adds the way to the loudspeaker. (A WebAudio graph has a queue of its own between the two, which
  // was seen to grow by 50 ms a minute.) `beeps` is [unix ms, ms that this thread was behind]: blocks come at an even
  // pace, so that one later than the earliest of the last second, by its place in the sound, waited for this thread.
  const listenTo = (track, viewer) => {
    const code = `onmessage = async ({ data }) => {
      const reader = data.getReader();
      const leads = [];
      let quietUntil = 0;
      let played = 0;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const pulledAt = Date.now();
        leads.push(pulledAt - played);
        if (leads.length > 100) leads.shift();
        const behind = pulledAt - played - Math.min(...leads);
        played += (value.numberOfFrames * 1000) / value.sampleRate;
        const samples = new Float32Array(value.numberOfFrames);
        value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
        for (let index = 0; index < samples.length; index += 1) {
          if (Math.abs(samples[index]) <= 0.1) continue;
          const at = pulledAt + (index * 1000) / value.sampleRate;
          if (at >= quietUntil) postMessage([at, behind]);
          quietUntil = at + 300;
        }
        value.close();
      }
    };`;
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => viewer.beeps.push(data);
    const { readable } = new MediaStreamTrackProcessor({ track });
    worker.postMessage(readable, [readable]);
    viewer.listener = worker;
  };

  window.viewerReport = async ({ since = 0 } = {}) => {
    const viewer = window.viewer;
    const report = {
      postedAt: viewer.postedAt ?? null,
      firstFrameAt: viewer.firstFrameAt,
      frames: viewer.frames,
      presented: viewer.presented,
      reportedAt: unixNow(),
      samples: viewer.samples.slice(since),
      flashes: viewer.flashes,
      beeps: viewer.beeps,
      senderReports: 0,
      state: viewer.connection?.connectionState ?? "new",
    };
    for (const entry of (await viewer.connection.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") {
        report.video = {
          framesDecoded: entry.framesDecoded,
          framesDropped: entry.framesDropped,
          framesReceived: entry.framesReceived,
          keyFramesDecoded: entry.keyFramesDecoded,
          freezeCount: entry.freezeCount,
          totalFreezesDuration: entry.totalFreezesDuration,
          totalPausesDuration: entry.totalPausesDuration,
          totalInterFrameDelay: entry.totalInterFrameDelay,
          jitterBufferDelay: entry.jitterBufferDelay,
          jitterBufferEmittedCount: entry.jitterBufferEmittedCount,
          totalDecodeTime: entry.totalDecodeTime,
          packetsLost: entry.packetsLost,
          packetsReceived: entry.packetsReceived,
          retransmittedPacketsReceived: entry.retransmittedPacketsReceived,
          nackCount: entry.nackCount,
          pliCount: entry.pliCount,
          timestamp: entry.timestamp,
        };
      }
      if (entry.type === "inbound-rtp" && entry.kind === "audio") {
        report.audio = { packetsReceived: entry.packetsReceived, packetsLost: entry.packetsLost, concealedSamples: entry.concealedSamples, totalSamplesReceived: entry.totalSamplesReceived };
      }
      if (entry.type === "media-playout") {
        report.playout = { totalPlayoutDelay: entry.totalPlayoutDelay, totalSamplesCount: entry.totalSamplesCount };
      }
      if (entry.type === "remote-outbound-rtp") report.senderReports += entry.reportsSent;
      if (entry.type === "transport") report.transport = { srtpCipher: entry.srtpCipher, dtlsRole: entry.dtlsRole, tlsVersion: entry.tlsVersion };
    }
    return report;
  };

  window.stopViewer = async () => {
    const viewer = window.viewer;
    if (viewer?.resource) await end(viewer);
    viewer?.connection?.close();
    viewer?.listener?.terminate();
    document.querySelectorAll("video").forEach((element) => element.remove());
  };
})();
