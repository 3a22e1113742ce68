/** What goes into a player and what comes out of it. */
import type { EdgeAddress, RoomEntry } from "../wire/messages";
import type { ViewRates } from "./view-rates";
import type { ViewStats } from "./view-session";
import type { MoveReason } from "./viewing-judge";

export interface PlayerOptions {
  readonly element: HTMLVideoElement;
  readonly room: string;
  /** Edges to use, nearest first. Left out, the page's own edge is asked. */
  readonly edges?: readonly EdgeAddress[];
  readonly token?: string | undefined;
  /** Name beside this person's comments; empty lets the edge choose one. */
  readonly name?: string;
  /** Depth the jitter buffer aims at. */
  readonly bufferTargetMs?: number;
}

export type PlayerState =
  | { readonly name: "joining" }
  /** Connected; the room has no host yet. */
  | { readonly name: "waiting"; readonly edge: EdgeAddress }
  | { readonly name: "connecting"; readonly edge: EdgeAddress }
  | { readonly name: "playing"; readonly edge: EdgeAddress }
  /** The last edge was left; the picture stands until the next one delivers. */
  | { readonly name: "moving"; readonly edge: EdgeAddress; readonly reason: MoveReason | "unreachable" }
  /** No edge could be reached in this round; the next one begins after `retryInMs`, or with `player.retry()`. */
  | { readonly name: "unreachable"; readonly retryInMs: number }
  /** Refused for a reason that no other edge would judge differently. */
  | { readonly name: "refused"; readonly reason: string; readonly detail: string }
  | { readonly name: "closed" };

export interface PlayerStats extends ViewStats, ViewRates {
  readonly edge: EdgeAddress;
  /** How far the picture is behind the host's clock; null when the two clocks cannot be compared. */
  readonly behindMs: number | null;
  readonly moves: number;
}

export interface PlayerDanmaku {
  readonly entry: RoomEntry;
  readonly own: boolean;
  /** Said before this page came. */
  readonly history: boolean;
}

export interface PlayerEvents {
  state: PlayerState;
  stats: PlayerStats;
  live: { readonly live: boolean };
  /** The edges in the order they would be used, the current one first. */
  edges: readonly EdgeAddress[];
  presence: { readonly count: number };
  /** A comment whose frame is on screen now. */
  danmaku: PlayerDanmaku;
  /** An own comment has its place in the room. */
  accepted: { readonly id: string };
  /** An own comment was not taken; `detail` says why and what to do. */
  rejected: { readonly id: string; readonly text: string; readonly detail: string };
  /** So many comments of others were lost on the way and will not come. */
  missed: { readonly count: number };
  /** Whether comments reach the room. `ended` names why they will not again, whatever the network does. */
  room: { readonly open: boolean; readonly name: string; readonly ended: string | null };
  /**
   * The browser wants a gesture. "sound": it plays, but muted; set `element.muted = false` from a click. "playback": it
   * does not play at all; call `player.play()` from a click.
   */
  blocked: { readonly needs: "sound" | "playback" };
}
