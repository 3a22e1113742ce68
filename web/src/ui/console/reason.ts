/**
 * Control's one-line reason, taken apart for reading: what was chosen, because of what, and against what. Pure. A wording
 * of another version is shown as it came.
 */
export interface ReasonLine {
  readonly label: "Chosen" | "Because" | "Next best" | "But" | "";
  readonly text: string;
}

export function reasonLines(reason: string): readonly ReasonLine[] {
  if (reason === "") return [{ label: "", text: "No reason given yet." }];
  const [first = "", ...rest] = reason.split("; ");
  const at = first.lastIndexOf(": ");
  const chosen = way(at === -1 ? first : first.slice(at + 2));
  const because = at === -1 ? null : trouble(first.slice(0, at));
  if (chosen === null || (at !== -1 && because === null)) return [{ label: "", text: sentence(reason) }];
  const lines: ReasonLine[] = [{ label: "Chosen", text: chosen }];
  if (because !== null) lines.push({ label: "Because", text: because });
  for (const part of rest) {
    const other = way(part);
    const bad = /^least bad, (.+)$/.exec(part)?.[1];
    if (other !== null) lines.push({ label: "Next best", text: other });
    else lines.push({ label: "But", text: bad === undefined ? part : `no path is clean: on this one ${bad}` });
  }
  return lines;
}

/** "via iad 320 ms" -> "via iad, 320 ms there and back". */
function way(text: string): string | null {
  const [, name, rtt] = /^(direct|via [^:;]+?) (\d+) ms$/.exec(text) ?? [];
  return name === undefined ? null : `${name}, ${rtt} ms there and back`;
}

/** "direct sg–fra +501 ms, loses 10.6 %" -> "direct sg–fra is 501 ms slower than it can be and loses 10.6 %". */
function trouble(text: string): string | null {
  const [, pair, what] = /^(direct \S+) (.+)$/.exec(text) ?? [];
  if (pair === undefined || what === undefined) return null;
  const found = what.split(", ").map((part) => part.replace(/^\+(\d+) ms$/, "is $1 ms slower than it can be"));
  return `${pair} ${found.join(" and ")}`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
