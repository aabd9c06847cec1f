/** Carries the overlay's judgement to scene and badges, for all twins or for those that changed. */
import type { Badges } from "./badges";
import { type Badge, type Look, type Overlay, PLAIN, type View } from "./overlay";
import type { PlantScene } from "./scene";
import type { Store, Twin } from "./store";

export class Painter {
  private readonly looks = new Map<string, Look>();
  /** Worst rank of a twin with all that it contains. */
  private readonly worst = new Map<string, number>();
  private readonly badgeOf = new Map<string, Badge>();

  constructor(
    private readonly store: Store,
    private readonly overlay: Overlay,
    private readonly scene: PlantScene,
    private readonly badges: Badges,
  ) {}

  look(twin: Twin): Look {
    return this.looks.get(twin.id) ?? { colour: null, pattern: PLAIN, rank: 0 };
  }

  /** Twins with a warning or worse, the worst first. */
  exceptions(): string[] {
    return [...this.badgeOf.values()].sort((a, b) => b.rank - a.rank || a.title.localeCompare(b.title)).map((badge) => badge.twin);
  }

  all(view: View): void {
    this.looks.clear();
    this.worst.clear();
    this.badgeOf.clear();
    for (const twin of this.store.twins.values()) this.judge(twin, view);
    for (const twin of this.store.twins.values()) if (twin.parent === null || !this.store.twins.has(twin.parent)) this.sum(twin);
    for (const twin of this.store.twins.values()) this.apply(twin);
    this.badges.set([...this.badgeOf.values()]);
  }

  some(ids: Iterable<string>, view: View): void {
    const touched = new Set<Twin>();
    let badgesChanged = false;
    for (const id of ids) {
      const twin = this.store.twins.get(id);
      if (!twin) {
        badgesChanged = this.badgeOf.delete(id) || badgesChanged;
        continue;
      }
      const before = this.badgeOf.get(id);
      this.judge(twin, view);
      const badge = this.badgeOf.get(id);
      if (before?.text !== badge?.text || before?.rank !== badge?.rank) badgesChanged = true;
      for (let up: Twin | undefined = twin, depth = 0; up && depth < 64; depth++) {
        const worst = this.worstOf(up);
        touched.add(up);
        if (depth > 0 && this.worst.get(up.id) === worst) break;
        this.worst.set(up.id, worst);
        up = up.parent ? this.store.twins.get(up.parent) : undefined;
      }
    }
    for (const twin of touched) this.apply(twin);
    if (badgesChanged) this.badges.set([...this.badgeOf.values()]);
  }

  private judge(twin: Twin, view: View): void {
    const { look, badge } = this.overlay.assess(twin, view);
    this.looks.set(twin.id, look);
    if (badge) this.badgeOf.set(twin.id, badge);
    else this.badgeOf.delete(twin.id);
  }

  private sum(twin: Twin): number {
    this.worst.set(twin.id, 0);
    for (const id of twin.children) {
      const child = this.store.twins.get(id);
      if (child && !this.worst.has(id)) this.sum(child);
    }
    const worst = this.worstOf(twin);
    this.worst.set(twin.id, worst);
    return worst;
  }

  private worstOf(twin: Twin): number {
    let worst = this.look(twin).rank;
    for (const id of twin.children) worst = Math.max(worst, this.worst.get(id) ?? 0);
    return worst;
  }

  private apply(twin: Twin): void {
    const rank = this.worst.get(twin.id) ?? 0;
    const { palette } = this.overlay;
    const colour = rank >= 3 ? palette.critical : rank === 2 ? palette.warning : null;
    this.scene.setLook(twin.id, this.look(twin), { colour, pattern: PLAIN, rank });
  }
}
