/** Mouse, touch and keys: on the canvas and over the whole page. */
import { byId } from "./dom";
import type { PlantScene } from "./scene";

export interface ControlActions {
  pick(twin: string | null): void;
  zoom(twin: string): void;
  hover(twin: string | null, x: number, y: number): void;
  /** 0 everything, n the nth site. */
  camera(preset: number): void;
  next(step: 1 | -1): void;
  live(): void;
  theme(): void;
  alerts(): void;
  back(): void;
}

const CLICK_PIXELS = 5;
const HOVER_MS = 70;
const STEP = 0.12;
const ZOOM = 0.85;

export function controlCanvas(canvas: HTMLCanvasElement, scene: PlantScene, actions: ControlActions): void {
  let down: { x: number; y: number } | null = null;
  let hovered = 0;
  const place = (event: MouseEvent): [number, number] => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    down = { x: event.clientX, y: event.clientY };
    actions.hover(null, 0, 0);
  });
  canvas.addEventListener("pointerup", (event) => {
    const still = down && Math.hypot(event.clientX - down.x, event.clientY - down.y) < CLICK_PIXELS;
    down = null;
    if (still && event.button === 0) actions.pick(scene.pick(...place(event)));
  });
  canvas.addEventListener("dblclick", (event) => {
    const twin = scene.pick(...place(event));
    if (twin) actions.zoom(twin);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (down || event.pointerType !== "mouse" || event.timeStamp - hovered < HOVER_MS) return;
    hovered = event.timeStamp;
    const [x, y] = place(event);
    actions.hover(scene.pick(x, y), x, y);
  });
  canvas.addEventListener("pointerleave", () => actions.hover(null, 0, 0));
  canvas.addEventListener("keydown", (event) => {
    const move = (right: number, up: number): void => (event.shiftKey ? scene.pan(right, up) : scene.turn(right * STEP, up * STEP));
    const keys: Record<string, () => void> = {
      ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, 1), ArrowDown: () => move(0, -1),
      "+": () => scene.zoom(ZOOM), "=": () => scene.zoom(ZOOM), "-": () => scene.zoom(1 / ZOOM),
      Enter: () => actions.pick(scene.pick(canvas.clientWidth / 2, canvas.clientHeight / 2)),
    };
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });
}

export function controlPage(actions: ControlActions): void {
  const help = byId<HTMLDialogElement>("help-dialog");
  byId("help").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    const at = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (at.matches("input[type=search], input[type=password], select") && event.key !== "Escape") return;
    const keys: Record<string, () => void> = {
      "/": () => byId("search").focus(), a: actions.alerts, n: () => actions.next(1), p: () => actions.next(-1), l: actions.live,
      t: actions.theme, "?": () => help.showModal(), Escape: actions.back,
    };
    const action = /^\d$/.test(event.key) ? () => actions.camera(Number(event.key)) : keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
