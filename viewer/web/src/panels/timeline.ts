/** The time slider: its right end is live, everything left of it is history. */
import { byId, el, setText } from "../dom";
import { clock, dateTime, span } from "../format";
import { RANK } from "../overlay";
import type { WireAlert } from "../wire";

const STEPS = 1000;

export interface TimelineActions {
  /** null is live. */
  seek(moment: number | null): void;
  /** Another window was chosen. */
  reload(): void;
}

export class Timeline {
  private readonly slider = byId<HTMLInputElement>("time");
  private readonly marks = byId("time-marks");
  private readonly label = byId("time-label");
  private readonly start = byId("time-start");
  private readonly play = byId<HTMLButtonElement>("play");
  private readonly choice = byId<HTMLSelectElement>("time-window");
  private readonly banner = byId("banner");
  private readonly bannerText = byId("banner-text");
  private timer = 0;
  private alerts: readonly WireAlert[] = [];
  /** Frozen while the past is looked at, so that the slider does not run away. */
  to = Date.now();
  moment: number | null = null;

  constructor(private readonly actions: TimelineActions) {
    this.slider.max = String(STEPS);
    this.slider.value = String(STEPS);
    this.slider.addEventListener("input", () => this.slide());
    byId("go-live").addEventListener("click", () => this.live());
    byId("banner-live").addEventListener("click", () => this.live());
    this.play.addEventListener("click", () => (this.timer ? this.pause() : this.replay()));
    this.choice.addEventListener("change", () => {
      this.draw();
      actions.reload();
    });
    window.setInterval(() => this.moment === null && this.draw(), 5000);
    this.draw();
  }

  get windowMs(): number {
    return Number(this.choice.value) * 60_000;
  }

  get from(): number {
    return this.to - this.windowMs;
  }

  setAlerts(alerts: readonly WireAlert[]): void {
    this.alerts = alerts;
    this.drawMarks();
  }

  /** How much of the history has been read (0..1). */
  progress(share: number): void {
    this.banner.dataset["loading"] = String(share < 1);
    if (this.moment !== null) this.drawBanner(share);
  }

  live(): void {
    this.pause();
    this.moment = null;
    this.slider.value = String(STEPS);
    this.draw();
    this.actions.seek(null);
  }

  seek(moment: number): void {
    if (this.moment === null) this.to = Date.now();
    this.moment = Math.min(this.to, Math.max(this.from, moment));
    this.slider.value = String(Math.round(((this.moment - this.from) / this.windowMs) * STEPS));
    this.draw();
    this.actions.seek(this.moment);
  }

  private slide(): void {
    const at = Number(this.slider.value);
    if (at >= STEPS) this.live();
    else this.seek(this.from + (at / STEPS) * this.windowMs);
  }

  private replay(): void {
    if (this.moment === null) this.seek(Date.now() - this.windowMs);
    this.play.setAttribute("aria-pressed", "true");
    setText(this.play, "❚❚");
    this.play.setAttribute("aria-label", "Pause the replay");
    this.timer = window.setInterval(() => {
      if (this.moment === null) return this.pause();
      const next = this.moment + this.windowMs / 300;
      if (next >= this.to) this.live();
      else this.seek(next);
    }, 200);
  }

  private pause(): void {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.setAttribute("aria-pressed", "false");
    setText(this.play, "▶");
    this.play.setAttribute("aria-label", "Replay the window");
  }

  private draw(): void {
    if (this.moment === null) this.to = Date.now();
    const past = this.moment !== null;
    document.documentElement.dataset["time"] = past ? "past" : "live";
    const text = this.moment === null ? "Live" : clock(this.moment);
    setText(this.label, text);
    this.slider.setAttribute("aria-valuetext", this.moment === null ? "live" : dateTime(this.moment));
    setText(this.start, `−${span(this.windowMs)}`);
    this.banner.hidden = !past;
    if (past) this.drawBanner(1);
    this.drawMarks();
  }

  private drawBanner(share: number): void {
    const loading = share < 1 ? ` · reading history ${Math.round(share * 100)} %` : "";
    setText(this.bannerText, this.moment === null ? "" : `State at ${dateTime(this.moment)}, ${span(Date.now() - this.moment)} ago${loading}`);
  }

  private drawMarks(): void {
    const marks: HTMLElement[] = [];
    for (const alert of this.alerts) {
      const share = (Date.parse(alert.raisedAt) - this.from) / this.windowMs;
      if (share < 0 || share > 1 || marks.length > 200) continue;
      const mark = el("span", { class: "mark", "data-rank": RANK[alert.severity] });
      mark.style.left = `${(share * 100).toFixed(2)}%`;
      marks.push(mark);
    }
    this.marks.replaceChildren(...marks);
  }
}
