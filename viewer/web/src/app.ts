/**
 * The page: what is selected, which moment is looked at, what colours the scene; and who is told when one of them changes.
 * Longer than other modules because it is the one place that knows all panels; each does its own work elsewhere.
 */
import { Badges, type Name } from "./badges";
import { colourText, type NumericPath, numericPaths, parseColour, valuePath } from "./colouring";
import { type ControlActions, controlCanvas, controlPage } from "./controls";
import { ACKNOWLEDGE } from "./documents";
import { byId, el, setText } from "./dom";
import { Feed, type FeedState } from "./feed";
import { days, withUnit } from "./format";
import { readGlb } from "./glb";
import { Api, ApiError, token } from "./graphql";
import { Past, readMany, standingAt, type Wanted } from "./history";
import { type ColourBy, liveView, Overlay, RUL_PATH, type View } from "./overlay";
import { Painter } from "./paint";
import { AlertList } from "./panels/alerts";
import { Detail } from "./panels/detail";
import { drawLegend } from "./panels/legend";
import { drawOverview } from "./panels/overview";
import { Search } from "./panels/search";
import { Status } from "./panels/status";
import { Timeline } from "./panels/timeline";
import { type Plan, planFromGlb, planFromPlacements } from "./parts";
import { PlantScene } from "./scene";
import { humane, numberOf, Store } from "./store";
import { followSystem, theme, toggleTheme } from "./theme";
import type { WireAlert } from "./wire";

const REPLAY_POINTS = 180;
const OVERVIEW_MS = 1000;

export class App {
  readonly store = new Store(() => this.later());
  readonly scene: PlantScene;
  readonly feed: Feed;
  selected: string | null = null;
  private readonly api = new Api(new URL("graphql", document.baseURI));
  private readonly overlay = new Overlay(this.store);
  private readonly painter: Painter;
  private readonly badges: Badges;
  private readonly alerts: AlertList;
  private readonly detail: Detail;
  private readonly timeline: Timeline;
  private readonly status: Status;
  private standing = new Map<string, WireAlert[]>();
  private readonly live: View = liveView((id) => this.standing.get(id) ?? []);
  private past: Past | null = null;
  private pastKey = "";
  private flushing = false;
  private ready = false;
  private overviewAt = 0;
  private overviewTimer = 0;
  private symbols = new Map<string, NumericPath>();
  private sites: string[] = [];
  private planned: Plan | null = null;
  /** Asked for at once, so that it comes while the twins are read. */
  private firstScene: Promise<ArrayBuffer | null> | null = null;

  constructor() {
    const canvas = byId<HTMLCanvasElement>("scene");
    this.scene = new PlantScene(canvas, { frame: () => this.badges?.place() });
    this.badges = new Badges(byId("overlay"), this.scene, (twin) => this.open(twin, false));
    this.painter = new Painter(this.store, this.overlay, this.scene, this.badges);
    this.alerts = new AlertList(byId("alerts"), byId("alert-counts"), byId("voice"), {
      show: (twin) => this.open(twin, true), acknowledge: (alert) => this.acknowledge(alert), name: (twin) => this.store.shortName(twin),
    });
    this.detail = new Detail(byId("detail"), this.api, this.store, {
      show: (twin) => this.open(twin, true), zoom: (twin) => this.scene.show(twin), close: () => this.open(null, false),
      colourBy: (path) => this.colourBy({ path }), acknowledge: (alert) => this.acknowledge(alert),
      rulesOf: (model) => this.overlay.rulesOf(model), look: (twin) => this.painter.look(twin), view: () => this.view,
    });
    this.timeline = new Timeline({ seek: (moment) => this.seek(moment), reload: () => this.newWindow() });
    this.feed = new Feed(this.api, this.store, { state: (state) => this.connection(state), ready: () => void this.snapshot() });
    this.status = new Status(() => this.feed.retryNow());
    new Search(byId<HTMLInputElement>("search"), byId("hits"), this.store, (twin) => this.open(twin, true));
    const actions = this.actions();
    controlCanvas(canvas, this.scene, actions);
    controlPage(actions);
    byId("theme").addEventListener("click", () => actions.theme());
    byId<HTMLSelectElement>("colour-by").addEventListener("change", (event) => this.colourBy(parseColour((event.target as HTMLSelectElement).value)));
    followSystem(() => this.setTheme());
    window.addEventListener("popstate", () => this.readHash());
    window.addEventListener("hashchange", () => this.readHash());
    new ResizeObserver(() => this.scene.resize(canvas.clientWidth, canvas.clientHeight)).observe(canvas);
    window.setInterval(() => this.feed.readFacts().catch(() => {}), 10_000);
    this.setTheme();
    this.fillColours();
  }

  start(): void {
    this.readColour();
    this.firstScene = readScene().catch(() => null);
    this.feed.start();
  }

  private get view(): View {
    return this.timeline.moment !== null && this.past ? this.past : this.live;
  }

  /** Selects a twin (null: nothing); `fly` moves the camera to it. */
  open(id: string | null, fly: boolean, record = true): void {
    const known = id !== null && this.store.twins.has(id) ? id : null;
    if (known !== this.selected) {
      this.selected = known;
      if (record) this.writeHash();
      this.scene.select(known);
      this.feed.focus(known);
      this.detail.open(known, this.timeline, this.timeline.moment);
      byId("overview").hidden = known !== null;
      this.listAlerts();
      if (known === null) this.drawOverview(true);
    }
    if (known !== null && fly) this.scene.show(known);
  }

  private actions(): ControlActions {
    return {
      pick: (twin) => this.open(twin, false),
      zoom: (twin) => this.scene.show(twin),
      hover: (twin, x, y) => this.tip(twin, x, y),
      camera: (preset) => (preset === 0 ? this.scene.showAll() : this.sites[preset - 1] && this.scene.show(this.sites[preset - 1]!)),
      next: (step) => {
        const all = this.painter.exceptions();
        const at = all.indexOf(this.selected ?? "");
        if (all.length > 0) this.open(all[(at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step + all.length) % all.length]!, true);
      },
      live: () => this.timeline.live(),
      theme: () => {
        toggleTheme();
        this.setTheme();
      },
      alerts: () => this.alerts.focusFirst(),
      back: () => (this.selected !== null ? this.open(null, false) : this.scene.showAll()),
    };
  }

  // ---- the feed

  private connection(state: FeedState): void {
    this.status.set(state);
    this.scene.setStale(state.kind !== "live" && this.ready);
    if (!this.ready && state.kind === "connecting" && state.retryAt !== null) this.note(`${state.message} Trying again.`);
  }

  private async snapshot(): Promise<void> {
    this.ready = true;
    this.note("");
    this.overlay.setRules(this.feed.rules);
    this.indexAlerts();
    this.symbols = numericPaths(this.store);
    this.store.take();
    await this.buildScene();
    this.fillColours();
    this.repaint();
    this.listAlerts();
    this.readHash();
    this.drawOverview(true);
    if (this.selected) this.detail.open(this.selected, this.timeline, this.timeline.moment);
    if (this.store.twins.size === 0) this.note("This server has no twins yet. Import a plant to see it here.");
    document.documentElement.dataset["ready"] = "true";
  }

  private later(): void {
    if (this.flushing || !this.ready) return;
    this.flushing = true;
    queueMicrotask(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    const changes = this.store.take();
    if (changes.alerts) this.indexAlerts();
    if (changes.topology) {
      this.store.linkChildren();
      void this.buildScene().then(() => this.repaint());
    }
    if (this.timeline.moment === null) this.painter.some(changes.twins, this.live);
    if (changes.alerts) this.listAlerts();
    if (this.selected !== null) {
      const twin = this.store.twins.get(this.selected);
      if (!twin) this.open(null, false);
      else if (changes.alerts || changes.orders || changes.twins.has(twin.id)) this.detail.update(this.timeline.moment);
    } else this.drawOverview(false);
  }

  private async acknowledge(alert: WireAlert): Promise<void> {
    try {
      const { acknowledgeAlert } = await this.api.query<{ acknowledgeAlert: { alert: WireAlert | null; userErrors: { message: string; remedy: string | null }[] } }>(ACKNOWLEDGE, { id: alert.id });
      const [problem] = acknowledgeAlert.userErrors;
      if (problem) this.note(`${problem.message} ${problem.remedy ?? ""}`.trim(), 6000);
      if (acknowledgeAlert.alert) this.store.putAlert(acknowledgeAlert.alert);
    } catch (error) {
      this.note(error instanceof ApiError ? error.message : "The alert could not be acknowledged.", 6000);
    }
  }

  // ---- scene and looks

  private async buildScene(): Promise<void> {
    let plan: Plan | null = null;
    try {
      const data = (await this.firstScene) ?? (await readScene());
      if (data) plan = planFromGlb(readGlb(data), this.store);
    } catch (error) {
      this.note(`The 3D scene cannot be read: ${error instanceof Error ? error.message : "unknown"} Boxes are drawn instead.`, 8000);
    }
    this.firstScene = null;
    if (!plan || plan.parts.every((part) => part.twin === "")) plan = planFromPlacements(this.store);
    this.planned = plan;
    this.scene.setPlan(plan, (id) => this.store.twins.get(id)?.children ?? []);
    this.scene.select(this.selected);
    this.nameThings();
  }

  /** What the scene lacks or had too much of. */
  get problems(): readonly string[] {
    return this.planned?.problems ?? [];
  }

  private nameThings(): void {
    this.sites = [...this.store.twins.values()].filter((twin) => twin.parent === null && twin.children.length > 0).map((twin) => twin.id).sort((a, b) => this.siteOrder(a) - this.siteOrder(b));
    const names: Name[] = [];
    for (const twin of this.store.twins.values()) {
      if (twin.children.length === 0) continue;
      const leaves = twin.children.some((id) => this.store.twins.get(id)?.children.length === 0);
      names.push({ id: twin.id, text: twin.name, kind: twin.parent === null ? "site" : leaves ? "unit" : "line" });
    }
    names.sort((a, b) => "site line unit".indexOf(a.kind) - "site line unit".indexOf(b.kind));
    this.badges.setNames(names);
    const cameras = byId("cameras");
    const shown = this.sites.length > 6 ? [] : this.sites;
    cameras.replaceChildren(
      el("button", { type: "button", title: "Everything (0)", onclick: () => this.scene.showAll() }, "All"),
      ...shown.map((id, i) => el("button", { type: "button", title: `${id} (${i + 1})`, onclick: () => this.scene.show(id) }, this.store.twins.get(id)!.name)),
    );
  }

  private siteOrder(id: string): number {
    return this.store.twins.get(id)?.placement?.x ?? 0;
  }

  private repaint(): void {
    this.overlay.measure(this.view);
    this.painter.all(this.view);
    drawLegend(byId("legend"), this.overlay.legend((path) => this.symbolOf(path), (path) => this.symbols.get(path)?.label ?? humane(path)));
  }

  private colourBy(mode: ColourBy): void {
    this.overlay.mode = mode;
    byId<HTMLSelectElement>("colour-by").value = colourText(mode);
    this.feed.colour(valuePath(mode));
    this.writeHash();
    this.repaint();
    if (this.timeline.moment !== null) void this.readPast();
  }

  private fillColours(): void {
    const select = byId<HTMLSelectElement>("colour-by");
    const option = (value: string, text: string) => el("option", { value }, text);
    const values = el("optgroup", { label: "Value" });
    for (const [path, { symbol: own, label }] of [...this.symbols].sort((a, b) => a[1].label.localeCompare(b[1].label))) {
      values.append(option(`value:${path}`, own ? `${label} [${own}]` : label));
    }
    select.replaceChildren(option("condition", "Condition"), option("health", "Health zone"), option(`value:${RUL_PATH}`, "Remaining life [d]"), values);
    select.value = colourText(this.overlay.mode);
  }

  private symbolOf(path: string): string {
    return this.symbols.get(path)?.symbol ?? "";
  }

  private tip(id: string | null, x: number, y: number): void {
    const tip = byId("tip");
    const twin = id === null ? undefined : this.store.twins.get(id);
    tip.hidden = !twin;
    byId("scene").classList.toggle("pointing", Boolean(twin));
    if (!twin) return;
    const { mode } = this.overlay;
    const path = typeof mode === "object" ? mode.path : null;
    const value = path === null ? null : path === RUL_PATH ? this.view.rul(twin) : this.view.number(twin, path);
    const life = this.view.rul(twin);
    const text = value !== null && path !== RUL_PATH ? withUnit(value, this.symbolOf(path!)) : life !== null ? `${days(life)} left` : "";
    setText(tip, [this.store.shortName(twin.id), text].filter(Boolean).join(" · "));
    tip.style.transform = `translate(${Math.round(x + 14)}px, ${Math.round(y + 16)}px)`;
  }

  // ---- alerts

  private indexAlerts(): void {
    const now = [...this.store.alerts.values()].filter((alert) => alert.state !== "CLEARED");
    this.standing = standingAt(now, Number.POSITIVE_INFINITY);
    this.timeline.setAlerts([...this.store.alerts.values()]);
  }

  private listAlerts(): void {
    const { moment } = this.timeline;
    const map = moment === null ? this.standing : standingAt(this.store.alerts.values(), moment);
    this.alerts.set([...map.values()].flat(), this.selected, moment !== null);
  }

  private drawOverview(atOnce: boolean): void {
    clearTimeout(this.overviewTimer);
    const wait = this.overviewAt + OVERVIEW_MS - Date.now();
    if (!atOnce && wait > 0) {
      this.overviewTimer = window.setTimeout(() => this.drawOverview(true), wait);
      return;
    }
    if (this.selected !== null) return;
    this.overviewAt = Date.now();
    const host = byId("overview");
    const focused = [...host.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement);
    drawOverview(host, this.store, this.feed.facts, this.sites.map((id) => this.store.twins.get(id)!).filter(Boolean), {
      show: (twin) => this.open(twin, true), look: (twin) => this.painter.look(twin), life: (twin) => this.view.rul(twin), past: this.timeline.moment !== null,
    });
    if (focused >= 0) host.querySelectorAll("button")[focused]?.focus();
  }

  // ---- time

  private seek(moment: number | null): void {
    if (moment === null) {
      this.past = null;
      this.pastKey = "";
    } else {
      this.past ??= new Past();
      this.past.at(moment, this.store.alerts.values());
      void this.readPast();
    }
    this.repaint();
    this.listAlerts();
    if (moment === null && this.selected) this.detail.readPlots(this.timeline);
    this.detail.update(moment);
    this.drawOverview(true);
  }

  private newWindow(): void {
    this.pastKey = "";
    if (this.timeline.moment !== null) this.timeline.seek(this.timeline.moment);
    if (this.selected) this.detail.readPlots(this.timeline);
  }

  /** The series that colour the plant in the window that is looked at; read once per window and colouring. */
  private async readPast(): Promise<void> {
    const { mode } = this.overlay;
    const { from, to } = this.timeline;
    const key = `${from} ${to} ${colourText(mode)}`;
    const { past } = this;
    if (!past || key === this.pastKey) return;
    this.pastKey = key;
    const wanted: Wanted[] = [];
    const want = (twin: string, path: string) => !past.known(twin, path) && wanted.push({ twin, path });
    for (const twin of this.store.twins.values()) {
      const paths = new Set(this.overlay.rulesOf(twin.model).map((rule) => rule.value));
      if (typeof mode === "object") paths.add(mode.path);
      for (const path of paths) if (path === RUL_PATH ? twin.rul : numberOf(twin.values.get(path)?.value) !== null) want(twin.id, path);
    }
    if (wanted.length > 0) this.timeline.progress(0);
    try {
      const series = await readMany(this.api, wanted, from, to, REPLAY_POINTS, (share) => this.timeline.progress(share), () => this.pastKey === key);
      if (this.past !== past) return;
      past.put(series);
      this.repaint();
      this.drawOverview(true);
      this.detail.update(this.timeline.moment);
    } catch {
      this.note("The history cannot be read at the moment.", 6000);
    }
    this.timeline.progress(1);
  }

  // ---- theme, notes, address

  private setTheme(): void {
    const now = theme();
    document.documentElement.dataset["theme"] = now;
    this.overlay.theme = now;
    this.scene.setTheme(now);
    if (this.ready) this.repaint();
    this.detail?.update(this.timeline.moment);
  }

  private noteTimer = 0;

  private note(text: string, forMs = 0): void {
    clearTimeout(this.noteTimer);
    const note = byId("scene-note");
    note.hidden = text === "";
    setText(note, text);
    if (text && forMs > 0) this.noteTimer = window.setTimeout(() => this.note(""), forMs);
  }

  private writeHash(): void {
    const parts = new URLSearchParams();
    if (this.selected) parts.set("twin", this.selected);
    if (this.overlay.mode !== "condition") parts.set("by", colourText(this.overlay.mode));
    const hash = parts.toString().replaceAll("%2F", "/").replaceAll("%3A", ":");
    if (`#${hash}` !== (location.hash || "#")) history.pushState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  private readColour(): void {
    const by = new URLSearchParams(location.hash.slice(1)).get("by");
    if (!by) return;
    this.overlay.mode = parseColour(by);
    this.feed.colour(valuePath(this.overlay.mode));
  }

  private readHash(): void {
    if (!this.ready) return;
    const wanted = new URLSearchParams(location.hash.slice(1)).get("twin");
    if (wanted !== null && !this.store.twins.has(wanted)) this.note(`There is no twin ${wanted}.`, 6000);
    if (wanted !== this.selected) this.open(wanted, wanted !== null, false);
  }
}

/** The bytes of `/scene.glb`; null where the server has none or wants a token first. */
async function readScene(): Promise<ArrayBuffer | null> {
  const headers: Record<string, string> = token.get() ? { authorization: `Bearer ${token.get()}` } : {};
  const response = await fetch(new URL("scene.glb", document.baseURI), { headers, cache: "no-cache" });
  return response.ok ? response.arrayBuffer() : null;
}
