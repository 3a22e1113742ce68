import { expect, test } from "vitest";
import { connectionState } from "./peer-session";
import { codecOrder, readPublishSample } from "./publish-session";
import { type StatsRecord, StatsReport } from "./stats-report";
import { readViewStats } from "./view-session";

const report = (...records: readonly (StatsRecord & { readonly id: string })[]) => new StatsReport(records);

const PAIR = { id: "P1", type: "candidate-pair", currentRoundTripTime: 0.042, state: "succeeded", nominated: true };
const OTHER_PAIR = { id: "P0", type: "candidate-pair", currentRoundTripTime: 9, state: "failed", nominated: false };
const VIDEO_IN = {
  id: "IV",
  type: "inbound-rtp",
  kind: "video",
  codecId: "C1",
  packetsReceived: 900,
  packetsLost: 3,
  framesDecoded: 120,
  bytesReceived: 1_000_000,
};
const AUDIO_IN = { id: "IA", type: "inbound-rtp", kind: "audio", packetsReceived: 200, bytesReceived: 20_000 };

test("Chromium: the transport names the pair in use, and the frame on screen has a time", () => {
  const stats = readViewStats(
    report(
      OTHER_PAIR,
      PAIR,
      { id: "T1", type: "transport", selectedCandidatePairId: "P1" },
      { id: "C1", type: "codec", mimeType: "video/H264" },
      { ...VIDEO_IN, estimatedPlayoutTimestamp: 4_003_988_800_000 },
      AUDIO_IN,
    ),
  );
  expect(stats).toMatchObject({
    packets: 1_100,
    videoPackets: 900,
    packetsLost: 3,
    framesDecoded: 120,
    bytes: 1_020_000,
    rttMs: 42,
    playoutTimestamp: 4_003_988_800_000,
    videoCodec: "H264",
    audioCodec: "",
  });
});

test("Firefox: the pair marks itself, and what is not measured is nothing", () => {
  const stats = readViewStats(report(OTHER_PAIR, { ...PAIR, selected: true }, VIDEO_IN, AUDIO_IN));
  expect(stats).toMatchObject({ rttMs: 42, playoutTimestamp: undefined, freezes: 0, width: 0, videoCodec: "" });
});

test("Safari: a transport without the pair's name still leads to the nominated one", () => {
  expect(readViewStats(report({ id: "T1", type: "transport" }, OTHER_PAIR, PAIR)).rttMs).toBe(42);
});

test("before anything has come everything is zero or unknown", () => {
  expect(readViewStats(report())).toMatchObject({ packets: 0, framesDecoded: 0, rttMs: null, videoCodec: "" });
});

test("a host's round trip is the one its receiver reports, else that of the path", () => {
  const video = {
    id: "OV",
    type: "outbound-rtp",
    kind: "video",
    bytesSent: 5_000,
    framesEncoded: 7,
    pliCount: 1,
    firCount: 1,
  };
  const remote = { id: "RV", type: "remote-inbound-rtp", kind: "video", roundTripTime: 0.08, fractionLost: 0.01 };
  expect(readPublishSample(report(video, remote, PAIR))).toMatchObject({
    rttMs: 80,
    lossRatio: 0.01,
    keyFrameRequests: 2,
    hasVideo: true,
    limit: "none",
  });
  expect(readPublishSample(report(video, PAIR))).toMatchObject({ rttMs: 42, lossRatio: null });
});

test("a host who sends only sound has no picture to judge", () => {
  const audio = { id: "OA", type: "outbound-rtp", kind: "audio", bytesSent: 900 };
  const remote = { id: "RA", type: "remote-inbound-rtp", kind: "audio", roundTripTime: 0.03 };
  expect(readPublishSample(report(audio, remote))).toMatchObject({ hasVideo: false, bytes: 900, rttMs: 30 });
});

test("codecs that edges do not forward are not offered, and the chosen one comes first", () => {
  const codecs = ["video/VP8", "video/rtx", "video/VP9", "video/H264", "video/AV1"].map((mimeType) => ({ mimeType }));
  const names = (codec: "auto" | "VP8") => codecOrder(codecs, codec).map(({ mimeType }) => mimeType);
  expect(names("auto")).toEqual(["video/H264", "video/VP8", "video/rtx"]);
  expect(names("VP8")).toEqual(["video/VP8", "video/rtx", "video/H264"]);
});

test("a browser without connectionState is judged by its ICE state", () => {
  expect(connectionState({ iceConnectionState: "completed" })).toBe("connected");
  expect(connectionState({ iceConnectionState: "checking" })).toBe("connecting");
  expect(connectionState({ iceConnectionState: "connected", connectionState: "failed" })).toBe("failed");
});
