/** What is seen while nothing is selected: the sites, the parts with the least life left, the sources. */
import { el } from "../dom";
import type { ServiceFacts } from "../feed";
import { days, span } from "../format";
import type { Look } from "../overlay";
import type { Store, Twin } from "../store";
import { intervalBar } from "./life";

export interface OverviewActions {
  show(twin: string): void;
  look(twin: Twin): Look;
  /** Days of life left, now or at the moment that is looked at. */
  life(twin: Twin): number | null;
  past: boolean;
}

const MOST_ROWS = 8;

/** Scored parts with their life left, the least first. */
export function shortest(store: Store, life: (twin: Twin) => number | null, most = MOST_ROWS): [Twin, number][] {
  const scored: [Twin, number][] = [];
  for (const twin of store.twins.values()) {
    const days = twin.rul === null ? null : life(twin);
    if (days !== null) scored.push([twin, days]);
  }
  return scored.sort((a, b) => a[1] - b[1]).slice(0, most);
}

export function drawOverview(host: HTMLElement, store: Store, facts: ServiceFacts | null, sites: readonly Twin[], actions: OverviewActions): void {
  const cards = sites.map((site) => {
    const counts = [0, 0, 0, 0];
    let parts = 0;
    let stale = 0;
    const walk = (twin: Twin): void => {
      if (twin.children.length === 0) parts++;
      counts[actions.look(twin).rank]!++;
      if (twin.stale && !actions.past) stale++;
      for (const id of twin.children) walk(store.twins.get(id)!);
    };
    walk(site);
    const worst = counts[3]! > 0 ? 3 : counts[2]! > 0 ? 2 : 0;
    return el(
      "button", { type: "button", class: "site-card", onclick: () => actions.show(site.id), "data-rank": worst },
      el("strong", {}, site.name),
      el("span", { class: "site-counts" },
        counts[3] ? el("span", { class: "count", "data-rank": 3 }, `${counts[3]} critical`) : null,
        counts[2] ? el("span", { class: "count", "data-rank": 2 }, `${counts[2]} warning`) : null,
        stale ? el("span", { class: "count stale" }, `${stale} stale`) : null,
        worst === 0 && stale === 0 ? el("span", { class: "count" }, "all within limits") : null),
      el("small", {}, `${parts} parts`),
    );
  });
  const least = shortest(store, actions.life);
  const intervalOf = (twin: Twin, life: number) => (actions.past ? { rulDays: life, low: life, high: life } : twin.rul!);
  const end = Math.max(...least.map(([twin, life]) => intervalOf(twin, life).high), 1);
  const rows = least.map(([twin, life]) => {
    const { rank } = actions.look(twin);
    const interval = intervalOf(twin, life);
    const title = `${twin.id}: ${days(interval.low)} to ${days(interval.high)}`;
    return el("li", {}, el("button", { type: "button", class: "life-row", onclick: () => actions.show(twin.id), "data-rank": rank, title },
      el("span", { class: "dot", "data-rank": rank }), el("span", { class: "label" }, store.shortName(twin.id)), intervalBar(interval, [], end), el("strong", {}, days(life))));
  });
  const sources = (actions.past ? [] : (facts?.sources ?? [])).map((source) =>
    el("li", {}, el("span", { class: /^(run|connected|ok|live)/i.test(source.state) ? "dot fine" : "dot", "data-rank": 2 }), source.name, el("small", {}, [source.state, source.since ? `for ${span(Date.now() - Date.parse(source.since))}` : "", source.reason ?? ""].filter(Boolean).join(" · "))),
  );
  host.replaceChildren(
    el("h2", {}, "Plant"),
    el("div", { class: "sites" }, ...cards),
    ...(rows.length > 0 ? [el("h3", {}, actions.past ? "Least life left then" : "Least life left"), el("ol", { class: "life-list" }, ...rows)] : []),
    ...(sources.length > 0 ? [el("h3", {}, "Sources"), el("ul", { class: "sources" }, ...sources)] : []),
    el("p", { class: "fine" }, facts ? `twinloom ${facts.version} · ${facts.mode} · ${store.twins.size} twins` : ""),
  );
}
