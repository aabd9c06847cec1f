/**
 * Reads the GLB container of glTF 2.0 (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html) as far as a plant needs
 * it: nodes, triangle meshes, base colours. It follows no address, decodes no image and allocates nothing that the file
 * does not itself contain, so a hostile file costs a sentence. What cannot be read is listed in `problems`.
 */
export interface Geometry {
  positions: Float32Array;
  normals: Float32Array | null;
  indices: Uint32Array | null;
  /** Lightness of the material, 0..1; the viewer paints bodies neutral. */
  tone: number;
  /** Lightness of each vertex's own colour; null where it has none. */
  tones: Float32Array | null;
  /** twinloom's own material number of each vertex (`_MATERIAL`); null in foreign files. */
  materials: Float32Array | null;
}

export interface SceneNode {
  name: string;
  twinId: string | null;
  /** twinloom's own `extras.role`: site, line, unit or component; empty in foreign files. */
  role: string;
  parent: number;
  /** World transform, column-major. */
  world: Float64Array;
  geometries: number[];
}

export interface GlbScene {
  geometries: Geometry[];
  nodes: SceneNode[];
  upAxis: "Y" | "Z";
  problems: string[];
}

type Dict = Record<string, unknown>;
const MAGIC = 0x46546c67;
const JSON_CHUNK = 0x4e4f534a;
const BIN_CHUNK = 0x004e4942;
const MOST_NODES = 1_000_000;

const list = (value: unknown): Dict[] => (Array.isArray(value) ? (value as Dict[]) : []);
const whole = (value: unknown, otherwise = -1): number => (Number.isInteger(value) && (value as number) >= 0 ? (value as number) : otherwise);

export function multiply(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const out = new Float64Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[k * 4 + row]! * b[column * 4 + k]!;
      out[column * 4 + row] = sum;
    }
  }
  return out;
}

export const identity = (): Float64Array => new Float64Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);

function numbers(value: unknown, length: number): number[] | null {
  return Array.isArray(value) && value.length === length && value.every((part) => Number.isFinite(part)) ? (value as number[]) : null;
}

/** Perceived lightness 0..1 of a linear colour. */
function lightness(red: number, green: number, blue: number): number {
  return Math.min(1, Math.max(0, 0.2126 * red + 0.7152 * green + 0.0722 * blue)) ** (1 / 2.2);
}

function localMatrix(node: Dict): Float64Array {
  const matrix = numbers(node["matrix"], 16);
  if (matrix) return Float64Array.from(matrix);
  const [tx, ty, tz] = numbers(node["translation"], 3) ?? [0, 0, 0];
  const [x, y, z, w] = numbers(node["rotation"], 4) ?? [0, 0, 0, 1];
  const [sx, sy, sz] = numbers(node["scale"], 3) ?? [1, 1, 1];
  return Float64Array.of(
    (1 - 2 * (y! * y! + z! * z!)) * sx!, 2 * (x! * y! + z! * w!) * sx!, 2 * (x! * z! - y! * w!) * sx!, 0,
    2 * (x! * y! - z! * w!) * sy!, (1 - 2 * (x! * x! + z! * z!)) * sy!, 2 * (y! * z! + x! * w!) * sy!, 0,
    2 * (x! * z! + y! * w!) * sz!, 2 * (y! * z! - x! * w!) * sz!, (1 - 2 * (x! * x! + y! * y!)) * sz!, 0,
    tx!, ty!, tz!, 1,
  );
}

class Reader {
  readonly problems: string[] = [];
  constructor(private readonly gltf: Dict, private readonly bin: DataView | null) {}

  /** The numbers of one accessor, or null with a problem noted. */
  accessor(index: number, width: number, orWidth = width): Float32Array | Uint32Array | null {
    const accessor = list(this.gltf["accessors"])[index];
    const view = accessor ? list(this.gltf["bufferViews"])[whole(accessor["bufferView"])] : undefined;
    if (!accessor || !view || accessor["sparse"] !== undefined) return this.problem(`accessor ${index} has no plain buffer view`);
    const buffer = list(this.gltf["buffers"])[whole(view["buffer"])];
    if (!this.bin || !buffer || buffer["uri"] !== undefined || whole(view["buffer"]) !== 0) {
      return this.problem(`accessor ${index} points outside the file; only the file's own data is read`);
    }
    const type = whole(accessor["componentType"]);
    const size = { 5121: 1, 5123: 2, 5125: 4, 5126: 4 }[type];
    const shape = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 }[String(accessor["type"])];
    if (!size || !shape || (shape !== width && shape !== orWidth)) return this.problem(`accessor ${index} has the unexpected type ${String(accessor["type"])}/${type}`);
    const count = whole(accessor["count"]);
    const stride = whole(view["byteStride"], size * shape);
    const start = whole(view["byteOffset"], 0) + whole(accessor["byteOffset"], 0);
    const end = start + (count - 1) * stride + size * shape;
    if (count < 1 || stride < size * shape || end > this.bin.byteLength) {
      return this.problem(`accessor ${index} claims ${count} elements, more than the file holds`);
    }
    const out = type === 5126 ? new Float32Array(count * width) : new Uint32Array(count * width);
    for (let i = 0; i < count; i++) {
      for (let k = 0; k < width; k++) {
        const at = start + i * stride + k * size;
        out[i * width + k] =
          type === 5126 ? this.bin.getFloat32(at, true)
          : type === 5125 ? this.bin.getUint32(at, true)
          : type === 5123 ? this.bin.getUint16(at, true)
          : this.bin.getUint8(at);
      }
    }
    return out;
  }

  primitive(primitive: Dict, mesh: string): Geometry | null {
    if (whole(primitive["mode"], 4) !== 4) return this.problem(`${mesh}: only triangles are drawn`);
    if ((primitive["extensions"] as Dict | undefined)?.["KHR_draco_mesh_compression"]) return this.problem(`${mesh}: Draco compression is not read`);
    const attributes = (primitive["attributes"] ?? {}) as Dict;
    const positions = this.accessor(whole(attributes["POSITION"]), 3);
    if (!(positions instanceof Float32Array)) return this.problem(`${mesh} has no readable positions`);
    const normals = attributes["NORMAL"] === undefined ? null : this.accessor(whole(attributes["NORMAL"]), 3);
    let indices: Float32Array | Uint32Array | null = null;
    if (primitive["indices"] !== undefined) {
      indices = this.accessor(whole(primitive["indices"]), 1);
      if (!(indices instanceof Uint32Array)) return null;
      const most = positions.length / 3;
      if (indices.some((index) => index >= most)) return this.problem(`${mesh} has an index beyond its ${most} vertices`);
    }
    const material = list(this.gltf["materials"])[whole(primitive["material"])];
    const base = (material?.["pbrMetallicRoughness"] as Dict | undefined)?.["baseColorFactor"];
    const rgba = numbers(base, 4) ?? [0.6, 0.6, 0.6, 1];
    const vertices = positions.length / 3;
    const own = attributes["_MATERIAL"] === undefined ? null : this.accessor(whole(attributes["_MATERIAL"]), 1);
    return {
      positions,
      normals: normals instanceof Float32Array && normals.length === positions.length ? normals : null,
      indices: indices as Uint32Array | null,
      tone: lightness(rgba[0]!, rgba[1]!, rgba[2]!),
      tones: attributes["COLOR_0"] === undefined ? null : this.tones(whole(attributes["COLOR_0"]), vertices),
      materials: own instanceof Float32Array && own.length === vertices ? own : null,
    };
  }

  /** Lightness by vertex from COLOR_0 (three or four components, float or normalised). */
  private tones(index: number, vertices: number): Float32Array | null {
    const colours = this.accessor(index, 3, 4);
    if (!colours) return null;
    const width = colours.length / vertices;
    if (width !== 3 && width !== 4) return this.problem(`accessor ${index} has not one colour a vertex`);
    const type = list(this.gltf["accessors"])[index]?.["componentType"];
    const full = type === 5121 ? 255 : type === 5123 ? 65_535 : 1;
    const out = new Float32Array(vertices);
    for (let i = 0; i < vertices; i++) {
      out[i] = lightness(colours[i * width]! / full, colours[i * width + 1]! / full, colours[i * width + 2]! / full);
    }
    return out;
  }

  problem(text: string): null {
    if (this.problems.length < 50) this.problems.push(text);
    return null;
  }
}

/** The scene in the file; throws an Error with one sentence where it is no GLB at all. */
export function readGlb(data: ArrayBuffer): GlbScene {
  const view = new DataView(data);
  if (data.byteLength < 20 || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 2) {
    throw new Error("The scene is not a GLB 2 file.");
  }
  let gltf: Dict | null = null;
  let bin: DataView | null = null;
  for (let at = 12; at + 8 <= data.byteLength; ) {
    const length = view.getUint32(at, true);
    const kind = view.getUint32(at + 4, true);
    if (at + 8 + length > data.byteLength) throw new Error("The scene file is cut off.");
    if (kind === JSON_CHUNK && !gltf) {
      try {
        gltf = JSON.parse(new TextDecoder().decode(new Uint8Array(data, at + 8, length))) as Dict;
      } catch {
        throw new Error("The scene file's JSON part cannot be read.");
      }
    } else if (kind === BIN_CHUNK && !bin) bin = new DataView(data, at + 8, length);
    at += 8 + length + ((4 - (length % 4)) % 4);
  }
  if (!gltf) throw new Error("The scene file has no JSON part.");
  const reader = new Reader(gltf, bin);
  const geometries: Geometry[] = [];
  const meshes = list(gltf["meshes"]).map((mesh, index) => {
    const name = typeof mesh["name"] === "string" ? `mesh "${mesh["name"]}"` : `mesh ${index}`;
    const own: number[] = [];
    for (const primitive of list(mesh["primitives"])) {
      const geometry = reader.primitive(primitive, name);
      if (geometry) own.push(geometries.push(geometry) - 1);
    }
    return own;
  });
  const extras = ((gltf["asset"] as Dict | undefined)?.["extras"] ?? {}) as Dict;
  const upAxis = String(extras["upAxis"] ?? "Y").toUpperCase() === "Z" ? "Z" : "Y";
  return { geometries, nodes: readNodes(gltf, meshes, reader), upAxis, problems: reader.problems };
}

function readNodes(gltf: Dict, meshes: number[][], reader: Reader): SceneNode[] {
  const source = list(gltf["nodes"]);
  const scenes = list(gltf["scenes"]);
  const scene = scenes[whole(gltf["scene"], 0)];
  const children = new Set(source.flatMap((node) => (Array.isArray(node["children"]) ? (node["children"] as number[]) : [])));
  const roots = scene ? (scene["nodes"] as number[] | undefined) ?? [] : source.map((_, i) => i).filter((i) => !children.has(i));
  const nodes: SceneNode[] = [];
  const visited = new Set<number>();
  const stack = [...roots].reverse().map((index) => ({ index, parent: -1 }));
  while (stack.length > 0 && nodes.length < MOST_NODES) {
    const { index, parent } = stack.pop()!;
    const node = source[index];
    if (!node) continue;
    if (visited.has(index)) {
      reader.problem(`node ${index} is reached twice; a scene is a tree`);
      continue;
    }
    visited.add(index);
    const local = localMatrix(node);
    const { twinId, role } = (node["extras"] ?? {}) as Dict;
    const made = nodes.push({
      name: typeof node["name"] === "string" ? node["name"] : "",
      twinId: typeof twinId === "string" ? twinId : null,
      role: typeof role === "string" ? role : "",
      parent,
      world: parent < 0 ? local : multiply(nodes[parent]!.world, local),
      geometries: meshes[whole(node["mesh"])] ?? [],
    });
    const below = Array.isArray(node["children"]) ? (node["children"] as number[]) : [];
    for (const child of [...below].reverse()) stack.push({ index: child, parent: made - 1 });
  }
  return nodes;
}
