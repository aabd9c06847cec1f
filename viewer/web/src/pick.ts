/** Which part a ray meets first. Pure: boxes first, then triangles of the boxes that were met. */
import type { Part, Shape } from "./parts";

export type Vector = readonly [number, number, number];

/** The inverse of a placement without shear by its 3x3 part, column-major 4x4 in and out. */
export function inverse(m: ArrayLike<number>): Float64Array {
  const [a, b, c, d, e, f, g, h, i] = [m[0]!, m[4]!, m[8]!, m[1]!, m[5]!, m[9]!, m[2]!, m[6]!, m[10]!];
  const A = e * i - f * h;
  const B = f * g - d * i;
  const C = d * h - e * g;
  const det = a * A + b * B + c * C || 1e-30;
  const r = [A, c * h - b * i, b * f - c * e, B, a * i - c * g, c * d - a * f, C, b * g - a * h, a * e - b * d].map((x) => x / det);
  const [x, y, z] = [m[12]!, m[13]!, m[14]!];
  return Float64Array.of(
    r[0]!, r[3]!, r[6]!, 0, r[1]!, r[4]!, r[7]!, 0, r[2]!, r[5]!, r[8]!, 0,
    -(r[0]! * x + r[1]! * y + r[2]! * z), -(r[3]! * x + r[4]! * y + r[5]! * z), -(r[6]! * x + r[7]! * y + r[8]! * z), 1,
  );
}

/** Distance along the ray to the box, or null. */
export function meetBox(origin: Vector, ray: Vector, low: Vector, high: Vector): number | null {
  let near = 0;
  let far = Infinity;
  for (const k of [0, 1, 2] as const) {
    const t1 = (low[k] - origin[k]) / ray[k];
    const t2 = (high[k] - origin[k]) / ray[k];
    if (Number.isNaN(t1) || Number.isNaN(t2)) {
      if (origin[k] < low[k] || origin[k] > high[k]) return null;
      continue;
    }
    near = Math.max(near, Math.min(t1, t2));
    far = Math.min(far, Math.max(t1, t2));
  }
  return near <= far ? near : null;
}

/** Distance along the ray to the nearest triangle (Moeller and Trumbore 1997), or null. */
export function meetShape(origin: Vector, ray: Vector, p: Float32Array): number | null {
  let nearest: number | null = null;
  const [dx, dy, dz] = ray;
  for (let i = 0; i + 8 < p.length; i += 9) {
    const [ux, uy, uz] = [p[i + 3]! - p[i]!, p[i + 4]! - p[i + 1]!, p[i + 5]! - p[i + 2]!];
    const [vx, vy, vz] = [p[i + 6]! - p[i]!, p[i + 7]! - p[i + 1]!, p[i + 8]! - p[i + 2]!];
    const [hx, hy, hz] = [dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx];
    const a = ux * hx + uy * hy + uz * hz;
    if (Math.abs(a) < 1e-12) continue;
    const [sx, sy, sz] = [origin[0] - p[i]!, origin[1] - p[i + 1]!, origin[2] - p[i + 2]!];
    const u = (sx * hx + sy * hy + sz * hz) / a;
    if (u < 0 || u > 1) continue;
    const [qx, qy, qz] = [sy * uz - sz * uy, sz * ux - sx * uz, sx * uy - sy * ux];
    const v = (dx * qx + dy * qy + dz * qz) / a;
    if (v < 0 || u + v > 1) continue;
    const t = (vx * qx + vy * qy + vz * qz) / a;
    if (t > 1e-6 && (nearest === null || t < nearest)) nearest = t;
  }
  return nearest;
}

/** Parts along the ray, nearest first: [part index, distance]. `coarse(i)` parts count as their box. */
export function meetParts(
  origin: Vector, ray: Vector, parts: readonly Part[], inverses: readonly Float64Array[], shapes: readonly Shape[],
  coarse: (part: number) => boolean,
): [number, number][] {
  const hits: [number, number][] = [];
  for (let i = 0; i < parts.length; i++) {
    const m = inverses[i]!;
    const shape = shapes[parts[i]!.shape]!;
    const o: Vector = [0, 1, 2].map((k) => m[k]! * origin[0] + m[4 + k]! * origin[1] + m[8 + k]! * origin[2] + m[12 + k]!) as unknown as Vector;
    const d: Vector = [0, 1, 2].map((k) => m[k]! * ray[0] + m[4 + k]! * ray[1] + m[8 + k]! * ray[2]) as unknown as Vector;
    const entry = meetBox(o, d, shape.low, shape.high);
    if (entry === null) continue;
    const distance = coarse(i) ? entry : meetShape(o, d, shape.positions);
    if (distance !== null) hits.push([i, distance]);
  }
  return hits.sort((a, b) => a[1] - b[1]);
}
