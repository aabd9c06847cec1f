/**
 * Keeps the store true: subscribe first and buffer, read the snapshot page by page, apply what was buffered by seq, then
 * live. A gap, a missed event or a lost connection starts it over, with back-off; until then everything counts as stale.
 */
import * as documents from "./documents";
import { type Api, ApiError, Socket } from "./graphql";
import type { Store } from "./store";
import type {
  Page, WireAlert, WireGap, WireModel, WireRul, WireRule, WireSource, WireTwin, WireTwinChanges, WireWorkOrder,
} from "./wire";

export interface FeedState {
  kind: "connecting" | "live" | "reconnecting" | "unauthenticated";
  /** When the last event or answer came; null before the first. */
  heardAt: number | null;
  message: string;
  /** When the next try is due (reconnecting). */
  retryAt: number | null;
}

export interface ServiceFacts {
  version: string;
  mode: string;
  startedAt: string;
  sources: WireSource[];
}

interface Start {
  serviceInfo: ServiceFacts & { seq: number; twins: number };
  alertRules: WireRule[];
}

/** Above this many twins the feed carries only what colours the scene, and the selected twin's own values beside it. */
const WIDE_LIMIT = 1_500;
/** What the API grants by default: more for twins than for other lists. */
const PAGE_SIZE = 100;
const TWINS_PAGE_SIZE = 500;
const RECENT = 500;
const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 15_000;
const RESYNC_PAUSE_MS = 5_000;

export class Feed {
  state: FeedState = { kind: "connecting", heardAt: null, message: "Connecting", retryAt: null };
  facts: ServiceFacts | null = null;
  rules: WireRule[] = [];
  private socket: Socket | null = null;
  private round = 0;
  private failures = 0;
  private timer = 0;
  private buffer: (() => void)[] | null = null;
  private focused: { id: string; stop: () => void } | null = null;
  private focusId: string | null = null;
  private colourPath: string | null = null;
  private wide = true;
  private lastResync = 0;
  private readonly rereads = new Set<string>();

  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly on: {
      state(state: FeedState): void;
      /** Rules, models and the whole snapshot are in the store. */
      ready(): void;
    },
  ) {
    window.addEventListener("online", () => this.retryNow());
  }

  start(): void {
    void this.run(++this.round);
  }

  retryNow(): void {
    if (this.state.kind === "live" || (this.state.kind === "connecting" && this.socket)) return;
    clearTimeout(this.timer);
    this.failures = 0;
    this.start();
  }

  /** All values of this twin are wanted live, however large the plant. */
  focus(id: string | null): void {
    this.focusId = id;
    this.focused?.stop();
    this.focused = null;
    if (id === null || this.wide || !this.socket || this.state.kind !== "live") return;
    this.focused = { id, stop: this.subscribeTwins({ ids: [id] }, this.store.seq) };
  }

  /** The path that colours the scene; in a large plant it joins what the feed carries. */
  colour(path: string | null): void {
    if (path === this.colourPath) return;
    this.colourPath = path;
    if (!this.wide && path !== null && this.state.kind === "live") this.resync(true);
  }

  /** Fresh source states, for the overview. */
  async readFacts(): Promise<void> {
    if (this.state.kind !== "live" || !this.facts) return;
    const { serviceInfo } = await this.api.query<{ serviceInfo: ServiceFacts }>(documents.INFO);
    this.facts = { ...this.facts, sources: serviceInfo.sources };
  }

  private async run(round: number): Promise<void> {
    this.socket?.close();
    this.socket = null;
    this.focused = null;
    if (this.state.kind !== "live") {
      this.announce({ kind: this.state.heardAt === null ? "connecting" : "reconnecting", retryAt: null });
    }
    const opening = Socket.open(this.api.socketUrl, (error) => this.lost(round, error));
    const giveUp = (): void => void opening.then((socket) => socket.close(), () => {});
    try {
      const start = await this.api.query<Start>(documents.START);
      if (round !== this.round) return giveUp();
      // A server that starts over counts from below: what is known here would never be replaced by seq.
      if (start.serviceInfo.seq < this.store.seq) this.store.clear();
      this.facts = start.serviceInfo;
      this.rules = start.alertRules;
      this.wide = start.serviceInfo.twins <= WIDE_LIMIT;
      const socket = await opening;
      if (round !== this.round) return socket.close();
      this.socket = socket;
      this.buffer = [];
      const after = start.serviceInfo.seq;
      this.subscribeAll(after);
      await this.readSnapshot(round);
      if (round !== this.round) return;
      this.failures = 0;
      this.announce({ kind: "live", heardAt: Date.now(), message: "Live", retryAt: null });
      this.on.ready();
      this.drain();
      this.focus(this.focusId);
    } catch (error) {
      giveUp();
      this.lost(round, error instanceof ApiError ? error : new ApiError(String(error), "INTERNAL"));
    }
  }

  private subscribeAll(after: number): void {
    this.subscribeTwins(this.wide ? null : { paths: this.paths() }, after);
    this.subscribe<{ alertChanged: { alert: WireAlert | null; missed: number; gap: WireGap | null } }>(
      documents.ALERT_CHANGED, { after },
      ({ alertChanged: { alert, missed, gap } }) => this.guard(missed, gap, () => alert && this.store.putAlert(alert)),
    );
    this.subscribe<{ rulChanged: { estimate: WireRul | null; missed: number; gap: WireGap | null } }>(
      documents.RUL_CHANGED, { after },
      ({ rulChanged: { estimate, missed, gap } }) => this.guard(missed, gap, () => estimate && this.store.putRul(estimate)),
    );
    this.subscribe<{ workOrderChanged: { workOrder: WireWorkOrder | null; missed: number; gap: WireGap | null } }>(
      documents.ORDER_CHANGED, { after },
      ({ workOrderChanged: { workOrder, missed, gap } }) =>
        this.guard(missed, gap, () => workOrder && this.store.putOrder(workOrder)),
    );
  }

  private subscribeTwins(filter: object | null, after: number): () => void {
    return this.subscribe<{ twinsChanged: WireTwinChanges }>(
      documents.TWINS_CHANGED,
      { filter, after, minIntervalMs: this.wide ? 100 : 250 },
      ({ twinsChanged: { missed, gap, changes } }) =>
        this.guard(missed, gap, () => {
          for (const change of changes) {
            if (change.kind === "GAP") this.resync();
            else if (this.store.applyChange(change) && change.dtId) this.reread(change.dtId);
          }
        }),
    );
  }

  private subscribe<T>(document: string, variables: Record<string, unknown>, apply: (data: T) => void): () => void {
    const round = this.round;
    return this.socket!.subscribe(document, variables, {
      next: (data) => {
        if (round !== this.round) return;
        if (this.buffer) this.buffer.push(() => apply(data as T));
        else apply(data as T);
        this.state.heardAt = Date.now();
      },
      ended: (error) => this.lost(round, error ?? new ApiError("The server ended the subscription.", "NETWORK")),
    });
  }

  private guard(missed: number, gap: WireGap | null, apply: () => void): void {
    apply();
    if (missed > 0 || gap) this.resync();
  }

  private drain(): void {
    const buffered = this.buffer ?? [];
    this.buffer = null;
    for (const apply of buffered) apply();
  }

  /** Something was lost: read the whole state again (at most every few seconds) while events are held back. */
  private resync(atOnce = false): void {
    if (this.state.kind !== "live") return;
    const wait = atOnce ? 0 : Math.max(0, this.lastResync + RESYNC_PAUSE_MS - Date.now());
    this.lastResync = Date.now() + wait;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.start(), wait);
  }

  private reread(id: string): void {
    if (this.rereads.has(id)) return;
    this.rereads.add(id);
    const round = this.round;
    // A plant that is being imported changes thousands of twins at once; one snapshot is cheaper than a query each.
    if (this.rereads.size > 50) {
      this.resync();
      return;
    }
    this.api
      .query<{ twin: WireTwin | null }>(documents.TWIN_STATE, { id, paths: this.wide ? null : this.paths() })
      .then(({ twin }) => {
        this.rereads.delete(id);
        if (round !== this.round) return;
        if (twin) this.store.putTwins([twin]);
        else this.store.dropTwin(id);
        this.store.linkChildren();
      })
      .catch(() => {
        this.rereads.delete(id);
        if (round === this.round) this.resync();
      });
  }

  private paths(): string[] {
    const paths = new Set(this.rules.map((rule) => rule.value).filter((path) => path !== "rul_days"));
    if (this.colourPath) paths.add(this.colourPath);
    return [...paths];
  }

  private async readSnapshot(round: number): Promise<void> {
    this.rereads.clear();
    const seen = new Set<string>();
    // All that stands or is open, and the newest of what is over: the time slider looks back at it.
    const [models, standing, alerts, open, orders] = await Promise.all([
      this.pages<WireModel>(documents.MODELS, "models"),
      this.pages<WireAlert>(documents.ALERTS, "alerts", { state: ["RAISED", "ACKNOWLEDGED"] }),
      this.pages<WireAlert>(documents.ALERTS, "alerts", { state: ["CLEARED"] }, RECENT),
      this.pages<WireWorkOrder>(documents.ORDERS, "workOrders", { state: ["OPEN", "IN_PROGRESS"] }),
      this.pages<WireWorkOrder>(documents.ORDERS, "workOrders", { state: ["CLOSED"] }, RECENT),
      this.pages<WireTwin>(documents.TWINS, "twins", { paths: this.wide ? null : this.paths() }, Infinity, (twins) => {
        if (round !== this.round) return;
        this.store.putTwins(twins);
        for (const twin of twins) seen.add(twin.dtId);
      }),
    ]);
    if (round !== this.round) return;
    this.store.setModels(models);
    this.store.finishSnapshot(seen);
    this.store.keepStanding(new Set(standing.map((alert) => alert.alertId)));
    for (const alert of [...standing, ...alerts]) this.store.putAlert(alert);
    for (const order of [...open, ...orders]) this.store.putOrder(order);
  }

  /** All pages of a connection; a page the server calls too large is asked for again at half the size. */
  private async pages<T>(
    document: string, field: string, variables: object = {}, most = Infinity, each: ((nodes: T[]) => void) | null = null,
  ): Promise<T[]> {
    const all: T[] = [];
    let after: string | null = null;
    let first = field === "twins" ? TWINS_PAGE_SIZE : PAGE_SIZE;
    for (let count = 0; count < most; ) {
      let page: Page<T>;
      try {
        const answer: Record<string, Page<T>> = await this.api.query(document, { ...variables, first, after });
        page = answer[field]!;
      } catch (error) {
        if (!(error instanceof ApiError) || !error.tooMuch || first <= 10) throw error;
        first = Math.floor(first / 2);
        continue;
      }
      if (each) each(page.nodes);
      else all.push(...page.nodes);
      count += page.nodes.length;
      if (!page.pageInfo.hasNextPage || page.nodes.length === 0) break;
      after = page.pageInfo.endCursor;
    }
    return all;
  }

  private lost(round: number, error: ApiError): void {
    if (round !== this.round) return;
    this.round++;
    this.socket?.close();
    this.socket = null;
    this.focused = null;
    this.buffer = null;
    clearTimeout(this.timer);
    if (error.unauthenticated) {
      this.announce({ kind: "unauthenticated", message: error.message, retryAt: null });
      return;
    }
    const full = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.failures++);
    const wait = full * (0.75 + Math.random() / 2);
    this.announce({
      kind: this.state.heardAt === null ? "connecting" : "reconnecting", message: error.message, retryAt: Date.now() + wait,
    });
    this.timer = window.setTimeout(() => this.start(), wait);
  }

  private announce(part: Partial<FeedState>): void {
    this.state = { ...this.state, ...part };
    this.on.state(this.state);
  }
}
