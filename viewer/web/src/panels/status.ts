/** Connection state, and the question for a token. */
import { byId, setText } from "../dom";
import type { FeedState } from "../feed";
import { clock, span } from "../format";
import { token } from "../graphql";

export class Status {
  private readonly chip = byId<HTMLButtonElement>("connection");
  private readonly text = byId("connection-text");
  /** Said to screen readers when the state changes, and only then. */
  private readonly voice = byId("connection-voice");
  private readonly dialog = byId<HTMLDialogElement>("token-dialog");
  private readonly input = byId<HTMLInputElement>("token");
  private readonly hint = byId("token-hint");
  private state: FeedState | null = null;

  constructor(private readonly retry: () => void) {
    this.chip.addEventListener("click", () => (this.state?.kind === "unauthenticated" ? this.ask("") : retry()));
    byId<HTMLFormElement>("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      token.set(this.input.value.trim());
      this.input.value = "";
      this.dialog.close();
      this.retry();
    });
    window.setInterval(() => this.draw(), 1000);
  }

  set(state: FeedState): void {
    const before = this.state?.kind;
    this.state = state;
    this.draw();
    if (state.kind !== before) setText(this.voice, this.text.textContent ?? "");
    if (state.kind === "unauthenticated" && before !== "unauthenticated") {
      this.ask(token.get() ? `The server refused this token: ${state.message}` : "");
      token.set("");
    }
    if (state.kind === "live" && this.dialog.open) this.dialog.close();
  }

  /** The state in words: live, reconnecting with the time since when everything is stale, or a token is missing. */
  private draw(now = Date.now()): void {
    const state = this.state;
    if (!state) return;
    this.chip.dataset["state"] = state.kind;
    document.documentElement.dataset["connection"] = state.kind;
    let text = "Live";
    if (state.kind === "unauthenticated") text = "Token needed";
    else if (state.kind === "connecting") text = "Connecting…";
    else if (state.kind === "reconnecting") {
      const since = state.heardAt === null ? "" : ` · stale since ${clock(state.heardAt)}`;
      text = `Reconnecting${since}`;
    }
    setText(this.text, text);
    const wait = state.retryAt !== null && state.retryAt > now ? ` Next try in ${span(state.retryAt - now)}.` : "";
    this.chip.title = state.kind === "live" ? "Connected; changes arrive as they happen." : `${state.message}${wait} Click to try at once.`;
  }

  private ask(hint: string): void {
    setText(this.hint, hint);
    if (!this.dialog.open) this.dialog.showModal();
    this.input.focus();
  }
}
