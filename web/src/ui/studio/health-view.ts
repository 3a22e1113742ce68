/** The numbers of the stream going out, a minute of bitrate, and what to do about trouble. */
import { never } from "../../session/emitter";
import type { HealthWarning, PublishHealth } from "../../session/publish-health";
import { byId, h, setText, svg } from "../shared/dom";
import { formatBitrate, formatMs, formatRatio, UNKNOWN } from "../shared/format";

/** One minute at two samples a second. */
const SPARK_POINTS = 120;
const SPARK_WIDTH = 300;
const SPARK_HEIGHT = 54;

export class HealthView {
  readonly #line = svg("path");
  readonly #fill = svg("path", { class: "spark-fill" });
  readonly #warnings = byId("warnings", HTMLUListElement);
  #bitrates: number[] = [];
  #shown = "";

  constructor() {
    byId("spark", SVGSVGElement).append(this.#fill, this.#line);
  }

  show(health: PublishHealth): void {
    setText(byId("meter-bitrate", HTMLElement), formatBitrate(health.bitrateBps));
    setText(byId("meter-frames", HTMLElement), `${Math.round(health.framesPerSecond)} fps`);
    setText(byId("meter-rtt", HTMLElement), formatMs(health.rttMs));
    setText(byId("meter-loss", HTMLElement), formatRatio(health.lossRatio));
    const picture = health.width > 0 ? `${health.width}×${health.height} ${health.videoCodec}` : "Sound only";
    setText(
      byId("meter-note", HTMLElement),
      `${picture}, ${health.keyFrames === 1 ? "1 key frame" : `${health.keyFrames} key frames`}`,
    );
    this.#bitrates = [...this.#bitrates, health.bitrateBps].slice(-SPARK_POINTS);
    this.#drawSpark();
    this.#showWarnings(health.warnings);
  }

  clear(): void {
    this.#bitrates = [];
    this.#drawSpark();
    this.#showWarnings([]);
    for (const id of ["meter-bitrate", "meter-frames", "meter-rtt", "meter-loss"])
      setText(byId(id, HTMLElement), UNKNOWN);
    setText(byId("meter-note", HTMLElement), "Numbers appear once you are live.");
  }

  #drawSpark(): void {
    const path = sparkPath(this.#bitrates);
    this.#line.setAttribute("d", path);
    this.#fill.setAttribute("d", path === "" ? "" : `${path} V${SPARK_HEIGHT} H${firstX(this.#bitrates.length)} Z`);
  }

  #showWarnings(warnings: readonly HealthWarning[]): void {
    // The list is a live region: rewriting it with the same words would have them read out again.
    const key = warnings.join();
    if (key === this.#shown) return;
    this.#shown = key;
    this.#warnings.replaceChildren(
      ...warnings.map((warning) => h("li", {}, warningIcon(), h("span", {}, advice(warning)))),
    );
  }
}

/** A line from right (now) to left; the newest sample always stands at the right edge. */
export function sparkPath(values: readonly number[]): string {
  if (values.length < 2) return "";
  const top = Math.max(...values) * 1.15 || 1;
  const step = SPARK_WIDTH / (SPARK_POINTS - 1);
  return values
    .map((value, index) => {
      const x = firstX(values.length) + index * step;
      const y = SPARK_HEIGHT - (value / top) * SPARK_HEIGHT;
      return `${index === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join(" ");
}

function firstX(count: number): number {
  return SPARK_WIDTH - (count - 1) * (SPARK_WIDTH / (SPARK_POINTS - 1));
}

function warningIcon(): SVGSVGElement {
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("use", { href: "#icon-warn" }));
}

function advice(warning: HealthWarning): string {
  switch (warning) {
    case "no_frames":
      return "No frames are being sent. Is the source covered, paused or gone?";
    case "thin_uplink":
      return "Your upload is too narrow for this quality. Choose a lower one or a better network.";
    case "slow_encoder":
      return "This device cannot encode fast enough. Choose a lower quality or close other programs.";
    case "key_frames_unanswered":
      return "The encoder does not answer requests for key frames: new viewers wait for a picture.";
    case "loss":
      return "Packets are being lost between you and the edge. A cable helps more than anything.";
    case "far_edge":
      return "The edge is far away. Viewers will see you later than needed.";
    default:
      return never(warning);
  }
}
