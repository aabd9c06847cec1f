/** By what the plant can be coloured: the choices, and how one is written in the page's address. Pure. */
import { symbol } from "./format";
import { type ColourBy, RUL_PATH } from "./overlay";
import { humane, numberOf, type Store } from "./store";

export interface NumericPath {
  symbol: string;
  label: string;
}

/** Every numeric path of the plant's models and values with its label and unit. */
export function numericPaths(store: Store): Map<string, NumericPath> {
  const found = new Map<string, { unit: string; labels: Set<string> }>();
  const add = (path: string, unit: string, label: string): void => {
    const known = found.get(path) ?? { unit: "", labels: new Set<string>() };
    known.unit ||= unit;
    known.labels.add(label);
    found.set(path, known);
  };
  const used = new Set<string>();
  for (const twin of store.twins.values()) {
    used.add(twin.model);
    for (const { path, symbol: own, value } of twin.values.values()) if (numberOf(value) !== null) add(path, own, store.label(twin, path));
  }
  for (const model of used) {
    for (const { path, unit, label, numeric } of store.models.get(model)?.fields.values() ?? []) if (numeric) add(path, symbol(unit), label);
  }
  return new Map([...found].map(([path, { unit, labels }]) => [path, { symbol: unit, label: labels.size > 1 ? humane(path) : [...labels][0]! }]));
}

export const colourText = (mode: ColourBy): string => (typeof mode === "object" ? `value:${mode.path}` : mode);

/** The property that colours, where it is one that the feed must carry. */
export const valuePath = (mode: ColourBy): string | null => (typeof mode === "object" && mode.path !== RUL_PATH ? mode.path : null);

export function parseColour(text: string): ColourBy {
  if (text.startsWith("value:")) return { path: text.slice(6) };
  return text === "health" ? "health" : "condition";
}
