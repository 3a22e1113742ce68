/** Why the room is closed to this page for good, and what to do about it. Reasons are those of `goodbye`. */
export function explainRoomEnd(reason: string | null): string {
  if (reason === null) return "";
  if (reason === "token_expired") return "Your access has ended. Reload with a new token.";
  if (reason.startsWith("token_")) return "Your token is not for this room.";
  if (reason === "flood") return "Too many messages. Reload to join again.";
  return "The room was closed to this page. Reload to join again.";
}
