import "./style.css";
import { App } from "./app";
import { byId } from "./dom";

function start(): App {
  try {
    return new App();
  } catch (error) {
    const note = byId("scene-note");
    note.hidden = false;
    note.textContent = "This browser gives the page no WebGL 2, which the picture needs: turn on its hardware acceleration, or use another.";
    throw error;
  }
}

const app = start();
app.start();

/** What scripts and tests may ask of the page; it changes nothing. */
const inspect = {
  pick: (x: number, y: number) => app.scene.pick(x, y),
  project: (twin: string, at = 0) => app.scene.project(twin, at),
  outline: (twin: string) => app.scene.outlineOf(twin),
  drawn: () => app.scene.drawn(),
  get frames() {
    return app.scene.frames;
  },
  get flying() {
    return app.scene.flying;
  },
  get software() {
    return app.scene.software;
  },
  get triangles() {
    return app.scene.triangles;
  },
  get selected() {
    return app.selected;
  },
  get state() {
    return app.feed.state.kind;
  },
  get seq() {
    return app.store.seq;
  },
  get problems() {
    return app.problems;
  },
  value: (twin: string, path: string) => app.store.twins.get(twin)?.values.get(path)?.value ?? null,
};

declare global {
  interface Window {
    twinloom: typeof inspect;
  }
}
window.twinloom = inspect;
