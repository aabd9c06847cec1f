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
}

const MOST_ROWS = 8;

/** Scored parts by life left, the least first. */
export function shortest(store: Store, most = MOST_ROWS): Twin[] {
  const scored = [...store.twins.values()].filter((twin) => twin.rul !== null);
  return scored.sort((a, b) => a.rul!.rulDays - b.rul!.rulDays).slice(0, most);
}

export function drawOverview(host: HTMLElement, store: Store, facts: ServiceFacts | null, sites: readonly Twin[], actions: OverviewActions): void {
  const cards = sites.map((site) => {
    const counts = [0, 0, 0, 0];
    let parts = 0;
    let stale = 0;
    const walk = (twin: Twin): void => {
      if (twin.children.length === 0) parts++;
      counts[actions.look(twin).rank]!++;
      if (twin.stale) stale++;
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
  const least = shortest(store);
  const end = Math.max(...least.map((twin) => twin.rul!.high), 1);
  const rows = least.map((twin) =>
    el("li", {}, el("button", { type: "button", class: "life-row", onclick: () => actions.show(twin.id), "data-rank": actions.look(twin).rank, title: `${twin.id}: ${days(twin.rul!.low)} to ${days(twin.rul!.high)}` },
      el("span", { class: "dot", "data-rank": actions.look(twin).rank }), el("span", { class: "label" }, store.shortName(twin.id)), intervalBar(twin.rul!, [], end), el("strong", {}, days(twin.rul!.rulDays)))),
  );
  const sources = (facts?.sources ?? []).map((source) =>
    el("li", {}, el("span", { class: /^(run|connected|ok|live)/i.test(source.state) ? "dot fine" : "dot", "data-rank": 2 }), source.name, el("small", {}, [source.state, source.since ? `for ${span(Date.now() - Date.parse(source.since))}` : "", source.reason ?? ""].filter(Boolean).join(" · "))),
  );
  host.replaceChildren(
    el("h2", {}, "Plant"),
    el("div", { class: "sites" }, ...cards),
    ...(rows.length > 0 ? [el("h3", {}, "Least life left"), el("ol", { class: "life-list" }, ...rows)] : []),
    ...(sources.length > 0 ? [el("h3", {}, "Sources"), el("ul", { class: "sources" }, ...sources)] : []),
    el("p", { class: "fine" }, facts ? `twinloom ${facts.version} · ${facts.mode} · ${store.twins.size} twins` : ""),
  );
}
