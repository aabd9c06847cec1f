/**
 * The page's own copy of the plant: the latest of every twin, alert, work order and estimate. Pure (no DOM).
 * Everything is applied by `seq`: what is not newer than what is known changes nothing.
 */
import type { Json, Quality, WireAlert, WireModel, WireRul, WireTwin, WireTwinChange, WireValue, WireWorkOrder, Zone } from "./wire";

export interface Value {
  readonly path: string;
  value: Json;
  quality: Quality;
  sourceTime: string | null;
  seq: number;
  stale: boolean;
  unit: string;
  symbol: string;
}

export interface Placement {
  x: number;
  y: number;
  z: number;
  /** Degrees, counter-clockwise about z. */
  heading: number;
}

export interface Twin {
  readonly id: string;
  model: string;
  name: string;
  parent: string | null;
  placement: Placement | null;
  seq: number;
  stale: boolean;
  staleSince: string | null;
  health: Zone;
  rul: WireRul | null;
  readonly values: Map<string, Value>;
  readonly children: string[];
}

export interface Field {
  path: string;
  label: string;
  unit: string;
  numeric: boolean;
}

export interface Model {
  id: string;
  name: string;
  ancestors: Set<string>;
  fields: Map<string, Field>;
}

export interface Changes {
  twins: Set<string>;
  topology: boolean;
  alerts: boolean;
  orders: boolean;
}

/** A page that is open for weeks forgets the oldest alerts that are over. */
const MOST_ALERTS = 5_000;
const NUMERIC = /^(double|float|integer|short|byte|unsigned\w+|long|decimal)$/i;

export function numberOf(value: Json | undefined): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function placementOf(properties: Json): Placement | null {
  const placement = (properties as { placement?: Record<string, Json> } | null)?.placement;
  if (!placement || typeof placement !== "object") return null;
  const part = (key: string) => numberOf(placement[key]) ?? 0;
  return { x: part("x"), y: part("y"), z: part("z"), heading: part("heading") };
}

/** "toulouse/line-1/cnc-01" -> "cnc-01". */
export const lastPart = (id: string): string => id.slice(id.lastIndexOf("/") + 1);

export class Store {
  readonly twins = new Map<string, Twin>();
  readonly alerts = new Map<string, WireAlert>();
  readonly orders = new Map<string, WireWorkOrder>();
  readonly models = new Map<string, Model>();
  /** The newest seq that was applied. */
  seq = 0;
  private changes: Changes = { twins: new Set(), topology: false, alerts: false, orders: false };

  constructor(private readonly changed: () => void = () => {}) {}

  /** What changed since the last call. */
  take(): Changes {
    const taken = this.changes;
    this.changes = { twins: new Set(), topology: false, alerts: false, orders: false };
    return taken;
  }

  setModels(models: WireModel[]): void {
    this.models.clear();
    const byId = new Map(models.map((model) => [model.modelId, model]));
    for (const model of models) {
      const ancestors = new Set<string>();
      const walk = (id: string): void => {
        if (ancestors.has(id)) return;
        ancestors.add(id);
        for (const base of byId.get(id)?.extends ?? []) walk(base.modelId);
      };
      walk(model.modelId);
      const labels = new Map<string, string>();
      for (const id of [...ancestors].reverse()) collectLabels(byId.get(id)?.document, labels);
      const fields = new Map<string, Field>();
      for (const { path, schema, unit } of model.fields) {
        fields.set(path, { path, label: labels.get(path) ?? humane(path), unit, numeric: NUMERIC.test(schema) });
      }
      this.models.set(model.modelId, { id: model.modelId, name: model.displayName, ancestors, fields });
    }
  }

  isA(model: string, base: string): boolean {
    return model === base || (this.models.get(model)?.ancestors.has(base) ?? false);
  }

  modelName(model: string): string {
    return this.models.get(model)?.name || model.replace(/^dtmi:/, "").replace(/;\d+$/, "").split(":").pop() || model;
  }

  label(twin: Twin, path: string): string {
    return this.models.get(twin.model)?.fields.get(path)?.label ?? humane(path);
  }

  /** A page of the snapshot, or one twin read again. */
  putTwins(twins: WireTwin[]): void {
    for (const wire of twins) {
      let twin = this.twins.get(wire.dtId);
      if (!twin) {
        twin = {
          id: wire.dtId, model: "", name: "", parent: null, placement: null, seq: -1, stale: false, staleSince: null,
          health: "UNKNOWN", rul: null, values: new Map(), children: [],
        };
        this.twins.set(wire.dtId, twin);
        this.changes.topology = true;
      }
      const parent = wire.parent?.dtId ?? null;
      const placement = placementOf(wire.properties);
      if (wire.seq >= twin.seq) {
        const moved = JSON.stringify(placement) !== JSON.stringify(twin.placement);
        if (parent !== twin.parent || moved || twin.model !== wire.modelId) this.changes.topology = true;
        twin.model = wire.modelId;
        twin.name = wire.name || lastPart(wire.dtId);
        twin.parent = parent;
        twin.placement = placement;
        twin.seq = wire.seq;
        twin.stale = wire.stale;
        twin.staleSince = wire.staleSince;
        twin.health = wire.health;
      }
      if (wire.rul) this.putRul(wire.rul);
      for (const value of wire.values ?? []) this.putValue(twin, value);
      this.touch(twin.id);
    }
  }

  /** Drops what a fresh, complete snapshot no longer has, and links children to their parents. */
  finishSnapshot(seen: ReadonlySet<string>): void {
    for (const id of [...this.twins.keys()]) if (!seen.has(id)) this.dropTwin(id);
    this.linkChildren();
  }

  linkChildren(): void {
    for (const twin of this.twins.values()) twin.children.length = 0;
    for (const twin of this.twins.values()) {
      if (twin.parent) this.twins.get(twin.parent)?.children.push(twin.id);
    }
    for (const twin of this.twins.values()) twin.children.sort();
  }

  /** Forgets everything but the models. */
  clear(): void {
    for (const id of [...this.twins.keys()]) this.dropTwin(id);
    this.alerts.clear();
    this.orders.clear();
    this.changes.alerts = this.changes.orders = true;
    this.seq = 0;
  }

  dropTwin(id: string): void {
    if (!this.twins.delete(id)) return;
    this.changes.topology = true;
    this.touch(id);
  }

  /** Applies one event; true where the twin must be read again (it is new, or more than values changed). */
  applyChange(change: WireTwinChange): boolean {
    this.seq = Math.max(this.seq, change.seq);
    if (change.kind === "GAP" || change.dtId === null) return false;
    const twin = this.twins.get(change.dtId);
    if (change.kind === "DELETED") {
      if (twin && change.seq > twin.seq) this.dropTwin(change.dtId);
      return false;
    }
    if (!twin) return true;
    let touched = false;
    for (const value of change.values) {
      if (!this.putValue(twin, value)) continue;
      touched = true;
      if (!value.stale) twin.stale = false;
    }
    if (touched) this.touch(twin.id);
    return change.kind !== "VALUES" && change.seq > twin.seq;
  }

  putRul(rul: WireRul): void {
    const twin = this.twins.get(rul.dtId);
    if (!twin || (twin.rul && twin.rul.seq >= rul.seq)) return;
    twin.rul = rul;
    twin.health = rul.health;
    this.seq = Math.max(this.seq, rul.seq);
    this.touch(twin.id);
  }

  putAlert(alert: WireAlert): void {
    const known = this.alerts.get(alert.alertId);
    if (known && known.seq >= alert.seq && known.state === alert.state) return;
    if (known && known.seq > alert.seq) return;
    this.alerts.set(alert.alertId, alert);
    if (this.alerts.size > MOST_ALERTS) this.forgetCleared();
    this.changes.alerts = true;
    this.touch(alert.dtId);
  }

  /** Drops alerts that a complete snapshot no longer has among those that stand. */
  keepStanding(ids: ReadonlySet<string>): void {
    for (const [id, alert] of this.alerts) {
      if (alert.state === "CLEARED" || ids.has(id)) continue;
      this.alerts.delete(id);
      this.changes.alerts = true;
      this.touch(alert.dtId);
    }
  }

  private forgetCleared(): void {
    for (const [id, alert] of this.alerts) {
      if (this.alerts.size <= MOST_ALERTS * 0.9) return;
      if (alert.state === "CLEARED") this.alerts.delete(id);
    }
  }

  putOrder(order: WireWorkOrder): void {
    const known = this.orders.get(order.orderId);
    if (known && known.seq >= order.seq) return;
    this.orders.set(order.orderId, order);
    this.changes.orders = true;
    this.touch(order.dtId);
  }

  /** The topmost twin that contains this one (itself where nothing does). */
  rootOf(id: string): string {
    let at = id;
    for (let depth = 0; depth < 64; depth++) {
      const parent = this.twins.get(at)?.parent;
      if (!parent || !this.twins.has(parent)) return at;
      at = parent;
    }
    return at;
  }

  /** From the topmost container down to the twin itself. */
  pathOf(id: string): Twin[] {
    const path: Twin[] = [];
    let twin = this.twins.get(id);
    while (twin && path.length < 64) {
      path.unshift(twin);
      twin = twin.parent ? this.twins.get(twin.parent) : undefined;
    }
    return path;
  }

  /** "CNC 12 · Spindle": the twin with what holds it, short enough for a badge. */
  shortName(id: string): string {
    const path = this.pathOf(id);
    const own = path[path.length - 1];
    if (!own) return id;
    const holder = path[path.length - 2];
    return own.children.length === 0 && holder && path.length > 2 ? `${holder.name} · ${own.name}` : own.name;
  }

  private putValue(twin: Twin, wire: WireValue): boolean {
    const known = twin.values.get(wire.path);
    if (!known) {
      twin.values.set(wire.path, {
        path: wire.path, value: wire.value, quality: wire.quality, sourceTime: wire.sourceTime, seq: wire.seq,
        stale: wire.stale, unit: wire.unit ?? "", symbol: wire.symbol ?? "",
      });
      return true;
    }
    if (wire.unit !== undefined) known.unit = wire.unit;
    if (wire.symbol !== undefined) known.symbol = wire.symbol;
    if (wire.seq < known.seq || (wire.seq === known.seq && wire.stale === known.stale)) return false;
    known.value = wire.value;
    known.quality = wire.quality;
    known.sourceTime = wire.sourceTime;
    known.seq = wire.seq;
    known.stale = wire.stale;
    return true;
  }

  private touch(id: string): void {
    this.changes.twins.add(id);
    this.changed();
  }
}

/** "controller.feed_override" -> "Controller: feed override". */
export function humane(path: string): string {
  const text = path.replace(/[_-]+/g, " ").replace(/\./g, ": ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function collectLabels(document: Json | undefined, labels: Map<string, string>): void {
  const contents = (document as { contents?: Json } | null | undefined)?.contents;
  if (!Array.isArray(contents)) return;
  for (const content of contents) {
    if (!content || typeof content !== "object" || Array.isArray(content)) continue;
    const { name, displayName } = content as { name?: Json; displayName?: Json };
    const label = typeof displayName === "string" ? displayName : (displayName as { en?: Json } | null | undefined)?.en;
    if (typeof name === "string" && typeof label === "string") labels.set(name, label);
  }
}
