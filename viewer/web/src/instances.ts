/** The plan on the graphics card: one instanced mesh a shape, boxes for what is far, colours as per-instance attributes. */
import { BufferAttribute, BufferGeometry, DynamicDrawUsage, Group, InstancedBufferAttribute, InstancedMesh, type Material } from "three";
import { boxShape, type Plan, type Shape } from "./parts";
import type { Looks } from "./shader";

/** Instances of one shape with room for all its parts; `count` of them are drawn. */
class Batch {
  readonly mesh: InstancedMesh<BufferGeometry, Material>;
  private readonly look: InstancedBufferAttribute;
  private readonly signal: InstancedBufferAttribute;

  constructor(shape: Shape, room: number, material: Material, order: number) {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(shape.positions, 3));
    geometry.setAttribute("normal", new BufferAttribute(shape.normals, 3));
    geometry.setAttribute("aSkin", new BufferAttribute(shape.skin, 2));
    this.look = new InstancedBufferAttribute(new Float32Array(room * 4), 4).setUsage(DynamicDrawUsage) as InstancedBufferAttribute;
    this.signal = new InstancedBufferAttribute(new Float32Array(room * 4), 4).setUsage(DynamicDrawUsage) as InstancedBufferAttribute;
    geometry.setAttribute("aLook", this.look);
    geometry.setAttribute("aSignal", this.signal);
    this.mesh = new InstancedMesh(geometry, material, room);
    this.mesh.instanceMatrix.setUsage(DynamicDrawUsage);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = order;
    this.mesh.count = 0;
  }

  clear(): void {
    this.mesh.count = 0;
  }

  add(part: number, matrices: Float32Array, looks: Float32Array, signals: Float32Array): number {
    const at = this.mesh.count++;
    (this.mesh.instanceMatrix.array as Float32Array).set(matrices.subarray(part * 16, part * 16 + 16), at * 16);
    this.colour(at, part, looks, signals);
    return at;
  }

  colour(at: number, part: number, looks: Float32Array, signals: Float32Array): void {
    (this.look.array as Float32Array).set(looks.subarray(part * 4, part * 4 + 4), at * 4);
    (this.signal.array as Float32Array).set(signals.subarray(part * 4, part * 4 + 4), at * 4);
  }

  upload(matrices: boolean): void {
    this.mesh.visible = this.mesh.count > 0;
    if (matrices) this.mesh.instanceMatrix.needsUpdate = true;
    this.look.needsUpdate = true;
    this.signal.needsUpdate = true;
  }

  dispose(): void {
    this.mesh.geometry.dispose();
    this.mesh.dispose();
  }
}

export interface Eye {
  x: number;
  y: number;
  z: number;
  /** Pixels that one metre covers at one metre's distance. */
  pixels: number;
  /** Planes (a b c d, pointing inwards) of what the camera sees. */
  planes: readonly { normal: { x: number; y: number; z: number }; constant: number }[];
}

const SMALLEST_PIXELS = 3;

export class Instances {
  readonly group = new Group();
  readonly matrices: Float32Array;
  /** r g b pattern of each part; r < 0 is neutral. */
  readonly looks: Float32Array;
  readonly signals: Float32Array;
  readonly ranks: Uint8Array;
  /** Parts that are drawn as their box at the moment. */
  readonly coarse: Uint8Array;
  private readonly boxMatrices: Float32Array;
  private readonly spheres: Float32Array;
  private readonly full: Batch[];
  private readonly ghosts: Batch[];
  private readonly boxes: Batch;
  private readonly batchOf: (Batch | null)[];
  private readonly slotOf: Int32Array;
  private readonly triangles: number;
  private dirty: Set<number> = new Set();

  constructor(private readonly plan: Plan, looks: Looks, private readonly budget: number) {
    const count = plan.parts.length;
    const room = new Array<number>(plan.shapes.length).fill(0);
    for (const part of plan.parts) room[part.shape]!++;
    this.matrices = new Float32Array(count * 16);
    this.boxMatrices = new Float32Array(count * 16);
    this.spheres = new Float32Array(count * 4);
    this.looks = new Float32Array(count * 4);
    this.signals = new Float32Array(count * 4);
    for (let i = 0; i < count * 4; i += 4) this.looks[i] = this.signals[i] = -1;
    this.ranks = new Uint8Array(count);
    this.coarse = new Uint8Array(count);
    this.slotOf = new Int32Array(count).fill(-1);
    this.batchOf = new Array<Batch | null>(count).fill(null);
    this.full = plan.shapes.map((shape, i) => new Batch(shape, room[i]!, looks.solid, 0));
    this.ghosts = plan.shapes.map((shape, i) => new Batch(shape, room[i]!, looks.ghost, 10));
    this.triangles = plan.parts.reduce((sum, part) => sum + plan.shapes[part.shape]!.triangles, 0);
    this.boxes = new Batch(boxShape([0, 0, 0], [1, 1, 1], 0.78), this.triangles > budget ? count : 1, looks.solid, 0);
    for (const batch of [...this.full, this.boxes, ...this.ghosts]) this.group.add(batch.mesh);
  }

  /** Puts every part at its place, moved by its site's offset. */
  place(offsetOf: (root: string) => readonly [number, number]): void {
    this.plan.parts.forEach((part, i) => {
      const [dx, dy] = offsetOf(part.root);
      const m = this.matrices.subarray(i * 16, i * 16 + 16);
      m.set(part.matrix);
      m[12]! += dx;
      m[13]! += dy;
      const { low, high } = this.plan.shapes[part.shape]!;
      const b = this.boxMatrices.subarray(i * 16, i * 16 + 16);
      for (let row = 0; row < 4; row++) {
        b[12 + row] = m[12 + row]!;
        for (const k of [0, 1, 2] as const) {
          b[k * 4 + row] = m[k * 4 + row]! * (high[k] - low[k]);
          b[12 + row]! += m[k * 4 + row]! * low[k];
        }
      }
      const centre = [0, 1, 2].map((row) => b[12 + row]! + (b[row]! + b[4 + row]! + b[8 + row]!) / 2);
      const radius = 0.5 * Math.hypot(...[0, 1, 2].map((k) => Math.hypot(b[k * 4]!, b[k * 4 + 1]!, b[k * 4 + 2]!)));
      this.spheres.set([...centre, radius], i * 4);
    });
  }

  /** A part's colour changed; drawn at the next `flush`. */
  touch(part: number): void {
    this.dirty.add(part);
  }

  /** Sends changed colours; few values when few changed. */
  flush(): void {
    if (this.dirty.size === 0) return;
    const batches = new Set<Batch>();
    for (const part of this.dirty) {
      const batch = this.batchOf[part];
      if (!batch) continue;
      batch.colour(this.slotOf[part]!, part, this.looks, this.signals);
      batches.add(batch);
    }
    for (const batch of batches) batch.upload(false);
    this.dirty.clear();
    this.shine();
  }

  /** Chooses what is drawn in full, as a box, or not at all (out of sight, or too small and healthy). */
  arrange(eye: Eye): void {
    for (const batch of this.full) batch.clear();
    this.boxes.clear();
    this.batchOf.fill(null);
    this.coarse.fill(0);
    const seen: [number, number][] = [];
    const s = this.spheres;
    for (let i = 0; i < this.plan.parts.length; i++) {
      const [x, y, z, radius] = [s[i * 4]!, s[i * 4 + 1]!, s[i * 4 + 2]!, s[i * 4 + 3]!];
      if (eye.planes.some(({ normal, constant }) => normal.x * x + normal.y * y + normal.z * z + constant < -radius)) continue;
      seen.push([i, Math.hypot(x - eye.x, y - eye.y, z - eye.z) - radius]);
    }
    if (this.triangles > this.budget) seen.sort((a, b) => a[1] - b[1]);
    let left = this.triangles > this.budget ? this.budget * 0.5 : Infinity;
    for (const [i, distance] of seen) {
      const part = this.plan.parts[i]!;
      const { triangles } = this.plan.shapes[part.shape]!;
      if (part.floor || triangles <= 12 || triangles <= left) {
        if (!part.floor) left -= triangles;
        this.put(i, this.full[part.shape]!, this.matrices);
        continue;
      }
      left = Math.min(left, triangles - 1);
      const pixels = (this.spheres[i * 4 + 3]! * 2 * eye.pixels) / Math.max(distance, 0.1);
      if (pixels < SMALLEST_PIXELS && this.ranks[i]! < 2) continue;
      this.coarse[i] = 1;
      this.put(i, this.boxes, this.boxMatrices);
    }
    for (const batch of [...this.full, this.boxes]) batch.upload(true);
    this.dirty.clear();
    this.shine();
  }

  dispose(): void {
    for (const batch of [...this.full, ...this.ghosts, this.boxes]) batch.dispose();
  }

  private put(part: number, batch: Batch, matrices: Float32Array): void {
    this.slotOf[part] = batch.add(part, matrices, this.looks, this.signals);
    this.batchOf[part] = batch;
  }

  private shine(): void {
    for (const ghost of this.ghosts) ghost.clear();
    this.plan.parts.forEach((part, i) => {
      if (this.ranks[i]! >= 2 && !part.floor && this.looks[i * 4]! >= 0) this.ghosts[part.shape]!.add(i, this.matrices, this.looks, this.signals);
    });
    for (const ghost of this.ghosts) ghost.upload(true);
  }
}
