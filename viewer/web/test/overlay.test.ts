import { describe, expect, it } from "vitest";
import { BAD, liveView, Overlay, PALETTES, PLAIN, STALE } from "../src/overlay";
import type { WireAlert } from "../src/wire";
import { alert, plant, rul, rule, SPINDLE, twin, value } from "./plant";

const RULES = [
  rule({ name: "hot", value: "temperature", above: 75 }),
  rule({ name: "low", value: "rul_days", below: 30, unit: "d" }),
  rule({ name: "critical", value: "rul_days", below: 14, severity: "CRITICAL", unit: "d" }),
];

function look(one: Parameters<typeof twin>[1], alerts: WireAlert[] = [], mode: Overlay["mode"] = "condition") {
  const store = plant(twin("p/s", one));
  const overlay = new Overlay(store);
  overlay.setRules(RULES);
  overlay.mode = mode;
  const view = liveView(() => alerts);
  overlay.measure(view);
  const own = store.twins.get("p/s")!;
  return { ...overlay.assess(own, view), overlay };
}

const { critical, warning, low, high } = PALETTES.dark;

describe("the overlay", () => {
  it("leaves healthy parts neutral, without a badge", () => {
    const { look: found, badge } = look({ values: [value("temperature", 74.9, 1)], rul: rul("p/s", 30, 1) });
    expect(found).toEqual({ colour: null, pattern: PLAIN, rank: 0 });
    expect(badge).toBeNull();
  });

  it.each([
    ["a value above its limit", { values: [value("temperature", 75.1, 1, { symbol: "°C" })] }, warning, "75.1\u00a0°C"],
    ["life below the warning", { rul: rul("p/s", 29.9, 1) }, warning, "30\u00a0d left"],
    ["life below the critical limit, with the worst winning", { values: [value("temperature", 99, 1)], rul: rul("p/s", 8.6, 1) }, critical, "8.6\u00a0d left"],
  ])("colours %s and says it on a badge", (_what, one, colour, text) => {
    const found = look(one);
    expect(found.look.colour).toEqual(colour);
    expect(found.badge?.text).toBe(text);
  });

  it("colours by a standing alert even where the value is within limits again, and shows the value of now", () => {
    const { look: found, badge } = look({ values: [value("temperature", 72, 1)] }, [alert("p/s")]);
    expect(found.colour).toEqual(warning);
    expect(badge?.text).toContain("72.0");
  });

  it("applies a rule to subtypes of its model only", () => {
    const store = plant(twin("p/s", { modelId: "dtmi:x:Fast;1", values: [value("temperature", 90, 1)] }));
    const overlay = new Overlay(store);
    overlay.setRules(RULES);
    const own = store.twins.get("p/s")!;
    expect(overlay.assess(own, liveView(() => [])).look.rank).toBe(0);
    store.setModels([{ modelId: "dtmi:x:Fast;1", displayName: "", document: {}, extends: [{ modelId: SPINDLE }], fields: [] }]);
    overlay.setRules(RULES);
    expect(overlay.assess(own, liveView(() => [])).look.rank).toBe(2);
  });

  it("gives stale and bad quality patterns of their own", () => {
    expect(look({ stale: true }).look.pattern).toBe(STALE);
    expect(look({ stale: true, values: [value("temperature", 1, 1, { quality: "BAD" })] }).look.pattern).toBe(BAD);
    expect(look({ values: [value("other", 1, 1, { quality: "BAD" })] }, [], { path: "temperature" }).look.pattern).toBe(PLAIN);
  });

  it("uses one hue from low to high for a property without a rule", () => {
    const store = plant(twin("p/a", { values: [value("load", 10, 1)] }), twin("p/b", { values: [value("load", 90, 1)] }));
    const overlay = new Overlay(store);
    overlay.mode = { path: "load" };
    const view = liveView(() => []);
    overlay.measure(view);
    expect(overlay.assess(store.twins.get("p/a")!, view).look.colour).toEqual(low);
    expect(overlay.assess(store.twins.get("p/b")!, view).look.colour).toEqual(high);
    const legend = overlay.legend(() => "%", () => "Load");
    expect(legend).toMatchObject({ title: "Load", unit: "%", ramp: { from: "10.0", to: "90.0" } });
  });

  it("writes the rules' limits with units into the legend", () => {
    const { overlay } = look({});
    const texts = overlay.legend(() => "°C", String).entries.map((entry) => entry.text.replaceAll("\u00a0", " "));
    expect(texts.slice(0, 2)).toEqual(["Critical: < 14 d life", "Warning: > 75 °C, < 30 d life"]);
    overlay.mode = { path: "temperature" };
    expect(overlay.legend(() => "°C", String).entries[0]?.text.replaceAll("\u00a0", " ")).toBe("Above 75 °C");
  });
});
