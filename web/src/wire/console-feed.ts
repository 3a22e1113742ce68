/** The console's view of the fleet: one snapshot a second over server-sent events, and the demo's link control. */
import { Backoff } from "./backoff";
import { ProblemError, readProblem } from "./problem";

export type EdgeStatus = "up" | "suspect" | "down";

export interface FleetEdge {
  readonly edge_id: string;
  readonly region: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly status: EdgeStatus;
  readonly http_url: string;
  readonly hosts: number;
  readonly viewers: number;
  readonly cpu_ratio: number;
  /** The edge refused the routes that control pushed, and keeps its last good ones. */
  readonly slice_rejected?: { readonly reason: string; readonly detail: string } | null;
}

/** One direction between two edges. Numbers are null until something has measured them. */
export interface FleetLink {
  readonly from_edge: string;
  readonly to_edge: string;
  /** False when control sends nothing over it: silent, or one of its ends is down. */
  readonly usable?: boolean;
  readonly rtt_ms: number | null;
  readonly one_way_ms: number | null;
  readonly p95_ms: number | null;
  readonly loss_ratio: number | null;
  readonly jitter_ms: number | null;
  readonly utilisation: number | null;
  readonly cost_ms: number | null;
  readonly measured_by: string;
  readonly age_ms: number | null;
}

export interface FleetRoute {
  /** The edge this route brings the stream to. */
  readonly edge_id: string;
  /** From the edge to the source. */
  readonly primary: readonly string[];
  readonly backup: readonly string[];
  /** From the source to the edge: what the packets really cross now. */
  readonly active_path: readonly string[];
  readonly phase: string;
  /** People who watch the stream at this edge. */
  readonly viewers?: number;
  readonly reason: string;
  readonly cost_ms: number | null;
  readonly delay_ms: number | null;
}

export interface FleetStream {
  readonly room: string;
  readonly incarnation: number;
  readonly source_edge: string;
  readonly codecs: readonly string[];
  readonly viewers: number;
  readonly routes: readonly FleetRoute[];
}

/** An emulated link as it is made now, the same both ways; `own_…` is what it is without anyone's doing. */
export interface DemoLink {
  readonly a: string;
  readonly b: string;
  readonly loss_ratio: number;
  /** One way. */
  readonly delay_ms: number;
  readonly blackout: boolean;
  readonly own_loss_ratio: number;
  readonly own_delay_ms: number;
}

export interface Snapshot {
  readonly leader_epoch: number;
  readonly version: number;
  readonly unix_ms: number;
  readonly edges: readonly FleetEdge[];
  readonly links: readonly FleetLink[];
  readonly streams: readonly FleetStream[];
  readonly demo: { readonly links: readonly DemoLink[] } | null;
}

export interface DemoLinkChange {
  readonly a: string;
  readonly b: string;
  /** Back to its own conditions; the other fields are then left out. */
  readonly clear?: boolean;
  readonly loss_ratio?: number;
  readonly burst_packets?: number;
  readonly delay_ms?: number;
  readonly blackout?: boolean;
}

export type FeedState = "open" | "lost";

/** Control sends a snapshot a second; after this long without one the picture on screen is old. */
const STALE_MS = 5_000;

/**
 * Follows the snapshots until the returned function is called. A connection that broke is the browser's to repeat; one
 * that was refused (too many consoles, a proxy's error page) or has fallen silent is ours.
 */
export function followSnapshots(handlers: {
  readonly onSnapshot: (snapshot: Snapshot) => void;
  readonly onState: (state: FeedState) => void;
}): () => void {
  const backoff = new Backoff({ firstMs: 1_000, maxMs: 10_000, jitterRatio: 0.3 });
  let source: EventSource | null = null;
  let again: ReturnType<typeof setTimeout> | undefined;
  let silence: ReturnType<typeof setTimeout> | undefined;
  const open = () => {
    source?.close();
    clearTimeout(again);
    source = new EventSource("/v1/console/events");
    source.addEventListener("snapshot", receive);
    source.onerror = lose;
    expect();
  };
  const expect = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      source?.close();
      lose();
    }, STALE_MS);
  };
  const receive = (event: MessageEvent<string>) => {
    const snapshot = parseSnapshot(event.data);
    if (snapshot === null) return;
    backoff.reset();
    expect();
    handlers.onState("open");
    handlers.onSnapshot(snapshot);
  };
  const lose = () => {
    handlers.onState("lost");
    if (source?.readyState !== EventSource.CLOSED) return;
    clearTimeout(silence);
    clearTimeout(again);
    again = setTimeout(open, backoff.next());
  };
  open();
  return () => {
    source?.close();
    clearTimeout(again);
    clearTimeout(silence);
  };
}

/** Null when the text is no snapshot; lists that an older control leaves out are empty. */
export function parseSnapshot(text: string): Snapshot | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const raw = value as Partial<Snapshot>;
  if (!Array.isArray(raw.edges)) return null;
  return {
    leader_epoch: raw.leader_epoch ?? 0,
    version: raw.version ?? 0,
    unix_ms: raw.unix_ms ?? 0,
    edges: raw.edges,
    links: raw.links ?? [],
    streams: raw.streams ?? [],
    demo: raw.demo ?? null,
  };
}

/** Makes an emulated link bad, or good again. Exists only while a demo runs. */
export async function changeDemoLink(change: DemoLinkChange): Promise<void> {
  const response = await fetch("/v1/demo/links", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(change),
  });
  if (!response.ok) throw new ProblemError(await readProblem(response));
}
