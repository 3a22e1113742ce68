/** What this browser remembers of a person: the name they chose and a secret that makes them the same guest again. */
const NAME_KEY = "tradewind.name";
const PERSON_KEY = "tradewind.person";

export function guestName(): string {
  return read(NAME_KEY) ?? "";
}

export function rememberGuestName(name: string): void {
  write(NAME_KEY, name);
}

/** A random secret; the edge shows others only what it derives from it. */
export function guestPerson(): string {
  const known = read(PERSON_KEY);
  if (known !== null && known.length >= 8) return known;
  const made = randomId();
  write(PERSON_KEY, made);
  return made;
}

/** 128 random bits. `crypto.randomUUID` exists only in secure contexts, and an edge may be tried over plain HTTP. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Storage may be switched off; a guest is then a new guest on every visit.
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Same as above.
  }
}
