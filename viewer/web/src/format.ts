/** Numbers, times and spans as an engineer reads them. Pure. */
import type { Json } from "./wire";

/** Three significant digits, no exponent up to a million, thin groups above 9,999. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  const text = value.toFixed(digits);
  return size >= 10_000 ? text.replace(/\B(?=(\d{3})+$)/g, "\u2009") : text;
}

const SYMBOLS: Record<string, string> = {
  degreeCelsius: "°C", degreeFahrenheit: "°F", kelvin: "K", percent: "%", metre: "m", millimetre: "mm", micrometre: "µm", second: "s",
  millisecond: "ms", minute: "min", hour: "h", day: "d", revolutionPerMinute: "rpm", hertz: "Hz", kilowatt: "kW", watt: "W",
  kilowattHour: "kWh", volt: "V", ampere: "A", newton: "N", newtonMetre: "N m", bar: "bar", kilopascal: "kPa", pascal: "Pa",
  litrePerMinute: "l/min", kilogram: "kg", metrePerSecond: "m/s", degreeOfArc: "°",
};

/** The symbol of a DTDL unit's name; what is no such name stays as it is. The API sends symbols with values, not with models. */
export const symbol = (unit: string): string => SYMBOLS[unit] ?? unit;

export function withUnit(value: number | null | undefined, symbol: string): string {
  const text = number(value);
  return symbol && text !== "–" ? `${text}\u00a0${symbol}` : text;
}

export function days(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value >= 10 ? value.toFixed(0) : value.toFixed(1);
  return `${text}\u00a0d`;
}

/** A JSON value in one line. */
export function plain(value: Json | undefined): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return number(value);
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return Object.entries(value).map(([key, part]) => `${key} ${plain(part)}`).join(", ");
}

const two = (n: number): string => String(n).padStart(2, "0");

/** hh:mm:ss in the reader's time zone. */
export function clock(ms: number): string {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function dateTime(ms: number): string {
  const date = new Date(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
}

/** hh:mm:ss for today, with the date for any other day. */
export function moment(ms: number, now = Date.now()): string {
  return new Date(ms).toDateString() === new Date(now).toDateString() ? clock(ms) : dateTime(ms);
}

export function time(text: string | null | undefined, now = Date.now()): string {
  const ms = text ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? "–" : moment(ms, now);
}

/** A span as "42 s", "5 min", "3 h", "2 d". */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}
