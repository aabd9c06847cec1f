import { describe, expect, it } from "vitest";
import { clock, days, moment, number, plain, span, withUnit } from "../src/format";
import { Past, standingAt, valueAt } from "../src/history";
import { pack } from "../src/layout";
import { append } from "../src/panels/values";
import { inOrder, messageOf } from "../src/panels/alerts";
import { find } from "../src/panels/search";
import { boxShape } from "../src/parts";
import { inverse, meetBox, meetParts, meetShape } from "../src/pick";
import { rangeOf, runs, type Sample } from "../src/plot";
import { alert, plant, twin } from "./plant";

const sample = (t: number, value: number | null): Sample => ({ t, value, min: value, max: value });

describe("texts", () => {
  it.each([[0, "0.000"], [0.1234, "0.123"], [4.567, "4.57"], [45.67, "45.7"], [456.7, "457"], [8111, "8111"], [41234, "41\u2009234"], [1234567, "1\u2009234\u2009567"], [2.5e-5, "2.50e-5"], [-12.34, "-12.3"], [Number.NaN, "–"], [null, "–"]])("number %s reads %s", (value, text) => expect(number(value)).toBe(text));
  it("carry units, spans and values", () => {
    expect([withUnit(4.5, "mm/s"), withUnit(null, "mm/s"), days(8.64), days(103.2)]).toEqual(["4.50\u00a0mm/s", "–", "8.6\u00a0d", "103\u00a0d"]);
    expect([42_000, 300_000, 7_200_000, 172_800_000].map(span)).toEqual(["42 s", "5 min", "2 h", "2 d"]);
    expect(plain({ x: 1, on: true, list: [null, "a"] })).toBe("x 1.00, on yes, list –, a");
  });
  it("show the date for other days only", () => {
    const noon = new Date(2026, 4, 5, 12, 3, 4).getTime();
    expect([clock(noon), moment(noon, noon + 1000), moment(noon, noon + 86_400_000)]).toEqual(["12:03:04", "12:03:04", "2026-05-05 12:03:04"]);
  });
});

describe("history", () => {
  it("gives the value that held, and nothing where none is near", () => {
    const samples = [sample(1_000, 1), sample(3_000, 3)];
    expect([500, 2_500, 3_000, 64_000, 0].map((t) => valueAt(samples, t, 1000))).toEqual([1, 3, 3, null, null]);
  });
  it("knows which alerts stood", () => {
    const raised = Date.parse("2026-01-01T00:00:10Z");
    const cleared = alert("p/s", { clearedAt: "2026-01-01T00:01:00Z", state: "CLEARED" });
    const count = (t: number) => standingAt([cleared], t).get("p/s")?.length ?? 0;
    expect([raised - 1, raised, raised + 49_000, raised + 50_000].map(count)).toEqual([0, 1, 1, 0]);
  });
  it("is a view of one moment", () => {
    const past = new Past();
    const store = plant(twin("p/s"));
    past.put([{ twin: "p/s", path: "rul_days", samples: [sample(10_000, 9)], bucketMs: 1000 }]);
    past.at(10_200, [alert("p/s", { raisedAt: "1970-01-01T00:00:05Z" })]);
    const own = store.twins.get("p/s")!;
    expect([past.rul(own), past.number(own, "other"), past.alerts("p/s").length]).toEqual([9, null, 1]);
  });
  it("grows by buckets, not by events", () => {
    const samples: Sample[] = [];
    for (let i = 0; i < 100; i++) append(samples, i * 100, i % 7, 5000);
    expect(samples.length).toBe(2);
    expect(samples[0]).toMatchObject({ min: 0, max: 6 });
  });
  it("is drawn in runs without holes, with limits where they are near", () => {
    expect(runs([sample(0, 1), sample(1, 2), sample(50, 1), sample(51, null), sample(52, 1)], 10).map((run) => run.length)).toEqual([2, 1, 1]);
    const [low, high] = rangeOf([sample(0, 60), sample(1, 70)], [75, 500]);
    expect(low < 60 && high > 75 && high < 80).toBe(true);
  });
});

describe("layout", () => {
  const site = (left: number) => ({ left, bottom: 0, width: 40, depth: 20 });
  const lower = (moves: [number, number][]) => moves.map(([x, y], i) => [[0, 45, 90][i]! + x, y]);
  it("stands sites in a row in a wide window, in a column in a high one", () => {
    const sites = [site(0), site(45), site(90)];
    expect(lower(pack(sites, 6, 5))).toEqual([[0, 0], [45, 0], [90, 0]]);
    expect(lower(pack(sites, 0.6, 5))).toEqual([[0, 0], [0, 25], [0, 50]]);
  });
  it("never lets sites overlap", () => {
    const sites = Array.from({ length: 23 }, (_, i) => ({ left: i * 7, bottom: -i, width: 10 + (i % 5) * 9, depth: 5 + (i % 3) * 11 }));
    for (const aspect of [0.3, 1, 4]) {
      const placed = pack(sites, aspect, 3).map(([dx, dy], i) => ({ x: sites[i]!.left + dx, y: sites[i]!.bottom + dy, w: sites[i]!.width, d: sites[i]!.depth }));
      for (const a of placed) for (const b of placed) if (a !== b) expect(a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.d && b.y < a.y + a.d).toBe(false);
    }
  });
});

describe("picking", () => {
  const shape = boxShape([-1, -1, -1], [1, 1, 1]);
  const at = (x: number, turn = 0) => Float64Array.of(Math.cos(turn), Math.sin(turn), 0, 0, -Math.sin(turn), Math.cos(turn), 0, 0, 0, 0, 1, 0, x, 0, 0, 1);
  it("meets boxes and triangles at the same distance", () => {
    expect(meetBox([-5, 0.2, 0.3], [1, 0, 0], shape.low, shape.high)).toBe(4);
    expect(meetShape([-5, 0.2, 0.3], [1, 0, 0], shape.positions)).toBeCloseTo(4);
    expect(meetBox([-5, 2, 0], [1, 0, 0], shape.low, shape.high)).toBeNull();
    expect(meetShape([-5, 2, 0], [1, 0, 0], shape.positions)).toBeNull();
  });
  it("finds the nearest part first, turned ones too", () => {
    const matrices = [at(10, 0.4), at(3, 0.7)];
    const parts = matrices.map((matrix, i) => ({ twin: String(i), root: "", shape: 0, floor: false, matrix }));
    const hits = meetParts([-5, 0, 0], [1, 0, 0], parts, matrices.map(inverse), [shape], () => false);
    expect(hits.map(([part]) => part)).toEqual([1, 0]);
    expect(hits[0]![1]).toBeCloseTo(8 - 1 / Math.cos(0.7));
  });
});

describe("lists", () => {
  it("put the critical, unacknowledged, newest alert first", () => {
    const list = [
      alert("1", { raisedAt: "2026-01-01T00:00:01Z" }), alert("2", { raisedAt: "2026-01-01T00:00:02Z" }),
      alert("3", { severity: "CRITICAL", state: "ACKNOWLEDGED" }), alert("4", { severity: "CRITICAL" }),
    ];
    expect(inOrder(list).map((one) => one.dtId)).toEqual(["4", "3", "2", "1"]);
    expect(messageOf(alert("p/s", { message: "p/s: bearing hot" }))).toBe("Bearing hot");
  });
  it("find twins by words of name and id, best first", () => {
    const store = plant(twin("derby", { name: "Derby" }), twin("derby/cnc-44", { name: "CNC 44", modelId: "dtmi:x:Machine;1" }), twin("derby/cnc-44/spindle", { name: "Spindle" }), twin("derby/cnc-4/spindle", { name: "Spindle" }));
    expect(find(store, "derby 44 spin").map((one) => one.id)).toEqual(["derby/cnc-44/spindle"]);
    expect(find(store, "cnc 44")[0]?.id).toBe("derby/cnc-44");
    expect(find(store, "  ")).toEqual([]);
    expect(find(store, "nothing")).toEqual([]);
  });
});
