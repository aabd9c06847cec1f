import { Store } from "../src/store";
import type { WireAlert, WireRul, WireRule, WireTwin, WireValue } from "../src/wire";

export const SPINDLE = "dtmi:x:Spindle;1";

export const value = (path: string, number: number, seq: number, more: Partial<WireValue> = {}): WireValue => ({
  path, value: number, quality: "GOOD", sourceTime: "2026-01-01T00:00:00Z", seq, stale: false, ...more,
});

export const rul = (dtId: string, days: number, seq: number): WireRul => ({
  dtId, rulDays: days, low: days / 2, high: days * 2, health: days < 14 ? "D" : "A", recommendation: "", modelHealth: "OK", modelVersion: "1",
  method: "lstm", reason: "", sourceTime: null, qualityShare: 1, seq,
});

export const twin = (dtId: string, more: Partial<WireTwin> = {}): WireTwin => ({
  dtId, modelId: SPINDLE, name: null, seq: 1, stale: false, staleSince: null, health: "UNKNOWN", properties: {}, values: [], rul: null,
  parent: dtId.includes("/") ? { dtId: dtId.slice(0, dtId.lastIndexOf("/")) } : null, ...more,
});

export const alert = (dtId: string, more: Partial<WireAlert> = {}): WireAlert => ({
  id: "a", alertId: "a", rule: "hot", dtId, severity: "WARNING", state: "RAISED", message: `${dtId}: hot`, path: "temperature", value: 80,
  threshold: 75, unit: "degC", raisedAt: "2026-01-01T00:00:10Z", acknowledgedAt: null, acknowledgedBy: null, clearedAt: null, seq: 5, ...more,
});

export const rule = (more: Partial<WireRule>): WireRule => ({
  name: "r", model: SPINDLE, value: "temperature", above: null, below: null, clear: 0, severity: "WARNING", unit: "°C", ...more,
});

export function plant(...twins: WireTwin[]): Store {
  const store = new Store();
  store.putTwins(twins);
  store.finishSnapshot(new Set(twins.map((one) => one.dtId)));
  return store;
}
