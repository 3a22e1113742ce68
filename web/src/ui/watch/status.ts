/** The pill that says how the picture arrives, and the sheet with the numbers behind it. */
import { never } from "../../session/emitter";
import type { PlayerState, PlayerStats } from "../../session/player";
import { byId, setFacts, setText } from "../shared/dom";
import { formatBitrate, formatMs, formatRatio, UNKNOWN } from "../shared/format";

interface Line {
  readonly tone: "good" | "warn" | "bad" | "idle";
  readonly text: string;
}

export class Status {
  readonly #text = byId("status-text", HTMLElement);
  readonly #dot = byId("status-dot", HTMLElement);
  readonly #facts = byId("facts", HTMLDListElement);
  readonly #edges = byId("edges", HTMLElement);
  readonly #announce = byId("announce", HTMLElement);
  #state: PlayerState = { name: "joining" };
  #stats: PlayerStats | null = null;

  handleState(state: PlayerState): void {
    this.#state = state;
    this.#show();
    const words = announcement(state);
    // What says nothing new leaves the last words: an emptied live region would have them read out again.
    if (words !== "") setText(this.#announce, words);
  }

  handleStats(stats: PlayerStats): void {
    this.#stats = stats;
    this.#show();
    setFacts(this.#facts, facts(stats));
  }

  showEdges(names: readonly string[]): void {
    setText(
      this.#edges,
      names.length === 0 ? "No other edge to go on with." : `Next if this edge fails: ${names.join(", ")}`,
    );
  }

  #show(): void {
    const line = describe(this.#state, this.#stats);
    this.#dot.dataset["tone"] = line.tone;
    setText(this.#text, line.text);
  }
}

export function describe(state: PlayerState, stats: PlayerStats | null): Line {
  switch (state.name) {
    case "joining":
      return { tone: "idle", text: "Joining" };
    case "connecting":
      return { tone: "warn", text: `Connecting to ${state.edge.edge_id}` };
    case "waiting":
      return { tone: "idle", text: `Ready at ${state.edge.edge_id}` };
    case "moving":
      return {
        tone: "warn",
        text: `${state.reason === "unreachable" ? "Trying" : "Moving to"} ${state.edge.edge_id}`,
      };
    case "playing": {
      const fresh = stats !== null && stats.edge.edge_id === state.edge.edge_id ? stats : null;
      const late = fresh?.behindMs ?? fresh?.rttMs ?? null;
      const bad = (fresh?.lossRatio ?? 0) > 0.05;
      return {
        tone: bad ? "warn" : "good",
        text: `${state.edge.edge_id}${late === null ? "" : ` · ${formatMs(late)}`}`,
      };
    }
    case "unreachable":
      return { tone: "bad", text: "No edge answers" };
    case "refused":
      return { tone: "bad", text: "Not admitted" };
    case "closed":
      return { tone: "idle", text: "Closed" };
    default:
      return never(state);
  }
}

function announcement(state: PlayerState): string {
  switch (state.name) {
    case "playing":
      return "Playing";
    case "waiting":
      return "Waiting for the host";
    case "moving":
      return "Connection lost, moving to another edge";
    case "unreachable":
      return "No edge can be reached, trying again";
    case "refused":
      return state.detail;
    default:
      return "";
  }
}

function facts(stats: PlayerStats): readonly (readonly [string, string])[] {
  return [
    ["Served by", stats.edge.edge_id],
    ["Behind the host", formatMs(stats.behindMs)],
    ["Round trip to the edge", formatMs(stats.rttMs)],
    ["Loss from the edge", formatRatio(stats.lossRatio)],
    ["Held in buffer", formatMs(stats.bufferMs)],
    ["Picture", picture(stats)],
    ["Codecs", [stats.videoCodec, stats.audioCodec].filter(Boolean).join(", ") || UNKNOWN],
    ["Bitrate", formatBitrate(stats.bitrateBps)],
    ["Freezes", stats.freezes === 0 ? "none" : `${stats.freezes}, ${formatMs(stats.freezeS * 1_000)} in all`],
    ["Moves between edges", String(stats.moves)],
  ];
}

function picture({ width, height, framesPerSecond, framesDecoded, packets }: PlayerStats): string {
  if (width > 0) return `${width}×${height}, ${Math.round(framesPerSecond)} fps`;
  return framesDecoded === 0 && packets > 0 ? "sound only" : UNKNOWN;
}
