/** The numbers of the stream going out, a minute of bitrate, and what to do about trouble. */
import { never } from "../../session/emitter";
import type { HealthWarning, PublishHealth } from "../../session/publish-health";
import { byId, h, setTextOf, svg } from "../shared/dom";
import { formatBitrate, formatMs, formatRatio, formatThings, UNKNOWN } from "../shared/format";
import { sparkPath, sparkX } from "../shared/spark";

/** One minute at two samples a second. */
const SPARK = { points: 120, width: 300, height: 54 };
const SPARK_HEADROOM = 1.15;

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
    setTextOf("meter-bitrate", formatBitrate(health.bitrateBps));
    setTextOf("meter-frames", `${Math.round(health.framesPerSecond)} fps`);
    setTextOf("meter-rtt", formatMs(health.rttMs));
    setTextOf("meter-loss", formatRatio(health.lossRatio));
    const picture = health.width > 0 ? `${health.width}×${health.height} ${health.videoCodec}` : "Sound only";
    setTextOf("meter-note", `${picture}, ${formatThings(health.keyFrames, "key frame")}`);
    this.#bitrates = [...this.#bitrates, health.bitrateBps].slice(-SPARK.points);
    this.#drawSpark();
    this.#showWarnings(health.warnings);
  }

  clear(): void {
    this.#bitrates = [];
    this.#drawSpark();
    this.#showWarnings([]);
    for (const id of ["meter-bitrate", "meter-frames", "meter-rtt", "meter-loss"]) setTextOf(id, UNKNOWN);
    setTextOf("meter-note", "Numbers appear once you are live.");
  }

  #drawSpark(): void {
    const path = sparkPath(this.#bitrates, SPARK, SPARK_HEADROOM);
    const firstX = sparkX(0, this.#bitrates.length, SPARK);
    this.#line.setAttribute("d", path);
    this.#fill.setAttribute("d", path === "" ? "" : `${path} V${SPARK.height} H${firstX} Z`);
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
