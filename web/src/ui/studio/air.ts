/** What the studio says and offers in each state. Pure: states in, words out. */
import { never } from "../../session/emitter";
import type { PublisherState } from "../../session/publisher";
import { formatDuration } from "../shared/format";

export interface AirView {
  /** The one big button: what it does now. */
  readonly action: "go" | "take_over" | "stop";
  readonly label: string;
  readonly enabled: boolean;
  readonly note: string;
  readonly edge: string;
  readonly onAir: boolean;
}

export interface AirSituation {
  readonly state: PublisherState;
  readonly hasSource: boolean;
  /** Somebody else is on air in this room. */
  readonly othersOnAir: boolean;
  readonly liveForS: number;
}

export function describeAir({ state, hasSource, othersOnAir, liveForS }: AirSituation): AirView {
  const on = (note: string, edge = ""): AirView => ({
    action: "stop",
    label: "Stop",
    enabled: true,
    note,
    edge,
    onAir: true,
  });
  const off = (note: string): AirView => ({
    action: othersOnAir ? "take_over" : "go",
    label: othersOnAir ? "Take over" : "Go live",
    enabled: hasSource,
    note: othersOnAir ? othersNote(hasSource) : note,
    edge: "",
    onAir: false,
  });
  switch (state.name) {
    case "starting":
      return on("Connecting to the nearest edge");
    case "live":
      return on(`You are live. ${formatDuration(liveForS)}`, `Entering at ${state.edge.edge_id}`);
    case "reconnecting":
      return on(`The edge was lost. Going on at ${state.edge.edge_id}`, `Moving to ${state.edge.edge_id}`);
    case "unreachable":
      return on("No edge can be reached. Check your connection; the studio keeps trying.");
    case "replaced":
      return {
        ...off("Another host took over this room."),
        note: "Another host took over this room. You are off air.",
      };
    case "refused":
      return off("The edge refused the stream.");
    case "stopped":
      return off(hasSource ? "Viewers see you the moment you go live." : "Choose a source first.");
    default:
      return never(state);
  }
}

function othersNote(hasSource: boolean): string {
  const first = hasSource ? "" : "Choose a source first. ";
  return `${first}Another host is on air in this room: going live replaces them.`;
}

/** Whether the room's picture is another host's: live, and not the last echo of this host's own stream. */
export function isOthers(live: boolean, incarnation: number, own: number | null): boolean {
  return live && (incarnation === 0 || incarnation !== own);
}
