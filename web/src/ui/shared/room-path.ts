/** The room a page is for, from its path `/watch/{room}` or `/studio/{room}`. */
export function roomFromPath(path: string): string {
  const [, , room = ""] = path.split("/");
  try {
    return decodeURIComponent(room);
  } catch {
    return room;
  }
}
