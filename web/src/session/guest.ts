/** What this browser remembers of a person: the name they chose and a secret that makes them the same guest again. */
import { readStored, writeStored } from "./storage";

const NAME_KEY = "tradewind.name";
const PERSON_KEY = "tradewind.person";

export function guestName(): string {
  return readStored(NAME_KEY) ?? "";
}

export function rememberGuestName(name: string): void {
  writeStored(NAME_KEY, name);
}

/** A random secret; the edge shows others only what it derives from it. */
export function guestPerson(): string {
  const known = readStored(PERSON_KEY);
  if (known !== null && known.length >= 8) return known;
  const made = randomId();
  writeStored(PERSON_KEY, made);
  return made;
}

/** 128 random bits. `crypto.randomUUID` exists only in secure contexts, and an edge may be tried over plain HTTP. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
