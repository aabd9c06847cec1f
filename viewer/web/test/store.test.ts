import { describe, expect, it } from "vitest";
import { humane } from "../src/store";
import { alert, plant, rul, SPINDLE, twin, value } from "./plant";

const change = (seq: number, values: ReturnType<typeof value>[], kind: "VALUES" | "STATE" | "DELETED" = "VALUES", dtId = "p/s") => ({ seq, kind, dtId, values });

describe("the store", () => {
  it("keeps the newest value whatever the order of arrival", () => {
    const store = plant(twin("p"), twin("p/s", { values: [value("t", 1, 10)] }));
    store.applyChange(change(12, [value("t", 3, 12)]));
    store.applyChange(change(11, [value("t", 2, 11)]));
    expect(store.twins.get("p/s")?.values.get("t")?.value).toBe(3);
    store.putTwins([twin("p/s", { seq: 9, values: [value("t", 0, 9)] })]);
    expect(store.twins.get("p/s")?.values.get("t")?.value).toBe(3);
  });

  it("tells which twins changed, once, and nothing for what it knew", () => {
    const store = plant(twin("p/s", { values: [value("t", 1, 10)] }));
    store.take();
    store.applyChange(change(10, [value("t", 1, 10)]));
    expect([...store.take().twins]).toEqual([]);
    store.applyChange(change(11, [value("t", 2, 11)]));
    expect([...store.take().twins]).toEqual(["p/s"]);
    expect([...store.take().twins]).toEqual([]);
  });

  it("asks to read a twin again that is new or changed in more than values", () => {
    const store = plant(twin("p/s"));
    expect(store.applyChange(change(20, [], "STATE"))).toBe(true);
    expect(store.applyChange(change(21, [value("t", 1, 21)]))).toBe(false);
    expect(store.applyChange(change(22, [], "STATE", "p/new"))).toBe(true);
  });

  it("keeps unit and symbol when events carry none", () => {
    const store = plant(twin("p/s", { values: [value("t", 1, 1, { unit: "degreeCelsius", symbol: "°C" })] }));
    store.applyChange(change(2, [value("t", 2, 2)]));
    expect(store.twins.get("p/s")?.values.get("t")).toMatchObject({ value: 2, symbol: "°C" });
  });

  it("drops what a complete snapshot no longer has", () => {
    const store = plant(twin("p"), twin("p/s"), twin("p/u"));
    store.finishSnapshot(new Set(["p", "p/s"]));
    expect([...store.twins.keys()]).toEqual(["p", "p/s"]);
    expect(store.twins.get("p")?.children).toEqual(["p/s"]);
  });

  it("deletes only by a newer event", () => {
    const store = plant(twin("p/s", { seq: 10 }));
    store.applyChange(change(9, [], "DELETED"));
    expect(store.twins.size).toBe(1);
    store.applyChange(change(11, [], "DELETED"));
    expect(store.twins.size).toBe(0);
  });

  it("keeps the newest estimate and alert", () => {
    const store = plant(twin("p/s"));
    store.putRul(rul("p/s", 9, 30));
    store.putRul(rul("p/s", 99, 29));
    expect(store.twins.get("p/s")).toMatchObject({ health: "D", rul: { rulDays: 9 } });
    store.putAlert(alert("p/s", { state: "ACKNOWLEDGED", seq: 8 }));
    store.putAlert(alert("p/s", { state: "RAISED", seq: 7 }));
    expect(store.alerts.get("a")?.state).toBe("ACKNOWLEDGED");
  });

  it("forgets alerts that a fresh snapshot no longer has, and the oldest that are over", () => {
    const store = plant(twin("p/s"));
    store.putAlert(alert("p/s"));
    store.keepStanding(new Set(["a"]));
    expect(store.alerts.size).toBe(1);
    store.keepStanding(new Set());
    expect(store.alerts.size).toBe(0);
    store.putAlert(alert("p/s"));
    for (let i = 0; i < 6_000; i++) store.putAlert(alert("p/s", { alertId: `c${i}`, state: "CLEARED" }));
    expect(store.alerts.size).toBeLessThanOrEqual(5_000);
    expect([store.alerts.has("a"), store.alerts.has("c0"), store.alerts.has("c5999")]).toEqual([true, false, true]);
  });

  it("finds the site, the way down and a short name", () => {
    const store = plant(twin("p", { name: "Plant" }), twin("p/m", { name: "CNC 1" }), twin("p/m/s", { name: "Spindle" }));
    expect(store.rootOf("p/m/s")).toBe("p");
    expect(store.shortName("p/m/s")).toBe("CNC 1 · Spindle");
    expect(store.shortName("p/m")).toBe("CNC 1");
  });

  it("knows subtypes and the labels that models give, inherited ones too", () => {
    const store = plant(twin("p/s"));
    const fields = [{ path: "speed", kind: "telemetry", schema: "double", unit: "", writable: false }];
    store.setModels([
      { modelId: "dtmi:x:Part;1", displayName: "Part", document: { contents: [{ name: "speed", displayName: { en: "Speed of it" } }] }, extends: [], fields },
      { modelId: SPINDLE, displayName: "Spindle", document: {}, extends: [{ modelId: "dtmi:x:Part;1" }], fields },
    ]);
    expect(store.isA(SPINDLE, "dtmi:x:Part;1")).toBe(true);
    expect(store.isA("dtmi:x:Part;1", SPINDLE)).toBe(false);
    expect(store.label(store.twins.get("p/s")!, "speed")).toBe("Speed of it");
    expect(humane("controller.feed_override")).toBe("Controller: feed override");
  });
});
