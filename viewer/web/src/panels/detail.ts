/** The panel of the selected twin: life, alerts, values with plots, properties, orders, neighbours. */
import { TWIN_DETAIL } from "../documents";
import { el, setText } from "../dom";
import { plain, time } from "../format";
import type { Api } from "../graphql";
import { readMany } from "../history";
import type { Look, View } from "../overlay";
import { humane, numberOf, type Store, type Twin } from "../store";
import type { Json, WireAlert, WireRule, WireTwin } from "../wire";
import { inOrder, messageOf } from "./alerts";
import { lifeCard } from "./life";
import { Values } from "./values";

export interface DetailActions {
  show(twin: string): void;
  zoom(twin: string): void;
  close(): void;
  colourBy(path: string): void;
  acknowledge(alert: WireAlert): Promise<void>;
  rulesOf(model: string): readonly WireRule[];
  look(twin: Twin): Look;
  view(): View;
}

const PLOT_POINTS = 180;
const ORDER_STATE = { OPEN: "open", IN_PROGRESS: "in progress", CLOSED: "closed" } as const;

export class Detail {
  private twin: Twin | null = null;
  private values: Values | null = null;
  private readonly slots = {
    stale: el("div"), life: el("div"), alerts: el("div"), values: el("div"), orders: el("div"), properties: el("div"), inside: el("div"),
  };
  private properties: Json = null;
  private plotted = 0;
  private span: { from: number; to: number } = { from: 0, to: 1 };
  private shown = { rul: -1, alerts: "", orders: "" };

  constructor(
    private readonly host: HTMLElement,
    private readonly api: Api,
    private readonly store: Store,
    private readonly actions: DetailActions,
  ) {
    host.addEventListener("redraw", () => this.plot(true));
  }

  get id(): string | null {
    return this.twin?.id ?? null;
  }

  /** Opens a twin, or nothing. Reads its details and the plots' history from the API. */
  open(id: string | null, window: { from: number; to: number }, moment: number | null): void {
    const twin = id === null ? undefined : this.store.twins.get(id);
    this.twin = twin ?? null;
    this.host.hidden = !twin;
    if (!twin) {
      this.values = null;
      this.host.replaceChildren();
      return;
    }
    this.properties = null;
    this.shown = { rul: -1, alerts: "", orders: "" };
    for (const slot of Object.values(this.slots)) slot.replaceChildren();
    this.host.replaceChildren(this.header(twin), ...Object.values(this.slots));
    this.host.scrollTop = 0;
    this.fillValues(twin);
    this.update(moment);
    void this.readDetail(twin);
    this.readPlots(window);
  }

  /** History for the plots of the window that is looked at. */
  readPlots(window: { from: number; to: number }): void {
    this.span = window;
    const { twin, values } = this;
    if (!twin || !values) return;
    const wanted = values.paths().map((path) => ({ twin: twin.id, path }));
    readMany(this.api, wanted, window.from, window.to, PLOT_POINTS, () => {}, () => this.values === values)
      .then((series) => {
        if (this.values !== values) return;
        values.setSeries(series);
        this.plot(true);
      })
      .catch(() => setText(this.host.querySelector(".plot-note") ?? el("p"), "The history cannot be read at the moment."));
  }

  /** After changes of this twin, its alerts or orders, or of the moment. */
  update(moment: number | null, now = Date.now()): void {
    const { twin } = this;
    if (!twin) return;
    if (moment === null) this.span = { from: now - (this.span.to - this.span.from), to: now };
    this.values?.update(moment);
    this.fillStale(twin, moment);
    this.fillLife(twin, moment);
    this.fillAlerts(twin, moment !== null);
    this.fillOrders(twin);
    this.plot(false, moment);
  }

  private plot(atOnce: boolean, moment: number | null = this.moment): void {
    this.moment = moment;
    const now = performance.now();
    if (!atOnce && moment === null && now - this.plotted < 240) return;
    this.plotted = now;
    this.values?.drawPlots(this.span.from, this.span.to, moment);
  }

  private moment: number | null = null;

  private header(twin: Twin): HTMLElement {
    const path = this.store.pathOf(twin.id).slice(0, -1);
    const crumbs = path.map((above) => el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.actions.show(above.id) }, above.name)));
    return el(
      "header", { class: "detail-head" },
      el("nav", { "aria-label": "Contained in" }, el("ol", { class: "crumbs" }, ...crumbs)),
      el("div", { class: "row" },
        el("h2", { id: "detail-name", tabindex: -1 }, twin.name), el("span", { class: "kind" }, this.store.modelName(twin.model)),
        el("span", { class: "spacer" }),
        el("button", { type: "button", class: "quiet", onclick: () => this.actions.zoom(twin.id) }, "Zoom"),
        el("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.actions.close() }, "✕")),
      el("code", { class: "twin-id" }, twin.id),
    );
  }

  private async readDetail(twin: Twin): Promise<void> {
    const answer = await this.api.query<{ twin: (WireTwin & { all: Json }) | null }>(TWIN_DETAIL, { id: twin.id }).catch(() => null);
    if (!answer?.twin || this.twin !== twin) return;
    this.store.putTwins([answer.twin]);
    this.properties = answer.twin.all;
    const known = this.values?.paths().length ?? 0;
    if (known > 0 && this.slots.values.childElementCount === 0) {
      this.fillValues(twin);
      this.readPlots(this.span);
    }
    this.fillProperties(twin);
    this.fillInside(twin);
  }

  private fillValues(twin: Twin): void {
    this.values = new Values(this.store, twin, this.actions.rulesOf(twin.model), this.actions.colourBy);
    this.slots.values.replaceChildren();
    if (this.values.paths().length > 0) this.slots.values.append(el("h3", {}, "Measured values"), this.values.element, el("p", { class: "plot-note fine" }));
    this.fillInside(twin);
  }

  private fillStale(twin: Twin, moment: number | null): void {
    const text = moment === null && twin.stale ? `Stale${twin.staleSince ? ` since ${time(twin.staleSince)}` : ""}: no fresh value comes from this part.` : "";
    if ((this.slots.stale.textContent ?? "") !== text) this.slots.stale.replaceChildren(...(text ? [el("p", { class: "stale-note" }, text)] : []));
  }

  private fillLife(twin: Twin, moment: number | null): void {
    const rul = moment === null ? twin.rul : null;
    const mark = moment === null ? (rul?.seq ?? -2) : -3 - Math.round(moment / 1000);
    if (mark === this.shown.rul) return;
    this.shown.rul = mark;
    if (rul) {
      this.slots.life.replaceChildren(lifeCard(rul, this.actions.rulesOf(twin.model)));
      return;
    }
    const past = moment === null ? null : this.actions.view().rul(twin);
    this.slots.life.replaceChildren(...(past === null ? [] : [el("p", { class: "card" }, `Remaining useful life then: ${past.toFixed(1)} d`)]));
  }

  private fillAlerts(twin: Twin, past: boolean): void {
    const own = inOrder([twin.id, ...twin.children].flatMap((id) => [...this.actions.view().alerts(id)]));
    const mark = `${past} ${own.map((alert) => `${alert.alertId}${alert.seq}`).join(" ")}`;
    if (mark === this.shown.alerts) return;
    this.shown.alerts = mark;
    const rows = own.map((alert) =>
      el("li", { class: "own-alert", "data-rank": alert.severity },
        el("strong", {}, alert.severity.toLowerCase()), " ", el("span", {}, messageOf(alert)), " ", el("time", {}, time(alert.raisedAt)),
        alert.dtId === twin.id ? null : el("button", { type: "button", class: "link", onclick: () => this.actions.show(alert.dtId) }, this.store.twins.get(alert.dtId)?.name ?? alert.dtId),
        past ? null : alert.state === "RAISED" ? el("button", { type: "button", class: "quiet", onclick: () => void this.actions.acknowledge(alert) }, "Acknowledge") : el("small", {}, ` acknowledged${alert.acknowledgedBy ? ` by ${alert.acknowledgedBy}` : ""}`)),
    );
    this.slots.alerts.replaceChildren(...(rows.length > 0 ? [el("h3", {}, "Alerts"), el("ul", { class: "own-alerts" }, ...rows)] : []));
  }

  private fillOrders(twin: Twin): void {
    const own = [...this.store.orders.values()].filter((order) => order.dtId === twin.id || twin.children.includes(order.dtId));
    own.sort((a, b) => b.openedAt.localeCompare(a.openedAt));
    const mark = own.map((order) => `${order.orderId}${order.seq}`).join(" ");
    if (mark === this.shown.orders) return;
    this.shown.orders = mark;
    const rows = own.slice(0, 8).map((order) =>
      el("li", { "data-state": order.state },
        el("strong", {}, order.title), el("span", { class: "chip" }, ORDER_STATE[order.state]),
        el("small", {}, [order.externalId ?? order.orderId, `opened ${time(order.openedAt)}`, order.closedAt ? `closed ${time(order.closedAt)}` : ""].filter(Boolean).join(" · ")),
        order.recommendation && order.recommendation !== order.title ? el("small", {}, order.recommendation) : null),
    );
    this.slots.orders.replaceChildren(...(rows.length > 0 ? [el("h3", {}, "Work orders"), el("ul", { class: "orders" }, ...rows)] : []));
  }

  private fillProperties(twin: Twin): void {
    const rows: HTMLElement[] = [];
    const walk = (value: Json, path: string): void => {
      if (twin.values.has(path) && numberOf(twin.values.get(path)?.value) !== null) return;
      const inside = value && typeof value === "object" && !Array.isArray(value) && path !== "placement";
      if (inside) for (const [key, part] of Object.entries(value)) walk(part, path ? `${path}.${key}` : key);
      else if (path && path !== "name") rows.push(el("dt", {}, this.store.label(twin, path) || humane(path)), el("dd", {}, plain(value)));
    };
    walk(this.properties, "");
    this.slots.properties.replaceChildren(...(rows.length > 0 ? [el("h3", {}, "Properties"), el("dl", { class: "properties" }, ...rows)] : []));
  }

  private fillInside(twin: Twin): void {
    const rows = twin.children.map((id) => {
      const child = this.store.twins.get(id)!;
      const rank = this.actions.look(child).rank;
      return el("li", {}, el("button", { type: "button", class: "inside", onclick: () => this.actions.show(id) }, el("span", { class: "dot", "data-rank": rank }), child.name, el("small", {}, this.store.modelName(child.model))));
    });
    this.slots.inside.replaceChildren(...(rows.length > 0 ? [el("h3", {}, "Contains"), el("ul", { class: "contains" }, ...rows)] : []));
  }
}
