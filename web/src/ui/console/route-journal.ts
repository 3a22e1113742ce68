/** What changed between two snapshots, and why: by control's decision or by the edge itself. Snapshots in, changes out. */
import type { FleetRoute, FleetStream, Snapshot } from "../../wire/console-feed";
import { pathOf } from "./fleet";

export interface RouteChange {
  readonly room: string;
  readonly edge: string;
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly reason: string;
}

interface Known {
  readonly path: readonly string[];
  /** The primary that the edge was last seen to follow. */
  readonly followed: string;
}

export class RouteJournal {
  #known: ReadonlyMap<string, Known> = new Map();

  /** Routes whose way differs from the last snapshot's. A route that appears or ends is not a change. */
  note(snapshot: Snapshot): readonly RouteChange[] {
    const known = new Map<string, Known>();
    const changes = snapshot.streams.flatMap((stream) =>
      stream.routes.flatMap((route) => {
        const before = this.#known.get(keyOf(stream, route));
        const to = pathOf(route);
        const primary = route.primary.join();
        const onPrimary = [...to].reverse().join() === primary;
        known.set(keyOf(stream, route), { path: to, followed: onPrimary ? primary : (before?.followed ?? "") });
        if (before === undefined || before.path.length < 2 || to.length < 2) return [];
        if (before.path.join() === to.join()) return [];
        const reason = changeReason(route, onPrimary, before.followed === primary);
        return [{ room: stream.room, edge: route.edge_id, from: before.path, to, reason }];
      }),
    );
    this.#known = known;
    return changes;
  }
}

/** A decision reaches the console some snapshots before the edge follows it: its reason belongs to the first time it does. */
function changeReason({ reason }: FleetRoute, onPrimary: boolean, followedBefore: boolean): string {
  if (!onPrimary) return "the edge went over to its backup by itself";
  return followedBefore ? "the edge went back to its first path" : reason;
}

function keyOf(stream: FleetStream, route: FleetRoute): string {
  return `${stream.room}/${route.edge_id}`;
}
