/** What a host may show: a camera with a microphone, a screen, or a file. Each becomes a MediaStream. */
export type SourceKind = "camera" | "screen" | "file";

export interface Quality {
  readonly label: string;
  readonly width: number;
  readonly height: number;
  readonly bitrateBps: number;
}

export const FRAMES_PER_SECOND = 30;

/** Bitrates at which live pictures of this size stop looking compressed, for H.264 in real time. */
export const QUALITIES: readonly Quality[] = [
  { label: "360p, 0.8 Mbit/s", width: 640, height: 360, bitrateBps: 800_000 },
  { label: "540p, 1.5 Mbit/s", width: 960, height: 540, bitrateBps: 1_500_000 },
  { label: "720p, 2.5 Mbit/s", width: 1280, height: 720, bitrateBps: 2_500_000 },
  { label: "1080p, 5 Mbit/s", width: 1920, height: 1080, bitrateBps: 5_000_000 },
];
export const QUALITY_DEFAULT = 2;

export interface OpenSource {
  readonly kind: SourceKind;
  readonly stream: MediaStream;
  /** What the host should know about it, such as missing sound; empty when there is nothing. */
  readonly notice: string;
  readonly close: () => void;
}

type Wanted = { readonly video: boolean; readonly audio: boolean };

/** With everything, else with what the machine has: a camera without microphone is still worth showing. */
const CAMERA_ATTEMPTS: readonly Wanted[] = [
  { video: true, audio: true },
  { video: true, audio: false },
  { video: false, audio: true },
];

export async function openCamera(quality: Quality, camera: string, microphone: string): Promise<OpenSource> {
  const video = {
    width: { ideal: quality.width },
    height: { ideal: quality.height },
    frameRate: { ideal: FRAMES_PER_SECOND, max: FRAMES_PER_SECOND },
    ...(camera === "" ? {} : { deviceId: { exact: camera } }),
  };
  const audio = {
    echoCancellation: true,
    channelCount: { ideal: 2 },
    ...(microphone === "" ? {} : { deviceId: { exact: microphone } }),
  };
  const { result, attempt } = await firstThat(CAMERA_ATTEMPTS, isMissing, (wanted) =>
    devices().getUserMedia({ video: wanted.video && video, audio: wanted.audio && audio }),
  );
  hint(result, "motion");
  return { kind: "camera", stream: result, notice: cameraNotice(attempt), close: () => stopTracks(result) };
}

export async function openScreen(quality: Quality): Promise<OpenSource> {
  const stream = await devices().getDisplayMedia({
    video: { height: { max: quality.height }, frameRate: { max: FRAMES_PER_SECOND } },
    audio: true,
  });
  hint(stream, "detail");
  const silent = stream.getAudioTracks().length === 0;
  const notice = silent ? "Shared without sound. To send it, share a tab and tick its sound." : "";
  return { kind: "screen", stream, notice, close: () => stopTracks(stream) };
}

/** Tries one after the other while `passes` says that the next may do better; throws what the last one threw. */
export async function firstThat<Attempt, Result>(
  attempts: readonly Attempt[],
  passes: (error: unknown) => boolean,
  run: (attempt: Attempt) => Promise<Result>,
): Promise<{ readonly result: Result; readonly attempt: Attempt }> {
  let last: unknown = new Error("nothing to try");
  for (const attempt of attempts) {
    try {
      return { result: await run(attempt), attempt };
    } catch (error) {
      last = error;
      if (!passes(error)) break;
    }
  }
  throw last;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === "NotFoundError";
}

export function cameraNotice({ video, audio }: Wanted): string {
  if (!audio) return "No microphone was found: viewers see you, but do not hear you.";
  if (!video) return "No camera was found: viewers hear you, but do not see you.";
  return "";
}

/** Plays a file in a loop, unseen and unheard, and captures what it shows and sounds like. */
export async function openFile(file: File): Promise<OpenSource> {
  const player = document.createElement("video") as HTMLVideoElement & {
    captureStream?: (framesPerSecond?: number) => MediaStream;
    mozCaptureStream?: () => MediaStream;
  };
  player.loop = true;
  player.playsInline = true;
  // The capture keeps its sound; only the speakers stay silent. Zero volume, since `muted` silences the capture too.
  player.volume = 0;
  player.src = URL.createObjectURL(file);
  try {
    await player.play();
  } catch {
    URL.revokeObjectURL(player.src);
    throw new Error(`${file.name} cannot be played here. Choose an MP4 (H.264) or WebM file.`);
  }
  const stream = player.captureStream?.() ?? player.mozCaptureStream?.();
  if (stream === undefined) throw new Error("This browser cannot stream a file. Use Chrome, Edge or Firefox.");
  hint(stream, "motion");
  return {
    kind: "file",
    stream,
    notice: `${file.name} plays in a loop.`,
    close: () => {
      player.pause();
      stopTracks(stream);
      URL.revokeObjectURL(player.src);
    },
  };
}

export async function listDevices(): Promise<{ cameras: MediaDeviceInfo[]; microphones: MediaDeviceInfo[] }> {
  const all = await devices().enumerateDevices();
  return {
    cameras: all.filter((device) => device.kind === "videoinput"),
    microphones: all.filter((device) => device.kind === "audioinput"),
  };
}

/** What to tell a host whose browser refused; empty when the host refused and knows it. */
export function explainSourceError(error: unknown, kind: SourceKind): string {
  if (!(error instanceof Error)) return "The source could not be opened.";
  switch (error.name) {
    case "NotAllowedError":
      return explainRefusal(error, kind);
    case "NotFoundError":
      return kind === "screen"
        ? "This device has no screen to share."
        : "No camera or microphone was found. Plug one in, or show a screen or a file.";
    case "NotReadableError":
    case "AbortError":
      return "The device is in use by another program. Close that program and try again.";
    case "OverconstrainedError":
      return "The chosen device is gone. Choose another one.";
    default:
      return error.message;
  }
}

function explainRefusal({ message }: Error, kind: SourceKind): string {
  // Chromium tells the two apart in words only.
  if (/system/i.test(message)) {
    const what = kind === "screen" ? "screen recording" : "camera and microphone";
    return `Your system does not let this browser use them. Allow ${what} for it in the system's privacy settings.`;
  }
  if (kind === "screen") return "";
  return "Camera and microphone are blocked for this page. Allow both through the icon beside the address, then try again.";
}

function devices(): MediaDevices {
  // Absent outside secure contexts: https, or http on this very machine.
  if (navigator.mediaDevices === undefined) {
    throw new Error("Cameras and screens need https. Open this page over https, or on the machine that serves it.");
  }
  return navigator.mediaDevices;
}

function hint(stream: MediaStream, contentHint: "motion" | "detail"): void {
  for (const track of stream.getVideoTracks()) track.contentHint = contentHint;
}

function stopTracks(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
