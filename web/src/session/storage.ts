/** What this browser keeps between visits. Storage may be switched off or full; everything then lasts for one visit. */
export function readStored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function writeStored(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Same as above.
  }
}
