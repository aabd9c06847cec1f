/** The values of the selected twin: number, unit, quality, source time and a plot each, kept up to date in place. */
import { el, setText } from "../dom";
import { number, symbol, time } from "../format";
import { type Series, valueAt } from "../history";
import { draw, plotStyle, type Sample } from "../plot";
import { numberOf, type Store, type Twin } from "../store";
import type { WireRule } from "../wire";

const MOST_SAMPLES = 400;
const SHORTEST_MS = 60_000;

interface Row {
  path: string;
  number: HTMLElement;
  when: HTMLElement;
  quality: HTMLElement;
  spark: HTMLCanvasElement;
  large: HTMLCanvasElement | null;
  body: HTMLElement;
  limits: number[];
  samples: Sample[];
  bucketMs: number;
  appended: string | null;
}

/** Adds a live value to its bucket, so that a plot of an hour does not grow by ten points a second. Pure. */
export function append(samples: Sample[], t: number, value: number, bucketMs: number): void {
  const last = samples[samples.length - 1];
  if (last && t < last.t - bucketMs / 2) return;
  if (last && last.value !== null && t < last.t + bucketMs / 2) {
    last.min = Math.min(last.min ?? last.value, value);
    last.max = Math.max(last.max ?? last.value, value);
    last.value = value;
    return;
  }
  samples.push({ t: t + bucketMs / 2, value, min: value, max: value });
  if (samples.length > MOST_SAMPLES) samples.splice(0, samples.length - MOST_SAMPLES);
}

export class Values {
  readonly element = el("div", { class: "values", role: "list" });
  private readonly rows = new Map<string, Row>();
  private open: string | null = null;

  constructor(
    private readonly store: Store,
    private readonly twin: Twin,
    private readonly rules: readonly WireRule[],
    private readonly colourBy: (path: string) => void,
  ) {
    for (const path of this.paths()) this.add(path);
  }

  /** Numeric paths, those with rules first, then in the model's order. */
  paths(): string[] {
    const fields = [...(this.store.models.get(this.twin.model)?.fields.keys() ?? [])];
    const paths = [...this.twin.values.values()].filter((value) => numberOf(value.value) !== null).map((value) => value.path);
    const ruled = (path: string) => (this.rules.some((rule) => rule.value === path) ? 0 : 1);
    const place = (path: string) => (fields.includes(path) ? fields.indexOf(path) : fields.length);
    return paths.sort((a, b) => ruled(a) - ruled(b) || place(a) - place(b) || a.localeCompare(b));
  }

  setSeries(series: Iterable<Series>): void {
    for (const { path, samples, bucketMs } of series) {
      const row = this.rows.get(path);
      if (!row) continue;
      row.samples = samples.map((sample) => ({ ...sample }));
      row.bucketMs = bucketMs;
      row.appended = null;
    }
  }

  /** Texts from the newest values, or from history at `moment`. */
  update(moment: number | null): void {
    for (const path of this.paths()) if (!this.rows.has(path)) this.add(path);
    for (const row of this.rows.values()) {
      const value = this.twin.values.get(row.path);
      if (!value) continue;
      if (moment === null) {
        const live = numberOf(value.value);
        setText(row.number, number(live));
        setText(row.when, time(value.sourceTime));
        const state = value.stale ? "STALE" : value.quality;
        setText(row.quality, state === "GOOD" ? "" : state.toLowerCase());
        row.body.dataset["quality"] = state;
        if (live !== null && value.sourceTime && value.sourceTime !== row.appended && value.quality !== "BAD") {
          append(row.samples, Date.parse(value.sourceTime), live, row.bucketMs);
          row.appended = value.sourceTime;
        }
      } else {
        const past = valueAt(row.samples, moment, row.bucketMs);
        setText(row.number, number(past));
        setText(row.when, past === null ? "no data" : "then");
        setText(row.quality, "");
        row.body.dataset["quality"] = "GOOD";
      }
    }
  }

  drawPlots(from: number, to: number, moment: number | null): void {
    const style = plotStyle(this.element);
    // A plant that was started minutes ago fills its plots, not their last few pixels.
    const first = Math.min(...[...this.rows.values()].map((row) => row.samples[0]?.t ?? to));
    const start = Math.max(from, Math.min(first, to - SHORTEST_MS));
    for (const row of this.rows.values()) {
      const frame = { samples: row.samples, from: start, to, limits: row.limits, cursor: moment };
      draw(row.spark, { ...frame, limits: [], axes: false }, style);
      if (row.large) draw(row.large, { ...frame, axes: true }, style);
    }
  }

  private add(path: string): void {
    const value = this.twin.values.get(path)!;
    const figure = el("strong", { class: "figure" });
    const when = el("small", { class: "when", title: "source time" });
    const quality = el("small", { class: "quality" });
    const spark = el("canvas", { class: "spark", "aria-hidden": "true" });
    const label = this.store.label(this.twin, path);
    const toggle = el(
      "button", { type: "button", class: "value-main", "aria-expanded": "false", "data-path": path, title: `${path}: show the plot` },
      el("span", { class: "label" }, label), spark, figure, el("span", { class: "unit" }, value.symbol || symbol(this.store.models.get(this.twin.model)?.fields.get(path)?.unit ?? value.unit)), quality, when,
    );
    const body = el("div", { class: "value", role: "listitem" }, toggle);
    const limits = this.rules.filter((rule) => rule.value === path).map((rule) => rule.above ?? rule.below!);
    const row: Row = { path, number: figure, when, quality, spark, large: null, body, limits, samples: [], bucketMs: 5000, appended: null };
    toggle.addEventListener("click", () => this.toggle(row, toggle, label));
    this.rows.set(path, row);
    this.element.append(body);
  }

  private toggle(row: Row, button: HTMLButtonElement, label: string): void {
    if (row.large) {
      row.large = null;
      row.body.querySelector(".value-more")?.remove();
      button.setAttribute("aria-expanded", "false");
      this.open = null;
      return;
    }
    if (this.open) this.element.querySelector<HTMLButtonElement>(`[data-path="${CSS.escape(this.open)}"]`)?.click();
    this.open = row.path;
    row.large = el("canvas", { class: "large", role: "img", "aria-label": `Plot of ${label}` });
    const colour = el("button", { type: "button", class: "quiet", onclick: () => this.colourBy(row.path) }, "Colour the plant by this");
    row.body.append(el("div", { class: "value-more" }, row.large, el("div", { class: "row" }, el("code", {}, row.path), colour)));
    button.setAttribute("aria-expanded", "true");
    this.element.dispatchEvent(new CustomEvent("redraw", { bubbles: true }));
  }
}

