/** Numbers as people read them. Unknown values are a dash, never a zero. */
export const UNKNOWN = "–";

export function formatMs(milliseconds: number | null): string {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return UNKNOWN;
  if (milliseconds >= 9_950) return `${Math.round(milliseconds / 1_000)} s`;
  if (milliseconds >= 1_000) return `${(milliseconds / 1_000).toFixed(1)} s`;
  return `${milliseconds < 9.95 ? trim(milliseconds.toFixed(1)) : Math.round(milliseconds)} ms`;
}

export function formatRatio(ratio: number | null): string {
  if (ratio === null || !Number.isFinite(ratio)) return UNKNOWN;
  const percent = ratio * 100;
  if (percent > 0 && percent < 0.05) return "< 0.1 %";
  return `${percent < 9.95 ? trim(percent.toFixed(1)) : Math.round(percent)} %`;
}

export function formatBitrate(bitsPerSecond: number): string {
  if (!Number.isFinite(bitsPerSecond) || bitsPerSecond <= 0) return UNKNOWN;
  if (bitsPerSecond >= 995_000) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1_000)} kbit/s`;
}

export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** 1 viewer, 1,204 viewers. */
export function formatThings(count: number, thing: string): string {
  return `${formatCount(count)} ${count === 1 ? thing : `${thing}s`}`;
}

/** Minutes and seconds, with hours once there are any: 2:14, 1:02:14. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3_600);
  const minutes = Math.floor(whole / 60) % 60;
  return `${hours > 0 ? `${hours}:${pad(minutes)}` : minutes}:${pad(whole % 60)}`;
}

function trim(number: string): string {
  return number.replace(/\.0$/, "");
}
