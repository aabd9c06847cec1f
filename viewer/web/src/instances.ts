/** The plan on the graphics card: what is near in full, what is far as boxes, each part in the colour of its state. */
import { BufferAttribute, BufferGeometry, DynamicDrawUsage, Group, InstancedBufferAttribute, InstancedMesh, type Material } from "three";
import { type Drawn, farBox, Merged, shared, texels, TOP_AND_FRONT } from "./merged";
import type { Plan } from "./parts";
import type { Looks } from "./shader";

/** Instances of one shape with room for all its parts; `count` of them are drawn. */
class Batch {
  readonly mesh: InstancedMesh<BufferGeometry, Material>;
  private readonly look: InstancedBufferAttribute;
  private readonly signal: InstancedBufferAttribute;

  constructor(shape: Drawn, room: number, material: Material, order: number) {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(shape.positions, 3));
    geometry.setAttribute("normal", new BufferAttribute(shape.normals, 3));
    geometry.setAttribute("aSkin", new BufferAttribute(shape.skin, 2));
    geometry.setIndex(new BufferAttribute(shape.index, 1));
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

  get full(): boolean {
    return this.mesh.count * 4 >= this.look.array.length;
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

/** Triangles drawn in full with a graphics card, and without one. */
const BUDGET = { hardware: 2_500_000, software: 130_000 };
/** Exceptions that shine through at the same time. */
const MOST_GHOSTS = 300;
/** Share of the budget that goes to what stands near, once not all can be drawn in full. */
const FULL_SHARE = 0.25;
/** From this size on a near part is drawn in full; below the second a far part is only top and front. */
const FULL_PIXELS = 16;
const SPECK_PIXELS = 12;
/** Healthy, uncoloured parts below this are left out. */
const SMALLEST_PIXELS = 9;
/** A far machine is a low box, so that its parts are seen above it. */
const FAR_HEIGHT = 0.42;

export class Instances {
  readonly group = new Group();
  readonly matrices: Float32Array;
  /** r g b pattern of each part; r < 0 is neutral. */
  readonly looks: Float32Array;
  readonly signals: Float32Array;
  readonly ranks: Uint8Array;
  /** Parts that are drawn as their box at the moment. */
  readonly coarse: Uint8Array;
  private readonly spheres: Float32Array;
  /** Everything in full as one mesh (no graphics card, and little enough), else instances of each shape. */
  private readonly whole: Merged | null;
  private readonly full: Batch[];
  private readonly ghosts: Batch[];
  private readonly far: Merged | null;
  private readonly batchOf: (Batch | null)[];
  private readonly slotOf: Int32Array;
  private readonly dirty = new Set<number>();
  private readonly hidden = new Set<number>();
  private readonly budget: number;

  /** `holds(twin)`: whether it contains parts, which must stay visible where it is drawn as a box. */
  constructor(private readonly plan: Plan, looks: Looks, software: boolean, private readonly holds: (twin: string) => boolean) {
    const count = plan.parts.length;
    this.budget = software ? BUDGET.software : BUDGET.hardware;
    const tooMany = plan.parts.reduce((sum, part) => sum + plan.shapes[part.shape]!.triangles, 0) > this.budget;
    const room = new Array<number>(plan.shapes.length).fill(0);
    for (const part of plan.parts) room[part.shape]!++;
    this.matrices = new Float32Array(count * 16);
    this.spheres = new Float32Array(count * 4);
    this.looks = new Float32Array(texels(count));
    this.signals = new Float32Array(texels(count));
    for (let i = 0; i < this.looks.length; i += 4) this.looks[i] = this.signals[i] = -1;
    this.ranks = new Uint8Array(count);
    this.coarse = new Uint8Array(count);
    this.slotOf = new Int32Array(count).fill(-1);
    this.batchOf = new Array<Batch | null>(count).fill(null);
    const drawn = plan.shapes.map(shared);
    this.whole = software && !tooMany ? new Merged(plan.parts.map((part) => drawn[part.shape]!), looks, this.looks, this.signals) : null;
    this.full = this.whole ? [] : drawn.map((shape, i) => new Batch(shape, room[i]!, looks.solid, 0));
    this.ghosts = drawn.map((shape, i) => new Batch(shape, Math.min(room[i]!, MOST_GHOSTS), looks.ghost, 10));
    const box = farBox();
    this.far = tooMany ? new Merged(plan.parts.map(() => box), looks, this.looks, this.signals) : null;
    for (const { mesh } of [this.whole, ...this.full, ...this.ghosts, this.far].filter((one) => one !== null)) this.group.add(mesh);
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
      const holder = !part.floor && this.holds(part.twin);
      const b = new Float32Array(16);
      for (let row = 0; row < 4; row++) {
        b[12 + row] = m[12 + row]!;
        for (const k of [0, 1, 2] as const) {
          b[k * 4 + row] = m[k * 4 + row]! * (high[k] - low[k]) * (k === 2 && holder ? FAR_HEIGHT : 1);
          b[12 + row]! += m[k * 4 + row]! * low[k];
        }
      }
      this.whole?.place(i, m);
      this.far?.place(i, b);
      const centre = [0, 1, 2].map((row) => b[12 + row]! + (b[row]! + b[4 + row]! + b[8 + row]!) / 2);
      const radius = 0.5 * Math.hypot(...[0, 1, 2].map((k) => Math.hypot(b[k * 4]!, b[k * 4 + 1]!, b[k * 4 + 2]!)));
      this.spheres.set([...centre, holder ? radius / FAR_HEIGHT : radius], i * 4);
    });
  }

  /** A part's colour changed; drawn at the next `flush`. True where it was left out so far: then arrange anew. */
  touch(part: number): boolean {
    this.dirty.add(part);
    return this.hidden.has(part);
  }

  /** Sends changed colours. */
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
    this.whole?.recolour();
    this.far?.recolour();
    this.dirty.clear();
    this.shine();
  }

  /** Chooses what is drawn in full, as a box, or not at all (out of sight, or too small and healthy). */
  arrange(eye: Eye): void {
    for (const one of [this.whole, ...this.full, this.far]) one?.clear();
    this.batchOf.fill(null);
    this.coarse.fill(0);
    this.hidden.clear();
    const seen: [number, number][] = [];
    const s = this.spheres;
    for (let i = 0; i < this.plan.parts.length; i++) {
      const [x, y, z, radius] = [s[i * 4]!, s[i * 4 + 1]!, s[i * 4 + 2]!, s[i * 4 + 3]!];
      if (eye.planes.some(({ normal, constant }) => normal.x * x + normal.y * y + normal.z * z + constant < -radius)) continue;
      seen.push([i, Math.hypot(x - eye.x, y - eye.y, z - eye.z) - radius]);
    }
    if (this.far) seen.sort((a, b) => a[1] - b[1]);
    let left = this.far ? this.budget * FULL_SHARE : Infinity;
    for (const [i, distance] of seen) left -= this.draw(i, (s[i * 4 + 3]! * 2 * eye.pixels) / Math.max(distance, 0.1), left);
    for (const batch of this.full) batch.upload(true);
    this.whole?.upload();
    this.far?.upload();
    this.dirty.clear();
    this.shine();
  }

  dispose(): void {
    for (const one of [this.whole, ...this.full, ...this.ghosts, this.far]) one?.dispose();
  }

  /** Draws a part of that size; the triangles that it took from the budget. */
  private draw(i: number, pixels: number, left: number): number {
    const part = this.plan.parts[i]!;
    const { triangles } = this.plan.shapes[part.shape]!;
    if (this.whole) {
      this.whole.show(i);
      return 0;
    }
    if (part.floor || !this.far || (triangles <= left && pixels >= FULL_PIXELS)) {
      const batch = this.full[part.shape]!;
      this.slotOf[i] = batch.add(i, this.matrices, this.looks, this.signals);
      this.batchOf[i] = batch;
      return part.floor ? 0 : triangles;
    }
    const holder = this.holds(part.twin);
    const plain = this.looks[i * 4]! < 0 && this.looks[i * 4 + 3] === 0;
    if (pixels < SMALLEST_PIXELS && plain && !holder) {
      this.hidden.add(i);
      return 0;
    }
    this.coarse[i] = 1;
    this.far.show(i, pixels < SPECK_PIXELS && !holder ? TOP_AND_FRONT : Infinity);
    return 0;
  }

  private shine(): void {
    for (const ghost of this.ghosts) ghost.clear();
    for (let i = 0; i < this.plan.parts.length; i++) {
      const part = this.plan.parts[i]!;
      if (this.ranks[i]! < 2 || part.floor || this.looks[i * 4]! < 0) continue;
      const ghost = this.ghosts[part.shape]!;
      if (!ghost.full) ghost.add(i, this.matrices, this.looks, this.signals);
    }
    for (const ghost of this.ghosts) ghost.upload(true);
  }
}
