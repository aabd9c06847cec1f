/** The alert list: the worst first, a click or Enter shows the part, a button acknowledges. */
import { el, setText, walkable } from "../dom";
import { moment } from "../format";
import { RANK } from "../overlay";
import type { WireAlert } from "../wire";

export interface AlertActions {
  show(twin: string): void;
  acknowledge(alert: WireAlert): Promise<void>;
  name(twin: string): string;
}

const MOST_ROWS = 200;
const SIGN = { INFO: "i", WARNING: "!", CRITICAL: "‼" } as const;

/** Unacknowledged first, then by severity, then the newest. */
export function inOrder(alerts: Iterable<WireAlert>): WireAlert[] {
  return [...alerts].sort(
    (a, b) => RANK[b.severity] - RANK[a.severity] || Number(a.state !== "RAISED") - Number(b.state !== "RAISED") || b.raisedAt.localeCompare(a.raisedAt),
  );
}

interface Row {
  item: HTMLLIElement;
  seq: number;
  state: string;
  past: boolean;
}

export class AlertList {
  private readonly list = el("ul", { class: "alert-list", role: "list" });
  private readonly empty = el("p", { class: "empty" }, "No alert stands.");
  private readonly more = el("p", { class: "empty" });
  private readonly count: HTMLElement;
  private readonly rows = new Map<string, Row>();
  private readonly voice: HTMLElement;
  private known: Set<string> | null = null;

  constructor(host: HTMLElement, count: HTMLElement, voice: HTMLElement, private readonly actions: AlertActions) {
    this.count = count;
    this.voice = voice;
    host.append(this.empty, this.list, this.more);
    walkable(this.list, ".alert-main");
  }

  /** `alerts`: those that stand now, or stood at the moment that is looked at. */
  set(alerts: Iterable<WireAlert>, selected: string | null, past: boolean): void {
    const ordered = inOrder(alerts);
    const shown = ordered.slice(0, MOST_ROWS);
    this.empty.hidden = ordered.length > 0;
    setText(this.empty, past ? "No alert stood at that time." : "No alert stands.");
    setText(this.more, ordered.length > shown.length ? `${ordered.length - shown.length} more, not shown.` : "");
    const counts = { CRITICAL: 0, WARNING: 0, INFO: 0 };
    for (const alert of ordered) counts[alert.severity]++;
    this.count.replaceChildren(
      ...(["CRITICAL", "WARNING", "INFO"] as const).filter((severity) => counts[severity] > 0).map((severity) =>
        el("span", { class: "count", "data-rank": RANK[severity], title: `${counts[severity]} ${severity.toLowerCase()}` }, String(counts[severity])),
      ),
    );
    const wanted = new Set(shown.map((alert) => alert.alertId));
    for (const [id, { item }] of this.rows) {
      if (wanted.has(id)) continue;
      item.remove();
      this.rows.delete(id);
    }
    shown.forEach((alert, index) => {
      let row = this.rows.get(alert.alertId);
      if (!row || row.seq !== alert.seq || row.state !== alert.state || row.past !== past) {
        const item = this.make(alert, past);
        if (row) row.item.replaceWith(item);
        row = { item, seq: alert.seq, state: alert.state, past };
        this.rows.set(alert.alertId, row);
      }
      row.item.classList.toggle("selected", alert.dtId === selected);
      if (this.list.children[index] !== row.item) this.list.insertBefore(row.item, this.list.children[index] ?? null);
    });
    if (!past) this.speak(ordered);
  }

  focusFirst(): void {
    this.list.querySelector<HTMLElement>(".alert-main")?.focus();
  }

  /** New critical alerts are said to screen readers; what stood at the start is not. */
  private speak(alerts: readonly WireAlert[]): void {
    const fresh = alerts.filter((alert) => this.known && !this.known.has(alert.alertId) && alert.severity !== "INFO");
    this.known = new Set(alerts.map((alert) => alert.alertId));
    if (fresh.length > 0) setText(this.voice, fresh.map((alert) => `${alert.severity.toLowerCase()}: ${alert.message}`).join(". "));
  }

  private make(alert: WireAlert, past: boolean): HTMLLIElement {
    const raised = Date.parse(alert.raisedAt);
    const taken = alert.state === "ACKNOWLEDGED";
    const main = el(
      "button",
      { class: "alert-main", type: "button", onclick: () => this.actions.show(alert.dtId), "data-twin": alert.dtId },
      el("span", { class: "sign", "data-rank": RANK[alert.severity], role: "img", "aria-label": alert.severity.toLowerCase() }, SIGN[alert.severity]),
      el("span", { class: "what" }, el("strong", {}, this.actions.name(alert.dtId)), el("span", { class: "message" }, messageOf(alert))),
    );
    const when = el("time", { datetime: alert.raisedAt, title: `raised ${new Date(raised).toString()}` }, moment(raised));
    const button = el("button", { class: "acknowledge", type: "button", "aria-label": `Acknowledge: ${alert.message}`, title: "Acknowledge" }, "Ack");
    button.addEventListener("click", () => {
      button.disabled = true;
      void this.actions.acknowledge(alert).finally(() => {
        button.disabled = false;
      });
    });
    const state = taken ? el("span", { class: "taken", title: `acknowledged by ${alert.acknowledgedBy ?? "someone"}` }, "✓ ack") : past ? null : button;
    return el("li", { class: taken ? "alert taken" : "alert", "data-alert": alert.alertId }, main, el("div", { class: "alert-end" }, when, state));
  }
}

/** The message without the twin's id before it: the row's title names the twin already. */
export function messageOf(alert: WireAlert): string {
  const text = alert.message.startsWith(alert.dtId) ? alert.message.slice(alert.dtId.length).replace(/^[\s:,–-]+/, "") : alert.message;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
