/**
 * Many parts as one mesh: their places are baked in, their colours come from a texture, which of them are drawn is a matter
 * of the index. Without a graphics card an instance costs about as much as a draw call of its own, so this is five times
 * faster there than instances are.
 */
import { BufferAttribute, BufferGeometry, DataTexture, DynamicDrawUsage, FloatType, Mesh, RGBAFormat, type ShaderMaterial } from "three";
import { type Looks, ROW } from "./shader";

/** A shape with equal vertices stored once. */
export interface Drawn {
  positions: Float32Array;
  normals: Float32Array;
  skin: Float32Array;
  index: Uint32Array;
}

/** A unit cube as it is seen from above: top, front, back, left, right. */
export function farBox(): Drawn {
  const sides: [number[], number[][]][] = [
    [[0, 0, 1], [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]],
    [[0, -1, 0], [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]]],
    [[0, 1, 0], [[1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]]],
    [[-1, 0, 0], [[0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]],
    [[1, 0, 0], [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1]]],
  ];
  return {
    positions: Float32Array.from(sides.flatMap(([, corners]) => corners.flat())),
    normals: Float32Array.from(sides.flatMap(([normal]) => [normal, normal, normal, normal].flat())),
    skin: Float32Array.from({ length: sides.length * 8 }, (_, i) => (i % 2 === 0 ? 0.78 : 0)),
    index: Uint32Array.from(sides.flatMap((_, side) => [0, 1, 2, 0, 2, 3].map((corner) => side * 4 + corner))),
  };
}

/** Indices of the first two sides: what a very small part is drawn as. */
export const TOP_AND_FRONT = 12;

/** The same shape with equal vertices stored once: without a graphics card each vertex costs. */
export function shared(shape: { positions: Float32Array; normals: Float32Array; skin: Float32Array }): Drawn {
  const known = new Map<string, number>();
  const count = shape.positions.length / 3;
  const index = new Uint32Array(count);
  const kept: number[] = [];
  for (let i = 0; i < count; i++) {
    const numbers = [...shape.positions.subarray(i * 3, i * 3 + 3), ...shape.normals.subarray(i * 3, i * 3 + 3), ...shape.skin.subarray(i * 2, i * 2 + 2)];
    const key = numbers.map((part) => part.toFixed(4)).join();
    const at = known.get(key) ?? kept.push(i) - 1;
    known.set(key, at);
    index[i] = at;
  }
  const pick = (from: Float32Array, width: number): Float32Array =>
    Float32Array.from({ length: kept.length * width }, (_, i) => from[kept[Math.floor(i / width)]! * width + (i % width)]!);
  return { positions: pick(shape.positions, 3), normals: pick(shape.normals, 3), skin: pick(shape.skin, 2), index };
}

/** Length of an array with four numbers for each of `count` parts, rounded up to whole rows of a texture. */
export const texels = (count: number): number => Math.ceil(Math.max(1, count) / ROW) * ROW * 4;

export class Merged {
  readonly mesh: Mesh<BufferGeometry, ShaderMaterial>;
  private readonly positions: Float32Array;
  private readonly normals: Float32Array;
  private readonly index: Uint32Array;
  private readonly first: Uint32Array;
  private readonly textures: DataTexture[];
  private used = 0;

  /** `pieces`: the shape of each part. `looks` and `signals` are shown as they are: r g b pattern of each part. */
  constructor(private readonly pieces: readonly Drawn[], looks: Looks, colours: Float32Array, signals: Float32Array) {
    const vertices = pieces.reduce((sum, piece) => sum + piece.positions.length / 3, 0);
    this.positions = new Float32Array(vertices * 3);
    this.normals = new Float32Array(vertices * 3);
    this.index = new Uint32Array(pieces.reduce((sum, piece) => sum + piece.index.length, 0));
    this.first = new Uint32Array(pieces.length);
    const skin = new Float32Array(vertices * 2);
    const owner = new Float32Array(vertices);
    let at = 0;
    pieces.forEach((piece, part) => {
      const count = piece.positions.length / 3;
      this.first[part] = at;
      skin.set(piece.skin, at * 2);
      owner.fill(part, at, at + count);
      at += count;
    });
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(this.positions, 3));
    geometry.setAttribute("normal", new BufferAttribute(this.normals, 3));
    geometry.setAttribute("aSkin", new BufferAttribute(skin, 2));
    geometry.setAttribute("aPart", new BufferAttribute(owner, 1));
    geometry.setIndex(new BufferAttribute(this.index, 1).setUsage(DynamicDrawUsage));
    this.textures = [colours, signals].map((array) => new DataTexture(array, ROW, array.length / 4 / ROW, RGBAFormat, FloatType));
    this.mesh = new Mesh(geometry, looks.merged(this.textures[0]!, this.textures[1]!));
    this.mesh.frustumCulled = false;
    this.recolour();
  }

  /** Puts a part where `matrix` (column-major) says. */
  place(part: number, matrix: ArrayLike<number>): void {
    const piece = this.pieces[part]!;
    const to = this.first[part]! * 3;
    const m = matrix;
    for (let i = 0; i < piece.positions.length; i += 3) {
      const [x, y, z] = [piece.positions[i]!, piece.positions[i + 1]!, piece.positions[i + 2]!];
      const [nx, ny, nz] = [piece.normals[i]!, piece.normals[i + 1]!, piece.normals[i + 2]!];
      const turned = [m[0]! * nx + m[4]! * ny + m[8]! * nz, m[1]! * nx + m[5]! * ny + m[9]! * nz, m[2]! * nx + m[6]! * ny + m[10]! * nz];
      const length = Math.hypot(turned[0]!, turned[1]!, turned[2]!) || 1;
      for (let row = 0; row < 3; row++) {
        this.positions[to + i + row] = m[row]! * x + m[4 + row]! * y + m[8 + row]! * z + m[12 + row]!;
        this.normals[to + i + row] = turned[row]! / length;
      }
    }
    for (const name of ["position", "normal"]) this.mesh.geometry.getAttribute(name).needsUpdate = true;
  }

  clear(): void {
    this.used = 0;
  }

  /** Draws a part, or only the first `most` of its indices. */
  show(part: number, most = Infinity): void {
    const { index } = this.pieces[part]!;
    const first = this.first[part]!;
    const count = Math.min(index.length, most);
    for (let i = 0; i < count; i++) this.index[this.used + i] = index[i]! + first;
    this.used += count;
  }

  upload(): void {
    this.mesh.visible = this.used > 0;
    this.mesh.geometry.setDrawRange(0, this.used);
    this.mesh.geometry.index!.needsUpdate = true;
    this.recolour();
  }

  recolour(): void {
    for (const texture of this.textures) texture.needsUpdate = true;
  }

  dispose(): void {
    this.mesh.geometry.dispose();
    this.mesh.material.dispose();
    for (const texture of this.textures) texture.dispose();
  }
}
