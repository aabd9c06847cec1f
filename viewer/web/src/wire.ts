/** What the API's GraphQL answers carry, as they come over the wire (names of the schema, times as ISO 8601 UTC texts). */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Quality = "GOOD" | "UNCERTAIN" | "BAD";
export type Severity = "INFO" | "WARNING" | "CRITICAL";
export type Zone = "A" | "B" | "C" | "D" | "UNKNOWN";
export type AlertState = "RAISED" | "ACKNOWLEDGED" | "CLEARED";

export interface WireValue {
  path: string;
  value: Json;
  quality: Quality;
  sourceTime: string | null;
  seq: number;
  stale: boolean;
  unit?: string;
  symbol?: string;
}

export interface WireRul {
  dtId: string;
  rulDays: number;
  low: number;
  high: number;
  health: Zone;
  recommendation: string;
  modelHealth: "OK" | "DRIFTING" | "DEGRADED";
  modelVersion: string;
  method: string;
  reason: string;
  sourceTime: string | null;
  qualityShare: number;
  seq: number;
}

export interface WireTwin {
  dtId: string;
  modelId: string;
  name: string | null;
  seq: number;
  stale: boolean;
  staleSince: string | null;
  health: Zone;
  properties: Json;
  values?: WireValue[];
  rul: WireRul | null;
  parent: { dtId: string } | null;
}

export interface WireAlert {
  id: string;
  alertId: string;
  rule: string;
  dtId: string;
  severity: Severity;
  state: AlertState;
  message: string;
  path: string;
  value: number;
  threshold: number;
  unit: string;
  raisedAt: string;
  acknowledgedAt: string | null;
  acknowledgedBy: string | null;
  clearedAt: string | null;
  seq: number;
}

export interface WireWorkOrder {
  id: string;
  orderId: string;
  dtId: string;
  rule: string;
  title: string;
  recommendation: string;
  priority: Severity;
  state: "OPEN" | "IN_PROGRESS" | "CLOSED";
  openedAt: string;
  closedAt: string | null;
  externalId: string | null;
  seq: number;
}

export interface WireRule {
  name: string;
  model: string;
  value: string;
  above: number | null;
  below: number | null;
  clear: number;
  severity: Severity;
  unit: string;
}

export interface WireModel {
  modelId: string;
  displayName: string;
  document: Json;
  extends: { modelId: string }[];
  fields: { path: string; kind: string; schema: string; unit: string; writable: boolean }[];
}

export interface WireSource {
  name: string;
  state: string;
  since: string | null;
  reason: string | null;
}

export interface WireGap {
  fromSeq: number;
  toSeq: number;
  hint: string;
}

export interface WireTwinChange {
  seq: number;
  kind: "VALUES" | "CREATED" | "UPDATED" | "DELETED" | "RELATED" | "STATE" | "GAP";
  dtId: string | null;
  values: WireValue[];
}

export interface WireTwinChanges {
  seq: number;
  time: string;
  missed: number;
  gap: WireGap | null;
  changes: WireTwinChange[];
}

export interface Page<T> {
  nodes: T[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
  totalCount?: number;
}

export interface WireBucket {
  start: string;
  count: number;
  min: number | null;
  max: number | null;
  avg: number | null;
  last: number | null;
}

export interface WireHistory {
  twin: string;
  path: string;
  unit: string;
  buckets: WireBucket[];
}
