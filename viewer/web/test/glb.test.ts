import { describe, expect, it } from "vitest";
import { readGlb } from "../src/glb";
import { planFromGlb, planFromPlacements, worldBox } from "../src/parts";
import { plant, twin } from "./plant";

/** A GLB of the given JSON and numbers. */
function glb(gltf: object, floats: number[] = []): ArrayBuffer {
  const text = new TextEncoder().encode(JSON.stringify({ asset: { version: "2.0" }, ...gltf }));
  const json = text.length + ((4 - (text.length % 4)) % 4);
  const bin = floats.length * 4;
  const data = new ArrayBuffer(12 + 8 + json + 8 + bin);
  const view = new DataView(data);
  new Uint8Array(data).fill(32, 20, 20 + json);
  [0x46546c67, 2, data.byteLength, json, 0x4e4f534a].forEach((word, i) => view.setUint32(i * 4, word, true));
  new Uint8Array(data).set(text, 20);
  view.setUint32(20 + json, bin, true);
  view.setUint32(24 + json, 0x004e4942, true);
  floats.forEach((float, i) => view.setFloat32(28 + json + i * 4, float, true));
  return data;
}

const TRIANGLE = {
  scenes: [{ nodes: [0] }], nodes: [{ name: "p", children: [1] }, { name: "shape", extras: { twinId: "p/s" }, mesh: 0, translation: [0, 2, 0] }],
  meshes: [{ primitives: [{ attributes: { POSITION: 0 } }] }], buffers: [{ byteLength: 36 }], bufferViews: [{ buffer: 0, byteLength: 36 }],
  accessors: [{ bufferView: 0, componentType: 5126, count: 3, type: "VEC3" }],
};
const CORNERS = [0, 0, 0, 1, 0, 0, 0, 1, 0];

describe("a GLB", () => {
  it("becomes parts by twin id, turned from y up to z up", () => {
    const store = plant(twin("p"), twin("p/s"));
    const plan = planFromGlb(readGlb(glb(TRIANGLE, CORNERS)), store);
    expect(plan.problems).toEqual([]);
    expect(plan.parts.map(({ twin, root }) => [twin, root])).toEqual([["p/s", "p"]]);
    expect(worldBox(plan.parts[0]!, plan.shapes[0]!)).toEqual({ low: [0, 0, 2], high: [1, 0, 3] });
    const upright = { ...TRIANGLE, asset: { version: "2.0", extras: { upAxis: "Z" } } };
    expect(worldBox(planFromGlb(readGlb(glb(upright, CORNERS)), store).parts[0]!, plan.shapes[0]!).low).toEqual([0, 2, 0]);
  });

  it("names what has no twin and what has no geometry", () => {
    const store = plant(twin("p"), twin("p/t"));
    const plan = planFromGlb(readGlb(glb(TRIANGLE, CORNERS)), store);
    expect(plan.problems).toEqual(["Scene node p/s matches no twin.", "p/t has no geometry in the scene."]);
    expect(plan.parts[0]?.twin).toBe("p");
  });

  it.each([
    ["an accessor without data", { accessors: [{ componentType: 5126, count: 1e9, type: "VEC3" }] }, /no plain buffer view/],
    ["a count beyond the file", { accessors: [{ bufferView: 0, componentType: 5126, count: 1e9, type: "VEC3" }] }, /more than the file holds/],
    ["an address", { buffers: [{ byteLength: 36, uri: "http://example.com/x.bin" }] }, /outside the file/],
    ["nodes in a circle", { nodes: [{ name: "p", children: [1] }, { mesh: 0, children: [0] }] }, /reached twice/],
    ["points instead of triangles", { meshes: [{ primitives: [{ mode: 0, attributes: { POSITION: 0 } }] }] }, /only triangles/],
    ["a missing mesh", { meshes: [] }, undefined],
  ])("with %s is reported and the rest is drawn", (_what, broken, problem) => {
    const scene = readGlb(glb({ ...TRIANGLE, ...broken }, CORNERS));
    expect(scene.nodes.length).toBe(2);
    if (problem) expect(scene.problems.join("\n")).toMatch(problem);
  });

  it.each([["nothing", new ArrayBuffer(0)], ["other bytes", new ArrayBuffer(64)]])("of %s is refused in a sentence", (_what, data) => {
    expect(() => readGlb(data)).toThrow("The scene is not a GLB 2 file.");
  });

  it("that is cut off is refused", () => {
    expect(() => readGlb(glb(TRIANGLE, CORNERS).slice(0, -8))).toThrow("The scene file is cut off.");
  });
});

it("twins without a scene stand as boxes where their placements say", () => {
  const placement = (x: number, heading = 0) => ({ placement: { x, y: 0, z: 1, heading } });
  const store = plant(twin("p", { properties: placement(10, 90) }), twin("p/m", { properties: placement(5) }), twin("p/m/s", { properties: placement(1) }));
  const plan = planFromPlacements(store);
  const part = plan.parts.find((one) => one.twin === "p/m/s")!;
  const { low, high } = worldBox(part, plan.shapes[part.shape]!);
  expect(low.map((edge, k) => (edge + high[k]!) / 2)).toEqual([10, 6, 3.35].map((number) => expect.closeTo(number, 5)));
  expect(new Set(plan.parts.map((one) => one.twin))).toEqual(new Set(["p", "p/m", "p/m/s"]));
});
