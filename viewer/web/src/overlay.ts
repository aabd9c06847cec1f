/**
 * State -> looks, as data: which colour, which pattern, which badge, which legend. Pure. Bodies stay neutral; colour is for
 * exceptions only, by the thresholds of the server's alert rules, so that badge, colour and alert always agree.
 */
import { days, symbol, withUnit } from "./format";
import palettes from "./palette.json";
import { numberOf, type Store, type Twin } from "./store";
import type { Quality, Severity, WireAlert, WireRule, Zone } from "./wire";

export type Rgb = readonly [number, number, number];
export const PLAIN = 0;
export const STALE = 1;
export const BAD = 2;
/** Second channel beside colour: hatched = stale, chequered = bad quality. */
export type Pattern = typeof PLAIN | typeof STALE | typeof BAD;

/** The worst of everything, the health zone, or one value (`rul_days` or a property path). */
export type ColourBy = "condition" | "health" | { path: string };

export interface Look {
  /** null: the body's own neutral tone. */
  colour: Rgb | null;
  pattern: Pattern;
  /** 0 none, 1 info, 2 warning, 3 critical. */
  rank: number;
}

export interface Badge {
  twin: string;
  rank: number;
  title: string;
  text: string;
}

export interface LegendEntry {
  colour: Rgb | null;
  pattern: Pattern;
  text: string;
}

export interface Legend {
  title: string;
  unit: string;
  entries: LegendEntry[];
  ramp: { from: string; to: string; colours: Rgb[] } | null;
}

/** What the overlay looks at: now, or a moment of the past. */
export interface View {
  number(twin: Twin, path: string): number | null;
  quality(twin: Twin, path: string): Quality;
  stale(twin: Twin): boolean;
  rul(twin: Twin): number | null;
  zone(twin: Twin): Zone;
  /** Alerts that stand at that moment. */
  alerts(id: string): readonly WireAlert[];
}

const hex = (code: string): Rgb => [1, 3, 5].map((at) => Number.parseInt(code.slice(at, at + 2), 16) / 255) as unknown as Rgb;

type Colour = keyof typeof palettes.dark;
export type Palette = Record<Colour, Rgb>;

const read = (codes: Record<Colour, string>): Palette =>
  Object.fromEntries(Object.entries(codes).map(([name, code]) => [name, hex(code)])) as Palette;

/** The same colours as the desktop viewer's (palettes.py), which proves them for colour-blind sight; a test compares. */
export const PALETTES: Record<"dark" | "light", Palette> = { dark: read(palettes.dark), light: read(palettes.light) };

export const RANK: Record<Severity, number> = { INFO: 1, WARNING: 2, CRITICAL: 3 };
export const RUL_PATH = "rul_days";

export function mix(a: Rgb, b: Rgb, t: number): Rgb {
  const s = Math.min(1, Math.max(0, t));
  return [a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s, a[2] + (b[2] - a[2]) * s];
}

export const css = (colour: Rgb): string => `rgb(${colour.map((part) => Math.round(part * 255)).join(" ")})`;

interface Judged {
  rank: number;
  path: string;
  value: number | null;
  unit: string;
}

export class Overlay {
  rules: readonly WireRule[] = [];
  mode: ColourBy = "condition";
  theme: "dark" | "light" = "dark";
  /** Spread of the coloured property over the plant (5th and 95th percentile); null until `measure`. */
  private range: { low: number; high: number } | null = null;
  private readonly byModel = new Map<string, WireRule[]>();

  constructor(private readonly store: Store) {}

  get palette(): Palette {
    return PALETTES[this.theme];
  }

  setRules(rules: readonly WireRule[]): void {
    this.rules = rules;
    this.byModel.clear();
  }

  rulesOf(model: string): readonly WireRule[] {
    let rules = this.byModel.get(model);
    if (!rules) {
      rules = this.rules.filter((rule) => this.store.isA(model, rule.model));
      this.byModel.set(model, rules);
    }
    return rules;
  }

  /** The worst of the standing alerts and of the rules that its values break at this moment. */
  judge(twin: Twin, view: View): Judged {
    let worst: Judged = { rank: 0, path: "", value: null, unit: "" };
    for (const alert of view.alerts(twin.id)) {
      const rank = RANK[alert.severity];
      if (rank > worst.rank) {
        const now = this.valueOf(twin, alert.path, view);
        worst = { rank, path: alert.path, value: now ?? alert.value, unit: alert.unit };
      }
    }
    for (const rule of this.rulesOf(twin.model)) {
      const rank = RANK[rule.severity];
      if (rank <= worst.rank) continue;
      const value = this.valueOf(twin, rule.value, view);
      if (value === null) continue;
      const broken = (rule.above !== null && value > rule.above) || (rule.below !== null && value < rule.below);
      if (broken) worst = { rank, path: rule.value, value, unit: rule.unit };
    }
    return worst;
  }

  /** How a twin looks, and its badge where it has a warning or worse. */
  assess(twin: Twin, view: View): { look: Look; badge: Badge | null } {
    const judged = this.judge(twin, view);
    const look = { colour: this.colour(twin, view, judged), pattern: this.pattern(twin, view), rank: judged.rank };
    if (judged.rank < 2) return { look, badge: null };
    const unit = twin.values.get(judged.path)?.symbol || symbol(judged.unit);
    const text = judged.path === RUL_PATH ? `${days(judged.value)} left` : withUnit(judged.value, unit);
    return { look, badge: { twin: twin.id, rank: judged.rank, title: this.store.shortName(twin.id), text } };
  }

  /** Reads the spread of the coloured property once per snapshot or change of colour, so that colours do not flicker. */
  measure(view: View): void {
    this.range = null;
    if (typeof this.mode !== "object") return;
    const values: number[] = [];
    for (const twin of this.store.twins.values()) {
      const value = this.valueOf(twin, this.mode.path, view);
      if (value !== null) values.push(value);
    }
    if (values.length === 0) return;
    values.sort((a, b) => a - b);
    const low = values[Math.floor(0.05 * (values.length - 1))]!;
    const high = values[Math.ceil(0.95 * (values.length - 1))]!;
    this.range = high > low ? { low, high } : { low: low - Math.max(1e-9, Math.abs(low) * 0.05), high: high + Math.max(1e-9, Math.abs(high) * 0.05) };
  }

  legend(symbolOf: (path: string) => string, labelOf: (path: string) => string): Legend {
    const { palette } = this;
    const tail: LegendEntry[] = [
      { colour: null, pattern: STALE, text: "Stale" },
      { colour: palette.bad, pattern: BAD, text: "Bad quality" },
    ];
    if (this.mode === "condition") {
      const entries: LegendEntry[] = [
        { colour: palette.critical, pattern: PLAIN, text: ["Critical", this.limits("CRITICAL", symbolOf)].filter(Boolean).join(": ") },
        { colour: palette.warning, pattern: PLAIN, text: ["Warning", this.limits("WARNING", symbolOf)].filter(Boolean).join(": ") },
        { colour: palette.neutral, pattern: PLAIN, text: "Within limits" },
      ];
      return { title: "Condition", unit: "", entries: [...entries, ...tail], ramp: null };
    }
    if (this.mode === "health") {
      const entries: LegendEntry[] = [
        { colour: palette.critical, pattern: PLAIN, text: "D: act now" },
        { colour: palette.warning, pattern: PLAIN, text: "C: plan work" },
        { colour: palette.neutral, pattern: PLAIN, text: "A or B: fit, or not scored" },
      ];
      return { title: "Health zone", unit: "", entries: [...entries, ...tail], ramp: null };
    }
    const { path } = this.mode;
    const unit = path === RUL_PATH ? "d" : symbolOf(path);
    const limits = this.pathLimits(path);
    if (limits.length > 0) {
      const entries = limits.map(({ rule, text }) => ({
        colour: rule.severity === "CRITICAL" ? palette.critical : palette.warning, pattern: PLAIN as Pattern, text: `${text}\u00a0${unit}`.trim(),
      }));
      entries.push({ colour: palette.neutral, pattern: PLAIN, text: "Within limits, or without it" });
      return { title: labelOf(path), unit, entries: [...entries, ...tail], ramp: null };
    }
    const colours = Array.from({ length: 16 }, (_, i) => mix(palette.low, palette.high, i / 15));
    const ramp = this.range
      ? { from: withUnit(this.range.low, ""), to: withUnit(this.range.high, ""), colours }
      : null;
    return { title: labelOf(path), unit, entries: [{ colour: palette.neutral, pattern: PLAIN, text: "Has no such value" }, ...tail], ramp };
  }

  private pattern(twin: Twin, view: View): Pattern {
    if (typeof this.mode === "object") {
      if (view.number(twin, this.mode.path) !== null && view.quality(twin, this.mode.path) === "BAD") return BAD;
    } else {
      for (const path of twin.values.keys()) if (view.quality(twin, path) === "BAD") return BAD;
    }
    return view.stale(twin) ? STALE : PLAIN;
  }

  private colour(twin: Twin, view: View, judged: Judged): Rgb | null {
    const { palette } = this;
    if (this.mode === "condition") {
      return judged.rank >= 3 ? palette.critical : judged.rank === 2 ? palette.warning : judged.rank === 1 ? palette.notice : null;
    }
    if (this.mode === "health") {
      const zone = view.zone(twin);
      return zone === "D" ? palette.critical : zone === "C" ? palette.warning : null;
    }
    const { path } = this.mode;
    const value = this.valueOf(twin, path, view);
    if (value === null) return null;
    const limits = this.rulesOf(twin.model).filter((rule) => rule.value === path);
    if (limits.length > 0) {
      let rank = 0;
      for (const rule of limits) {
        const broken = (rule.above !== null && value > rule.above) || (rule.below !== null && value < rule.below);
        if (broken) rank = Math.max(rank, RANK[rule.severity]);
      }
      return rank >= 3 ? palette.critical : rank === 2 ? palette.warning : rank === 1 ? palette.notice : null;
    }
    if (!this.range) return palette.low;
    return mix(palette.low, palette.high, (value - this.range.low) / (this.range.high - this.range.low));
  }

  private valueOf(twin: Twin, path: string, view: View): number | null {
    return path === RUL_PATH ? view.rul(twin) : view.number(twin, path);
  }

  private pathLimits(path: string): { rule: WireRule; text: string }[] {
    const rules = this.rules.filter((rule) => rule.value === path);
    rules.sort((a, b) => RANK[b.severity] - RANK[a.severity]);
    return rules.map((rule) => ({ rule, text: rule.above !== null ? `Above ${rule.above}` : `Below ${rule.below}` }));
  }

  private limits(severity: Severity, symbolOf: (path: string) => string): string {
    const texts = this.rules
      .filter((rule) => rule.severity === severity)
      .map((rule) => {
        const unit = rule.value === RUL_PATH ? "d life" : symbolOf(rule.value) || symbol(rule.unit);
        return `${rule.above !== null ? ">" : "<"}\u00a0${rule.above ?? rule.below}\u00a0${unit.replace(" ", "\u00a0")}`;
      });
    return [...new Set(texts)].slice(0, 4).join(", ");
  }
}

export function liveView(standing: (id: string) => readonly WireAlert[]): View {
  return {
    number: (twin, path) => numberOf(twin.values.get(path)?.value),
    quality: (twin, path) => twin.values.get(path)?.quality ?? "GOOD",
    stale: (twin) => twin.stale,
    rul: (twin) => numberOf(twin.rul?.rulDays),
    zone: (twin) => twin.health,
    alerts: standing,
  };
}
