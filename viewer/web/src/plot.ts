/** Small plots of ours: a line with its min-max band, thresholds and a cursor, drawn on a canvas. */
import { clock, number } from "./format";

export interface Sample {
  t: number;
  value: number | null;
  min: number | null;
  max: number | null;
}

export interface PlotStyle {
  line: string;
  band: string;
  text: string;
  grid: string;
  limit: string;
  cursor: string;
}

export interface PlotFrame {
  samples: readonly Sample[];
  from: number;
  to: number;
  limits: readonly number[];
  cursor: number | null;
  axes: boolean;
}

/** Colours of the theme that holds at the moment. */
export function plotStyle(element: Element): PlotStyle {
  const style = getComputedStyle(element);
  const get = (name: string) => style.getPropertyValue(name).trim();
  return { line: get("--plot"), band: get("--plot-band"), text: get("--faint"), grid: get("--edge"), limit: get("--warning"), cursor: get("--text") };
}

/** Low and high of what is drawn, a little widened; thresholds count only where they are near. */
export function rangeOf(samples: readonly Sample[], limits: readonly number[]): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const { value, min, max } of samples) {
    for (const one of [value, min, max]) {
      if (one === null) continue;
      low = Math.min(low, one);
      high = Math.max(high, one);
    }
  }
  if (low > high) return [0, 1];
  const size = Math.max(high - low, Math.abs(high) * 0.02, 1e-6);
  for (const limit of limits) {
    if (limit > high && limit - high < size * 3) high = limit;
    if (limit < low && low - limit < size * 3) low = limit;
  }
  const margin = Math.max(high - low, size) * 0.08;
  return [low - margin, high + margin];
}

/** Draws; an empty plot stays empty. */
export function draw(canvas: HTMLCanvasElement, frame: PlotFrame, style: PlotStyle): void {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (width === 0 || height === 0) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const [left, right, top, bottom] = frame.axes ? [44, width - 6, 8, height - 18] : [1, width - 3, 2, height - 2];
  const [low, high] = rangeOf(frame.samples, frame.limits);
  const x = (t: number) => left + ((t - frame.from) / Math.max(1, frame.to - frame.from)) * (right - left);
  const y = (v: number) => bottom - ((v - low) / (high - low)) * (bottom - top);
  pen.font = "11px system-ui, sans-serif";
  if (frame.axes) {
    pen.fillStyle = style.text;
    pen.strokeStyle = style.grid;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const share of [0.1, 0.5, 0.9]) {
      const value = low + (high - low) * share;
      pen.beginPath();
      pen.moveTo(left, Math.round(y(value)) + 0.5);
      pen.lineTo(right, Math.round(y(value)) + 0.5);
      pen.stroke();
      pen.fillText(number(value), left - 5, y(value));
    }
    pen.textBaseline = "alphabetic";
    pen.textAlign = "left";
    pen.fillText(clock(frame.from), left, height - 4);
    pen.textAlign = "right";
    pen.fillText(clock(frame.to), right, height - 4);
  }
  pen.save();
  pen.beginPath();
  pen.rect(left, 0, right - left + 3, bottom + 1);
  pen.clip();
  pen.setLineDash([4, 3]);
  pen.strokeStyle = style.limit;
  for (const limit of frame.limits) {
    pen.beginPath();
    pen.moveTo(left, y(limit));
    pen.lineTo(right, y(limit));
    pen.stroke();
  }
  pen.setLineDash([]);
  for (const run of runs(frame.samples, (frame.to - frame.from) / 8)) {
    pen.fillStyle = style.band;
    pen.beginPath();
    run.forEach((s, i) => (i === 0 ? pen.moveTo(x(s.t), y(s.max ?? s.value!)) : pen.lineTo(x(s.t), y(s.max ?? s.value!))));
    for (const s of [...run].reverse()) pen.lineTo(x(s.t), y(s.min ?? s.value!));
    pen.fill();
    pen.strokeStyle = style.line;
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    pen.beginPath();
    run.forEach((s, i) => (i === 0 ? pen.moveTo(x(s.t), y(s.value!)) : pen.lineTo(x(s.t), y(s.value!))));
    pen.stroke();
  }
  const last = frame.samples.findLast((s) => s.value !== null);
  if (last && frame.cursor === null) {
    pen.fillStyle = style.line;
    pen.beginPath();
    pen.arc(x(last.t), y(last.value!), 2.2, 0, 7);
    pen.fill();
  }
  if (frame.cursor !== null) {
    pen.strokeStyle = style.cursor;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x(frame.cursor), 0);
    pen.lineTo(x(frame.cursor), bottom);
    pen.stroke();
  }
  pen.restore();
}

/** Stretches without a hole: nothing is drawn over a time for which there is no data. */
export function runs(samples: readonly Sample[], widest: number): Sample[][] {
  const out: Sample[][] = [];
  let run: Sample[] = [];
  for (const sample of samples) {
    const before = run[run.length - 1];
    if (sample.value === null || (before && sample.t - before.t > widest)) {
      if (run.length > 0) out.push(run);
      run = [];
    }
    if (sample.value !== null) run.push(sample);
  }
  if (run.length > 0) out.push(run);
  return out;
}
