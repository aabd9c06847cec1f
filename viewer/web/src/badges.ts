/** Names and badges over the canvas: every exception has text and a line to its part, never colour alone. */
import { el, setText, svg } from "./dom";
import type { Badge } from "./overlay";
import type { PlantScene } from "./scene";

const MOST_BADGES = 14;
const LIFT = 30;
const BEAT_MS = 500;

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

interface Drawn {
  element: HTMLButtonElement;
  title: HTMLElement;
  text: HTMLElement;
  line: SVGLineElement;
  width: number;
  height: number;
}

const meets = (a: Box, b: Box): boolean => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

export interface Name {
  id: string;
  text: string;
  kind: "site" | "line" | "unit";
}

export class Badges {
  private readonly lines = svg("svg", { class: "leaders", "aria-hidden": "true" });
  private readonly layer = el("div", { class: "badges" });
  private readonly nameLayer = el("div", { class: "names", "aria-hidden": "true" });
  private readonly drawn = new Map<string, Drawn>();
  private readonly names = new Map<string, HTMLElement>();
  private badges: Badge[] = [];
  private wantedNames: Name[] = [];

  constructor(
    private readonly host: HTMLElement,
    private readonly scene: PlantScene,
    private readonly pick: (twin: string) => void,
  ) {
    host.append(this.nameLayer, this.lines, this.layer);
    window.setInterval(() => this.beat(), BEAT_MS);
  }

  /** Critical badges blink once a second. By a timer: an animation in CSS would compose the page sixty times a second. */
  private beat(): void {
    const still = document.hidden || this.badges[0]?.rank !== 3 || matchMedia("(prefers-reduced-motion: reduce)").matches;
    const next = still || this.layer.dataset["beat"] === "off" ? "on" : "off";
    if (this.layer.dataset["beat"] !== next) this.layer.dataset["beat"] = next;
  }

  setNames(names: Name[]): void {
    this.wantedNames = names;
    for (const element of this.names.values()) element.remove();
    this.names.clear();
  }

  /** Worst first; what does not fit in is still in the alert list. */
  set(badges: Badge[]): void {
    this.badges = [...badges].sort((a, b) => b.rank - a.rank || a.title.localeCompare(b.title)).slice(0, MOST_BADGES);
    const wanted = new Set(this.badges.map((badge) => badge.twin));
    for (const [twin, { element, line }] of this.drawn) {
      if (wanted.has(twin)) continue;
      element.remove();
      line.remove();
      this.drawn.delete(twin);
    }
    for (const badge of this.badges) {
      const drawn = this.drawn.get(badge.twin) ?? this.make(badge.twin);
      const fresh = drawn.title.textContent !== badge.title || drawn.text.textContent?.length !== badge.text.length;
      setText(drawn.title, badge.title);
      setText(drawn.text, badge.text);
      drawn.element.dataset["rank"] = String(badge.rank);
      drawn.line.setAttribute("class", `rank-${badge.rank}`);
      if (fresh) drawn.width = 0;
    }
    this.place();
  }

  /** After every picture: puts names and badges where their twins are now. */
  place(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    const taken: Box[] = this.siteNames();
    const inside = (x: number, y: number) => x > -20 && y > -20 && x < width + 20 && y < height + 20;
    const spots = this.badges.map((badge) => ({ badge, spot: this.scene.project(badge.twin, 0.8) }));
    spots.sort((a, b) => b.badge.rank - a.badge.rank || (a.spot?.y ?? 0) - (b.spot?.y ?? 0));
    const parts = spots.map(({ spot }): Box => {
      const { x, y } = spot ?? { x: -99, y: -99 };
      return { left: x - 7, right: x + 7, top: y - 9, bottom: y + 9 };
    });
    for (const { badge, spot } of spots) {
      const drawn = this.drawn.get(badge.twin)!;
      const visible = spot?.ahead && inside(spot.x, spot.y);
      drawn.element.hidden = !visible;
      drawn.line.style.display = visible ? "" : "none";
      if (!spot || !visible) continue;
      if (drawn.width === 0) {
        drawn.width = drawn.element.offsetWidth;
        drawn.height = drawn.element.offsetHeight;
      }
      const box = this.free(spot.x, spot.y, LIFT + Math.min(120, spot.metre * 0.5), drawn, [...taken, ...parts], width, height);
      taken.push(box);
      drawn.element.style.transform = `translate(${Math.round(box.left)}px, ${Math.round(box.top)}px)`;
      const below = box.top > spot.y;
      const ends = { x1: Math.min(box.right - 8, Math.max(box.left + 8, spot.x)), y1: below ? box.top : box.bottom, x2: spot.x, y2: spot.y };
      for (const [name, value] of Object.entries(ends)) drawn.line.setAttribute(name, value.toFixed(1));
    }
    this.placeNames(taken, inside);
  }

  /** Where the names of sites stand: badges keep clear of them. */
  private siteNames(): Box[] {
    return this.wantedNames.filter((name) => name.kind === "site").flatMap(({ id, text }) => {
      const spot = this.scene.projectCorner(id);
      return spot?.ahead ? [{ left: spot.x, right: spot.x + text.length * 8 + 20, top: spot.y, bottom: spot.y + 22 }] : [];
    });
  }

  private placeNames(taken: Box[], inside: (x: number, y: number) => boolean): void {
    for (const { id, text, kind } of this.wantedNames) {
      const spot = kind === "unit" ? this.scene.project(id, -1) : this.scene.projectCorner(id);
      const metre = kind === "site" ? Infinity : spot?.metre ?? 0;
      let element = this.names.get(id);
      let visible = Boolean(spot?.ahead && inside(spot.x, spot.y) && metre > 17);
      if (visible && spot) {
        const half = text.length * 3.4;
        const box = { left: spot.x - half, right: spot.x + half, top: spot.y, bottom: spot.y + 14 };
        visible = kind === "site" || !taken.some((other) => meets(other, box));
        if (visible && kind !== "unit") taken.push(box);
      }
      if (!visible) {
        if (element) element.hidden = true;
        continue;
      }
      if (!element) {
        element = el("span", { class: `name ${kind}` }, text);
        this.names.set(id, element);
        this.nameLayer.append(element);
      }
      element.hidden = false;
      element.style.transform = `translate(${Math.round(spot!.x)}px, ${Math.round(spot!.y)}px)`;
    }
  }

  /** The nearest place (above first, then beside and below) that meets no other badge and hides no other sick part. */
  private free(x: number, y: number, lift: number, drawn: Drawn, taken: readonly Box[], width: number, height: number): Box {
    const { width: w, height: h } = drawn;
    const at = (dx: number, dy: number): Box => {
      const left = Math.min(width - w - 4, Math.max(4, x + dx - w / 2));
      const top = Math.min(height - h - 4, Math.max(4, y + dy - h));
      return { left, top, right: left + w, bottom: top + h };
    };
    let best = { box: at(0, -lift), cost: Infinity };
    for (let row = -3; row < 9; row++) {
      for (const column of [0, -0.55, 0.55, -1.1, 1.1]) {
        const dy = row < 0 ? lift + h - (row + 1) * (h + 5) : -lift - row * (h + 5);
        const cost = Math.abs(dy) + Math.abs(column) * w * 0.8 + (row < 0 ? 30 : 0);
        if (cost >= best.cost) continue;
        const box = at(column * w, dy);
        if (!taken.some((other) => meets(other, box))) best = { box, cost };
      }
    }
    return best.box;
  }

  private make(twin: string): Drawn {
    const title = el("span", { class: "title" });
    const text = el("strong");
    const element = el("button", { class: "badge", type: "button", tabindex: -1, onclick: () => this.pick(twin) }, title, text);
    const line = svg("line");
    this.layer.append(element);
    this.lines.append(line);
    const drawn = { element, title, text, line, width: 0, height: 0 };
    this.drawn.set(twin, drawn);
    return drawn;
  }
}
