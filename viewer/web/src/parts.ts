/**
 * What is drawn and where: from the GLB of `/scene.glb`, or from the twins' `placement` where there is none. Pure.
 * World coordinates are metres, z up. What matches nothing is reported, and the rest is drawn.
 */
import { type Geometry, type GlbScene, identity, multiply } from "./glb";
import type { Placement, Store, Twin } from "./store";

/** How a vertex is painted; twinloom's own GLB says it by `_MATERIAL`, foreign files are all BODY. */
export const BODY = 0;
export const FLOOR = 1;
export const LANE = 2;
/** Takes the colour of the worst part below: a machine's floor frame and its signal lamp. */
export const SIGNAL = 3;

export interface Shape {
  /** Three vertices a triangle of their own, flat or given normals: x y z each. */
  positions: Float32Array;
  normals: Float32Array;
  /** Lightness 0..1 and paint (BODY, FLOOR, LANE, SIGNAL) of each vertex. */
  skin: Float32Array;
  low: [number, number, number];
  high: [number, number, number];
  triangles: number;
}

export interface Part {
  /** "" for scenery that belongs to no twin. */
  twin: string;
  root: string;
  shape: number;
  floor: boolean;
  /** World transform, column-major. */
  matrix: Float64Array;
}

export interface Plan {
  shapes: Shape[];
  parts: Part[];
  problems: string[];
}

/** twinloom's material numbers that are not plain body. */
const PAINT: Record<number, number> = { 6: FLOOR, 7: LANE, 8: SIGNAL, 9: SIGNAL };
const Y_UP_TO_Z_UP = Float64Array.of(1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1);

export function shapeOf(geometry: Geometry, floor = BODY): Shape {
  const count = geometry.indices ? geometry.indices.length : geometry.positions.length / 3;
  const vertices = count - (count % 3);
  const positions = new Float32Array(vertices * 3);
  const normals = new Float32Array(vertices * 3);
  const skin = new Float32Array(vertices * 2);
  for (let i = 0; i < vertices; i++) {
    const from = geometry.indices ? geometry.indices[i]! : i;
    positions.set(geometry.positions.subarray(from * 3, from * 3 + 3), i * 3);
    if (geometry.normals) normals.set(geometry.normals.subarray(from * 3, from * 3 + 3), i * 3);
    skin[i * 2] = geometry.tones ? geometry.tones[from]! : geometry.tone;
    const paint = geometry.materials ? (PAINT[geometry.materials[from]!] ?? BODY) : floor;
    skin[i * 2 + 1] = paint;
  }
  if (!geometry.normals) flatNormals(positions, normals);
  return { positions, normals, skin, ...boundsOf(positions), triangles: vertices / 3 };
}

export function planFromGlb(scene: GlbScene, store: Store): Plan {
  const problems = [...scene.problems];
  const shapes = scene.geometries.map((geometry) => shapeOf(geometry));
  const parts: Part[] = [];
  const owner: string[] = [];
  const seen = new Set<string>();
  scene.nodes.forEach((node, index) => {
    const inherited = node.parent >= 0 ? owner[node.parent]! : "";
    const claimed = node.twinId ?? node.name;
    const own = store.twins.has(claimed) ? claimed : inherited;
    owner[index] = own;
    if (own === claimed && own !== inherited && seen.has(own)) problems.push(`Two scene nodes are called ${own}.`);
    if (own === claimed) seen.add(own);
    if (node.twinId && own !== node.twinId) problems.push(`Scene node ${node.twinId} matches no twin.`);
    const matrix = scene.upAxis === "Y" ? multiply(Y_UP_TO_Z_UP, node.world) : node.world;
    const floor = node.role === "site" || node.role === "line";
    for (const shape of node.geometries) {
      parts.push({ twin: own, root: own ? store.rootOf(own) : "", shape, floor, matrix });
    }
  });
  const drawn = new Set(parts.map((part) => part.twin));
  for (const twin of store.twins.values()) {
    if (twin.children.length === 0 && !drawn.has(twin.id)) problems.push(`${twin.id} has no geometry in the scene.`);
  }
  return { shapes, parts, problems };
}

function boundsOf(positions: Float32Array): Pick<Shape, "low" | "high"> {
  const low: [number, number, number] = [Infinity, Infinity, Infinity];
  const high: [number, number, number] = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < positions.length; i++) {
    const axis = (i % 3) as 0 | 1 | 2;
    low[axis] = Math.min(low[axis], positions[i]!);
    high[axis] = Math.max(high[axis], positions[i]!);
  }
  return positions.length ? { low, high } : { low: [0, 0, 0], high: [0, 0, 0] };
}

function flatNormals(p: Float32Array, normals: Float32Array): void {
  for (let i = 0; i + 8 < p.length; i += 9) {
    const [ux, uy, uz] = [p[i + 3]! - p[i]!, p[i + 4]! - p[i + 1]!, p[i + 5]! - p[i + 2]!];
    const [vx, vy, vz] = [p[i + 6]! - p[i]!, p[i + 7]! - p[i + 1]!, p[i + 8]! - p[i + 2]!];
    const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    const length = Math.hypot(...n) || 1;
    for (let k = 0; k < 9; k++) normals[i + k] = n[k % 3]! / length;
  }
}

/** A box from `low` to `high` as two triangles a side. */
export function boxShape(low: [number, number, number], high: [number, number, number], tone = 0.8, paint = BODY): Shape {
  const corner = (i: number): [number, number, number] => [i & 1 ? high[0] : low[0], i & 2 ? high[1] : low[1], i & 4 ? high[2] : low[2]];
  const quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];
  const positions = Float32Array.from(quads.flatMap(([a, b, c, d]) => [a!, b!, c!, a!, c!, d!].flatMap(corner)));
  return shapeOf({ positions, normals: null, indices: null, tone, tones: null, materials: null }, paint);
}

function placed(placement: Placement | null): Float64Array {
  if (!placement) return identity();
  const { x, y, z, heading } = placement;
  const [c, s] = [Math.cos((heading * Math.PI) / 180), Math.sin((heading * Math.PI) / 180)];
  return Float64Array.of(c, s, 0, 0, -s, c, 0, 0, 0, 0, 1, 0, x, y, z, 1);
}

/** Boxes where the twins stand: a block a component, a base below each machine, a floor below each line and plant. */
export function planFromPlacements(store: Store): Plan {
  const block = boxShape([-0.35, -0.35, 0], [0.35, 0.35, 0.7]);
  const shapes: Shape[] = [block];
  const parts: Part[] = [];
  const world = new Map<string, Float64Array>();
  const worldOf = (twin: Twin): Float64Array => {
    const known = world.get(twin.id);
    if (known) return known;
    world.set(twin.id, identity());
    const parent = twin.parent ? store.twins.get(twin.parent) : undefined;
    const made = parent ? multiply(worldOf(parent), placed(twin.placement)) : placed(twin.placement);
    world.set(twin.id, made);
    return made;
  };
  const height = (twin: Twin): number => 1 + Math.max(-1, ...twin.children.map((id) => (store.twins.has(id) ? height(store.twins.get(id)!) : -1)));
  const reach = (twin: Twin, out: [number, number][]): [number, number][] => {
    const matrix = worldOf(twin);
    out.push([matrix[12]!, matrix[13]!]);
    for (const child of twin.children) reach(store.twins.get(child)!, out);
    return out;
  };
  for (const twin of store.twins.values()) {
    const root = store.rootOf(twin.id);
    const level = height(twin);
    if (level === 0) {
      parts.push({ twin: twin.id, root, shape: 0, floor: false, matrix: worldOf(twin) });
      continue;
    }
    const points = reach(twin, []);
    const margin = [0, 0.6, 1.1, 2][Math.min(3, level)]!;
    const top = level === 1 ? 0.35 : level === 2 ? 0 : -0.08;
    const low: [number, number, number] = [Math.min(...points.map((p) => p[0])) - margin, Math.min(...points.map((p) => p[1])) - margin, top - (level === 1 ? 0.35 : 0.08)];
    const high: [number, number, number] = [Math.max(...points.map((p) => p[0])) + margin, Math.max(...points.map((p) => p[1])) + margin, top];
    const shape = shapes.push(boxShape(low, high, level === 1 ? 0.45 : 0.9, level === 1 ? BODY : level === 2 ? LANE : FLOOR)) - 1;
    parts.push({ twin: twin.id, root, shape, floor: level > 1, matrix: identity() });
  }
  return { shapes, parts, problems: [] };
}

/** The box of a part in the world. */
export function worldBox(part: Part, shape: Shape): { low: [number, number, number]; high: [number, number, number] } {
  const low: [number, number, number] = [Infinity, Infinity, Infinity];
  const high: [number, number, number] = [-Infinity, -Infinity, -Infinity];
  const m = part.matrix;
  for (let i = 0; i < 8; i++) {
    const x = i & 1 ? shape.high[0] : shape.low[0];
    const y = i & 2 ? shape.high[1] : shape.low[1];
    const z = i & 4 ? shape.high[2] : shape.low[2];
    for (const axis of [0, 1, 2] as const) {
      const at = m[axis]! * x + m[4 + axis]! * y + m[8 + axis]! * z + m[12 + axis]!;
      low[axis] = Math.min(low[axis], at);
      high[axis] = Math.max(high[axis], at);
    }
  }
  return { low, high };
}
