/** The legend: what each colour and pattern means, with limits and units. */
import { el } from "../dom";
import { css, type Legend } from "../overlay";

const PATTERNS = ["plain", "stale", "bad"] as const;

export function drawLegend(host: HTMLElement, legend: Legend): void {
  const rows = legend.entries.map(({ colour, pattern, text }) => {
    const swatch = el("span", { class: `swatch ${PATTERNS[pattern]}`, "aria-hidden": "true" });
    if (colour) swatch.style.setProperty("--swatch", css(colour));
    return el("li", {}, swatch, el("span", {}, text));
  });
  let ramp: HTMLElement | null = null;
  if (legend.ramp) {
    const bar = el("span", { class: "ramp", "aria-hidden": "true" });
    bar.style.backgroundImage = `linear-gradient(90deg, ${legend.ramp.colours.map(css).join(", ")})`;
    ramp = el("div", { class: "ramp-row" }, el("span", {}, legend.ramp.from), bar, el("span", {}, `${legend.ramp.to} ${legend.unit}`.trim()));
  }
  host.replaceChildren(el("h2", {}, legend.unit ? `${legend.title} [${legend.unit}]` : legend.title), ...(ramp ? [ramp] : []), el("ul", {}, ...rows));
}
