/** Search over all twins by name, id and model; a combobox by the ARIA pattern. */
import { el } from "../dom";
import type { Store, Twin } from "../store";

const MOST_HITS = 12;

const starts = (text: string, word: string): boolean => text.split(/[\s/._-]+/).some((token) => token.startsWith(word));

/** Every word must occur in id, name or model; matches in its own name and its holder's come first. Pure. */
export function find(store: Store, text: string, most = MOST_HITS): Twin[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const hits: { twin: Twin; score: number }[] = [];
  for (const twin of store.twins.values()) {
    const path = store.pathOf(twin.id);
    const own = twin.name.toLowerCase();
    const near = path.slice(-2).map((one) => one.name).join(" ").toLowerCase();
    const all = `${path.map((one) => one.name).join(" ")} ${twin.id} ${store.modelName(twin.model)}`.toLowerCase();
    let score = 0;
    for (const word of words) {
      if (!all.includes(word)) {
        score = -1;
        break;
      }
      score += starts(own, word) ? 4 : starts(near, word) ? 3 : own.includes(word) ? 2 : starts(all, word) ? 1 : 0;
    }
    if (score >= 0) hits.push({ twin, score });
  }
  hits.sort((a, b) => b.score - a.score || a.twin.id.length - b.twin.id.length || a.twin.id.localeCompare(b.twin.id));
  return hits.slice(0, most).map((hit) => hit.twin);
}

export class Search {
  private hits: Twin[] = [];
  private active = -1;

  constructor(
    private readonly input: HTMLInputElement,
    private readonly list: HTMLElement,
    private readonly store: Store,
    private readonly show: (twin: string) => void,
  ) {
    input.addEventListener("input", () => this.update());
    input.addEventListener("focus", () => this.update());
    input.addEventListener("blur", () => window.setTimeout(() => this.close(), 150));
    input.addEventListener("keydown", (event) => this.key(event));
  }

  private update(): void {
    this.hits = find(this.store, this.input.value);
    this.active = this.hits.length > 0 ? 0 : -1;
    this.draw();
  }

  private draw(): void {
    const open = this.input.value.trim() !== "";
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    this.input.setAttribute("aria-activedescendant", this.active >= 0 ? `hit-${this.active}` : "");
    const rows = this.hits.map((twin, i) =>
      el(
        "div",
        {
          id: `hit-${i}`, role: "option", class: "hit", "aria-selected": String(i === this.active),
          onmousedown: (event) => {
            event.preventDefault();
            this.choose(i);
          },
        },
        el("span", {}, this.store.shortName(twin.id)), el("small", {}, `${this.store.modelName(twin.model)} · ${twin.id}`),
      ),
    );
    this.list.replaceChildren(...(rows.length > 0 ? rows : [el("p", { class: "empty" }, "No twin matches.")]));
    this.list.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const count = this.hits.length;
      if (count > 0) this.active = (this.active + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.draw();
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.choose(this.active);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      this.input.value = "";
      this.close();
      this.input.blur();
    }
  }

  private choose(index: number): void {
    const twin = this.hits[index];
    if (!twin) return;
    this.input.value = "";
    this.close();
    this.input.blur();
    this.show(twin.id);
  }

  private close(): void {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }
}
