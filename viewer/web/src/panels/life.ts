/** Remaining useful life with its interval, the health zone and how far the model itself can be trusted. */
import { el, svg } from "../dom";
import { days, time } from "../format";
import { RUL_PATH } from "../overlay";
import type { WireRul, WireRule } from "../wire";

const ZONES = { A: "as new", B: "fit", C: "plan work", D: "act now", UNKNOWN: "not scored" } as const;
const MODEL_RANK = { OK: 0, DRIFTING: 2, DEGRADED: 3 } as const;

/** The interval on a line from 0, with the limits of the rules as ticks. */
export function intervalBar(rul: Pick<WireRul, "rulDays" | "low" | "high">, rules: readonly WireRule[], upTo = 0): SVGSVGElement {
  const limits = rules.filter((rule) => rule.value === RUL_PATH && rule.below !== null);
  const end = Math.max(upTo, rul.high, rul.rulDays, ...limits.map((rule) => rule.below! * 1.2), 1) * 1.04;
  const x = (value: number) => 2 + (Math.max(0, value) / end) * 296;
  const bar = svg("svg", { class: "interval", viewBox: "0 0 300 34", role: "img", "aria-label": `${days(rul.rulDays)}, between ${days(rul.low)} and ${days(rul.high)}` });
  bar.append(svg("line", { class: "track", x1: 2, x2: 298, y1: 12, y2: 12 }));
  bar.append(svg("rect", { class: "band", x: x(rul.low), y: 7, width: Math.max(2, x(rul.high) - x(rul.low)), height: 10, rx: 3 }));
  bar.append(svg("circle", { class: "point", cx: x(rul.rulDays), cy: 12, r: 5 }));
  for (const rule of limits) {
    const at = x(rule.below!);
    bar.append(svg("line", { class: `limit ${rule.severity.toLowerCase()}`, x1: at, x2: at, y1: 2, y2: 22 }));
    const text = svg("text", { x: at, y: 32, "text-anchor": "middle" });
    text.textContent = `${rule.below} d`;
    bar.append(text);
  }
  return bar;
}

export function lifeCard(rul: WireRul, rules: readonly WireRule[]): HTMLElement {
  const share = Math.round(rul.qualityShare * 100);
  const facts = [
    `${rul.method} ${rul.modelVersion}`.trim(),
    `${share} % good readings`,
    rul.sourceTime ? `scored on data of ${time(rul.sourceTime)}` : "",
  ].filter(Boolean);
  return el(
    "section", { class: "card life", "aria-label": "Remaining useful life", "data-zone": rul.health },
    el("h3", {}, "Remaining useful life"),
    el("div", { class: "big" }, el("strong", {}, days(rul.rulDays)), el("span", {}, `${days(rul.low)} – ${days(rul.high)}`),
      el("span", { class: "chip zone", "data-zone": rul.health }, rul.health === "UNKNOWN" ? ZONES.UNKNOWN : `Zone ${rul.health} · ${ZONES[rul.health]}`)),
    intervalBar(rul, rules),
    rul.recommendation ? el("p", { class: "advice" }, rul.recommendation) : null,
    el("p", { class: "fine" }, el("span", { class: "chip", "data-rank": MODEL_RANK[rul.modelHealth] }, `model ${rul.modelHealth.toLowerCase()}`), ` ${facts.join(" · ")}`),
    rul.reason ? el("p", { class: "fine" }, rul.reason) : null,
  );
}
