/** Light or dark: as the system says, until the reader chooses; the choice is kept for this tab's session. */
const KEY = "twinloom.theme";
export type Theme = "dark" | "light";

const system = matchMedia("(prefers-color-scheme: light)");

export function theme(): Theme {
  const chosen = sessionStorage.getItem(KEY);
  return chosen === "dark" || chosen === "light" ? chosen : system.matches ? "light" : "dark";
}

export function toggleTheme(): void {
  sessionStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
}

export function followSystem(changed: () => void): void {
  system.addEventListener("change", changed);
}
