/**
 * The 3D view: camera, drawing on demand, picking, projecting. It knows parts and looks, not what they mean. One module
 * because all of it moves the same camera; geometry, colours, fitting and picking are pure modules beside it.
 */
import {
  Box3, BufferAttribute, BufferGeometry, Frustum, LineBasicMaterial, LineSegments, Matrix4, PerspectiveCamera, Scene, Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { fitted } from "./fit";
import { Instances } from "./instances";
import { pack } from "./layout";
import type { Look } from "./overlay";
import { type Part, type Plan, worldBox } from "./parts";
import { inverse, meetParts, type Vector } from "./pick";
import { GROUNDS, Looks } from "./shader";
import { rendersInSoftware, Smooth } from "./smooth";

const FIELD_OF_VIEW = 26;
const SITE_GAP_M = 8;
const FLIGHT_MS = 420;
/** From where the plant is looked at first: from the operators' side, above and a little from the left. */
const HOME = new Vector3(-0.24, -0.95, 0.82).normalize();
const REST_MS = 400;

export interface Spot {
  x: number;
  y: number;
  /** Height in pixels of one metre there. */
  metre: number;
  ahead: boolean;
}

export class PlantScene {
  readonly software: boolean;
  frames = 0;
  private readonly renderer: WebGLRenderer;
  private readonly smooth: Smooth | null;
  private resting = 0;
  private readonly scene = new Scene();
  private readonly camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.1, 5_000);
  private readonly controls: OrbitControls;
  private readonly looks = new Looks();
  private readonly outline: LineSegments<BufferGeometry, LineBasicMaterial>;
  private instances: Instances | null = null;
  private plan: Plan = { shapes: [], parts: [], problems: [] };
  private inverses: Float64Array[] = [];
  private readonly partsOf = new Map<string, number[]>();
  private readonly boxes = new Map<string, Box3>();
  private children: (id: string) => readonly string[] = () => [];
  private requested = 0;
  private moved = true;
  private flight = 0;
  private aspect = 1;
  private selected: string | null = null;
  private waiting: ((at: number) => void)[] = [];
  fitted: { kind: "all" } | { kind: "twin"; id: string } | null = { kind: "all" };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly on: { frame(): void },
  ) {
    this.software = rendersInSoftware();
    this.renderer = new WebGLRenderer({ canvas, antialias: !this.software, powerPreference: "high-performance" });
    // Asking a shader for its log waits for the compiler; the shaders are ours and tested.
    this.renderer.debug.checkShaderErrors = false;
    this.smooth = this.software ? new Smooth(this.renderer) : null;
    this.camera.up.set(0, 0, 1);
    this.camera.position.copy(HOME).multiplyScalar(60);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = false;
    this.controls.maxPolarAngle = Math.PI * 0.49;
    this.controls.zoomToCursor = true;
    this.controls.screenSpacePanning = false;
    this.controls.addEventListener("change", () => this.cameraMoved());
    this.controls.addEventListener("start", () => {
      this.fitted = null;
      this.stopFlight();
    });
    this.outline = new LineSegments(new BufferGeometry(), new LineBasicMaterial({ depthTest: false, transparent: true }));
    this.outline.renderOrder = 20;
    this.outline.frustumCulled = false;
    this.outline.visible = false;
    this.scene.add(this.outline);
    canvas.addEventListener("webglcontextrestored", () => this.invalidate());
  }

  setTheme(theme: "dark" | "light"): void {
    const ground = GROUNDS[theme];
    this.looks.paint(ground);
    this.renderer.setClearColor(ground.back, 1);
    this.smooth?.setGround(ground.back);
    this.outline.material.color.set(theme === "dark" ? "#ffffff" : "#0b1f33");
    this.invalidate();
  }

  setStale(stale: boolean): void {
    this.looks.stale(stale);
    this.invalidate();
  }

  /** A new plan: everything is built anew, the camera stays where a reader has put it. */
  setPlan(plan: Plan, children: (id: string) => readonly string[]): void {
    if (this.instances) {
      this.scene.remove(this.instances.group);
      this.instances.dispose();
    }
    this.plan = plan;
    this.children = children;
    this.partsOf.clear();
    plan.parts.forEach((part, i) => {
      const own = this.partsOf.get(part.twin);
      if (own) own.push(i);
      else this.partsOf.set(part.twin, [i]);
    });
    this.instances = new Instances(plan, this.looks, this.software, (id) => children(id).length > 0);
    this.scene.add(this.instances.group);
    this.arrangeSites();
    this.refit(false);
    this.invalidate();
  }

  get triangles(): number {
    return this.plan.parts.reduce((sum, part) => sum + this.plan.shapes[part.shape]!.triangles, 0);
  }

  has(id: string): boolean {
    return this.partsOf.has(id);
  }

  setLook(id: string, look: Look, signal: Look): void {
    const instances = this.instances;
    for (const part of this.partsOf.get(id) ?? []) {
      if (!instances) return;
      const { looks, signals, ranks } = instances;
      const at = part * 4;
      const [r, g, b] = look.colour ?? [-1, 0, 0];
      const [sr, sg, sb] = signal.colour ?? [-1, 0, 0];
      const same = Math.fround(r) === looks[at] && Math.fround(g) === looks[at + 1] && Math.fround(b) === looks[at + 2] && looks[at + 3] === look.pattern &&
        ranks[part] === look.rank && signals[at] === Math.fround(sr) && signals[at + 1] === Math.fround(sg);
      if (same) continue;
      looks.set([r, g, b, look.pattern], at);
      signals.set([sr, sg, sb, 0], at);
      ranks[part] = look.rank;
      if (instances.touch(part)) this.moved = true;
      this.invalidate();
    }
  }

  select(id: string | null): void {
    this.selected = id;
    this.drawOutline();
    this.invalidate();
  }

  resize(width: number, height: number): void {
    if (width < 1 || height < 1) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, this.software ? 1 : 2));
    this.renderer.setSize(width, height, false);
    const aspect = width / height;
    this.camera.aspect = aspect;
    this.camera.updateProjectionMatrix();
    if (Math.abs(Math.log(aspect / this.aspect)) > 0.05) {
      this.aspect = aspect;
      this.arrangeSites();
    }
    this.refit(false);
    this.cameraMoved();
  }

  /** Shows a twin with all that it contains; a component is shown in its machine. */
  show(id: string, animate = true): void {
    const box = this.boxOf(id);
    if (!box) return;
    this.fitted = { kind: "twin", id };
    const grown = box.clone();
    if (this.children(id).length === 0) grown.expandByVector(box.getSize(new Vector3()).multiplyScalar(0.9));
    this.fit([grown], animate);
  }

  showAll(animate = true): void {
    this.fitted = { kind: "all" };
    this.fit([...this.boxes.values()], animate);
  }

  turn(right: number, up: number): void {
    this.fitted = null;
    const offset = this.camera.position.clone().sub(this.controls.target);
    offset.applyAxisAngle(new Vector3(0, 0, 1), -right);
    const side = new Vector3().crossVectors(new Vector3(0, 0, 1), offset).normalize();
    const lifted = offset.clone().applyAxisAngle(side, -up);
    const steep = lifted.angleTo(new Vector3(0, 0, 1));
    if (steep > 0.06 && steep < Math.PI * 0.49) offset.copy(lifted);
    this.camera.position.copy(this.controls.target).add(offset);
    this.controls.update();
    this.cameraMoved();
  }

  pan(right: number, forward: number): void {
    this.fitted = null;
    const offset = this.camera.position.clone().sub(this.controls.target);
    const ahead = new Vector3(-offset.x, -offset.y, 0).normalize();
    const side = new Vector3(ahead.y, -ahead.x, 0);
    const step = side.multiplyScalar(right).add(ahead.multiplyScalar(forward)).multiplyScalar(offset.length() * 0.1);
    this.camera.position.add(step);
    this.controls.target.add(step);
    this.controls.update();
    this.cameraMoved();
  }

  zoom(factor: number): void {
    this.fitted = null;
    const offset = this.camera.position.clone().sub(this.controls.target).multiplyScalar(factor);
    if (offset.length() < 0.8) return;
    this.camera.position.copy(this.controls.target).add(offset);
    this.controls.update();
    this.cameraMoved();
  }

  /** CSS pixels (from the canvas' corner) of the top of a twin. `at`: 0 its centre, 1 its top. */
  project(id: string, at = 1): Spot | null {
    const box = this.boxOf(id);
    if (!box) return null;
    const point = box.getCenter(new Vector3());
    point.z += (box.max.z - point.z) * at;
    const distance = point.clone().sub(this.camera.position).dot(this.camera.getWorldDirection(new Vector3()));
    const ndc = point.project(this.camera);
    const { clientWidth, clientHeight } = this.canvas;
    return {
      x: ((ndc.x + 1) / 2) * clientWidth, y: ((1 - ndc.y) / 2) * clientHeight,
      metre: this.metreAt(distance), ahead: distance > 0,
    };
  }

  private metreAt(distance: number): number {
    return this.canvas.clientHeight / (2 * Math.tan((FIELD_OF_VIEW * Math.PI) / 360) * Math.max(distance, 0.01));
  }

  /** Where the front corner of a site's or line's floor is, for its name. */
  projectCorner(id: string): Spot | null {
    const box = this.boxOf(id);
    if (!box) return null;
    const corner = new Vector3(box.min.x, box.min.y, box.min.z);
    const distance = corner.clone().sub(this.camera.position).dot(this.camera.getWorldDirection(new Vector3()));
    const ndc = corner.project(this.camera);
    const { clientWidth, clientHeight } = this.canvas;
    return {
      x: ((ndc.x + 1) / 2) * clientWidth, y: ((1 - ndc.y) / 2) * clientHeight, metre: this.metreAt(distance), ahead: distance > 0,
    };
  }

  /** Box of a twin on the canvas in CSS pixels. */
  outlineOf(id: string): { left: number; top: number; right: number; bottom: number } | null {
    const box = this.boxOf(id);
    if (!box) return null;
    const rect = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    for (let i = 0; i < 8; i++) {
      const p = new Vector3(i & 1 ? box.max.x : box.min.x, i & 2 ? box.max.y : box.min.y, i & 4 ? box.max.z : box.min.z).project(this.camera);
      const x = ((p.x + 1) / 2) * this.canvas.clientWidth;
      const y = ((1 - p.y) / 2) * this.canvas.clientHeight;
      rect.left = Math.min(rect.left, x);
      rect.right = Math.max(rect.right, x);
      rect.top = Math.min(rect.top, y);
      rect.bottom = Math.max(rect.bottom, y);
    }
    return rect;
  }

  /** The twin at a place on the canvas (CSS pixels); an exception wins over the healthy housing that hides it. */
  pick(x: number, y: number): string | null {
    if (!this.instances) return null;
    this.camera.updateMatrixWorld();
    const origin = this.camera.position;
    const far = new Vector3((x / this.canvas.clientWidth) * 2 - 1, 1 - (y / this.canvas.clientHeight) * 2, 0.5).unproject(this.camera);
    const ray = far.sub(origin).normalize();
    const hits = meetParts([origin.x, origin.y, origin.z], [ray.x, ray.y, ray.z] as Vector, this.placedParts(), this.inverses, this.plan.shapes, (i) => this.instances!.coarse[i] === 1);
    const named = hits.map(([i]) => ({ part: this.plan.parts[i]!, rank: this.instances!.ranks[i]! })).filter(({ part }) => part.twin !== "");
    const first = named[0];
    if (!first) return null;
    const inside = named.find(({ part, rank }) => rank >= 2 && rank > first.rank && this.children(first.part.twin).includes(part.twin));
    return (inside ?? first).part.twin;
  }

  /** Resolves with the time at which the next picture is complete on the graphics card. */
  drawn(): Promise<number> {
    this.invalidate();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  invalidate(): void {
    if (this.requested === 0) this.requested = requestAnimationFrame((now) => this.draw(now));
  }

  private placedParts(): readonly Part[] {
    return this.plan.parts;
  }

  private cameraMoved(): void {
    this.moved = true;
    this.invalidate();
  }

  private draw(now: number): void {
    this.requested = 0;
    this.fly(now);
    if (this.moved) {
      this.moved = false;
      this.arrange();
    } else {
      this.instances?.flush();
    }
    this.renderer.render(this.scene, this.camera);
    this.frames++;
    this.on.frame();
    this.rest();
    if (this.waiting.length > 0) {
      const gl = this.renderer.getContext();
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
      const at = performance.now();
      for (const done of this.waiting.splice(0)) done(at);
    }
  }

  /** Without a graphics card smooth edges cost more than the picture itself: they come once nothing has moved for a while. */
  private rest(): void {
    clearTimeout(this.resting);
    const { smooth } = this;
    if (!smooth) return;
    this.resting = window.setTimeout(() => {
      if (this.requested === 0) smooth.draw(this.scene, this.camera);
    }, REST_MS);
  }

  private arrange(): void {
    this.camera.updateMatrixWorld();
    const { x, y, z } = this.camera.position;
    const frustum = new Frustum().setFromProjectionMatrix(new Matrix4().multiplyMatrices(this.camera.projectionMatrix, this.camera.matrixWorldInverse));
    const pixels = this.canvas.clientHeight / (2 * Math.tan((FIELD_OF_VIEW * Math.PI) / 360));
    this.instances?.arrange({ x, y, z, pixels, planes: frustum.planes });
  }

  /** Sites stand as far apart on the screen as suits the window: their own places say only where in the world they are. */
  private arrangeSites(): void {
    if (!this.instances) return;
    const boxes = new Map<string, Box3>();
    this.boxes.clear();
    const local = this.plan.parts.map((part) => {
      const { low, high } = worldBox(part, this.plan.shapes[part.shape]!);
      const box = new Box3(new Vector3(...low), new Vector3(...high));
      boxes.set(part.root, (boxes.get(part.root) ?? new Box3()).union(box));
      return box;
    });
    const roots = [...boxes.keys()].filter((root) => root !== "");
    const rectangles = roots.map((root) => {
      const { min, max } = boxes.get(root)!;
      return { left: min.x, bottom: min.y, width: max.x - min.x, depth: max.y - min.y };
    });
    const foreshortening = HOME.z;
    const shifts = roots.length > 1 ? pack(rectangles, this.aspect * foreshortening, SITE_GAP_M) : roots.map((): [number, number] => [0, 0]);
    const offsets = new Map(roots.map((root, i) => [root, shifts[i]!]));
    const offsetOf = (root: string): readonly [number, number] => offsets.get(root) ?? [0, 0];
    this.instances.place(offsetOf);
    this.plan.parts.forEach((part, i) => {
      const [dx, dy] = offsetOf(part.root);
      const box = local[i]!.translate(new Vector3(dx, dy, 0));
      this.boxes.set(part.twin, (this.boxes.get(part.twin) ?? new Box3()).union(box));
    });
    const matrices = this.instances.matrices;
    this.inverses = this.plan.parts.map((_, i) => inverse(matrices.subarray(i * 16, i * 16 + 16)));
    this.drawOutline();
    this.cameraMoved();
  }

  /** Own geometry, or that of everything inside. */
  private boxOf(id: string): Box3 | null {
    const own = this.boxes.get(id);
    if (own) return own;
    const box = new Box3();
    for (const child of this.children(id)) {
      const inner = this.boxOf(child);
      if (inner) box.union(inner);
    }
    return box.isEmpty() ? null : box;
  }

  private drawOutline(): void {
    const box = this.selected === null ? null : this.boxOf(this.selected);
    this.outline.visible = box !== null;
    if (!box) return;
    const grown = box.clone().expandByScalar(0.04);
    const corner = (i: number): number[] => [i & 1 ? grown.max.x : grown.min.x, i & 2 ? grown.max.y : grown.min.y, i & 4 ? grown.max.z : grown.min.z];
    const points: number[] = [];
    for (let i = 0; i < 8; i++) for (const bit of [1, 2, 4]) if (!(i & bit)) points.push(...corner(i), ...corner(i | bit));
    this.outline.geometry.setAttribute("position", new BufferAttribute(new Float32Array(points), 3));
  }

  private refit(animate: boolean): void {
    if (this.fitted?.kind === "all") this.showAll(animate);
    else if (this.fitted?.kind === "twin") this.show(this.fitted.id, animate);
  }

  private fit(boxes: readonly Box3[], animate: boolean): void {
    if (boxes.length === 0) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { position, target } = fitted(boxes, HOME, FIELD_OF_VIEW, width, height);
    this.flyTo(position, target, animate);
  }

  private way: { from: Vector3; to: Vector3; fromTarget: Vector3; toTarget: Vector3; since: number } | null = null;

  private flyTo(position: Vector3, target: Vector3, animate: boolean): void {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!animate || still) {
      this.stopFlight();
      this.camera.position.copy(position);
      this.controls.target.copy(target);
      this.controls.update();
      this.cameraMoved();
      return;
    }
    this.way = { from: this.camera.position.clone(), to: position, fromTarget: this.controls.target.clone(), toTarget: target, since: performance.now() };
    this.invalidate();
  }

  private fly(now: number): void {
    if (!this.way) return;
    const t = Math.min(1, Math.max(0, (now - this.way.since) / FLIGHT_MS));
    const eased = t * t * (3 - 2 * t);
    this.camera.position.lerpVectors(this.way.from, this.way.to, eased);
    this.controls.target.lerpVectors(this.way.fromTarget, this.way.toTarget, eased);
    if (t >= 1) this.way = null;
    this.controls.update();
    this.moved = true;
    if (this.way) this.invalidate();
  }

  get flying(): boolean {
    return this.way !== null;
  }

  private stopFlight(): void {
    this.way = null;
    cancelAnimationFrame(this.flight);
  }
}
