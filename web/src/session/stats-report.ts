/**
 * Reads `RTCPeerConnection.getStats()` across browsers (webrtc-stats). Chromium and Safari name the selected candidate
 * pair in the transport; Firefox marks the pair itself, and leaves out what it does not measure.
 */
export type StatsRecord = Readonly<Record<string, unknown>> & { readonly type: string; readonly kind?: string };

export interface StatsSource {
  forEach(callback: (value: StatsRecord) => void): void;
}

export class StatsReport {
  readonly #records = new Map<string, StatsRecord>();

  constructor(source: StatsSource) {
    source.forEach((value) => void this.#records.set(String(value["id"]), value));
  }

  rtp(type: "inbound-rtp" | "outbound-rtp" | "remote-inbound-rtp", kind: "audio" | "video"): StatsRecord | undefined {
    return this.#find((record) => record.type === type && record.kind === kind);
  }

  /** Round trip of the path in use, from ICE checks. */
  get rttMs(): number | null {
    const rttS = this.#selectedPair()?.["currentRoundTripTime"];
    return typeof rttS === "number" ? rttS * 1_000 : null;
  }

  /** Name of the codec without its kind: `H264`, `opus`. */
  codec(record: StatsRecord | undefined): string {
    const mime = this.#records.get(String(record?.["codecId"]))?.["mimeType"];
    return typeof mime === "string" ? (mime.split("/")[1] ?? mime) : "";
  }

  #selectedPair(): StatsRecord | undefined {
    const transport = this.#find((record) => record.type === "transport");
    const named = this.#records.get(String(transport?.["selectedCandidatePairId"]));
    if (named !== undefined) return named;
    return this.#find(
      (record) =>
        record.type === "candidate-pair" &&
        (record["selected"] === true || (record["nominated"] === true && record["state"] === "succeeded")),
    );
  }

  #find(test: (record: StatsRecord) => boolean): StatsRecord | undefined {
    for (const record of this.#records.values()) if (test(record)) return record;
    return undefined;
  }
}

/** A counter; 0 where the browser has none. */
export function counter(record: StatsRecord | undefined, key: string): number {
  const value = record?.[key];
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
