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
    const step = event.shiftKey ? null : 0.12;
    const done = (): void => {
      event.preventDefault();
      event.stopPropagation();
    };
    if (event.key === "ArrowLeft") done(), step ? scene.turn(-step, 0) : scene.pan(-1, 0);
    else if (event.key === "ArrowRight") done(), step ? scene.turn(step, 0) : scene.pan(1, 0);
    else if (event.key === "ArrowUp") done(), step ? scene.turn(0, step) : scene.pan(0, 1);
    else if (event.key === "ArrowDown") done(), step ? scene.turn(0, -step) : scene.pan(0, -1);
    else if (event.key === "+" || event.key === "=") done(), scene.zoom(0.85);
    else if (event.key === "-") done(), scene.zoom(1 / 0.85);
    else if (event.key === "Enter") done(), actions.pick(scene.pick(canvas.clientWidth / 2, canvas.clientHeight / 2));
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
