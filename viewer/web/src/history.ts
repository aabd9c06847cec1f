/** Series from the API's history: one for a plot, or many at once to replay the whole plant. */
import { replayDocument } from "./documents";
import { type Api, ApiError } from "./graphql";
import { type View, RUL_PATH } from "./overlay";
import type { Sample } from "./plot";
import type { Twin } from "./store";
import type { WireAlert, WireHistory, Zone } from "./wire";

export interface Series {
  twin: string;
  path: string;
  /** Ascending in time; the time is the middle of the bucket for plots, its end counts for replay. */
  samples: Sample[];
  bucketMs: number;
}

const SERIES_A_QUERY = 16;

const samplesOf = (history: WireHistory, bucketMs: number): Sample[] =>
  history.buckets
    .filter((bucket) => bucket.count > 0)
    .map(({ start, last, avg, min, max }) => ({ t: Date.parse(start) + bucketMs / 2, value: avg ?? last, min, max }));

export interface Wanted {
  twin: string;
  path: string;
}

/**
 * History of all that is wanted in at most `buckets` steps, some series a query (fewer where the server calls it too much);
 * `progress` is told the share that is there (0..1). Stops early when `go` says no.
 */
export async function readMany(
  api: Api, wanted: readonly Wanted[], from: number, to: number, buckets: number, progress: (share: number) => void, go: () => boolean,
): Promise<Series[]> {
  const bucketMs = Math.max(1000, Math.ceil((to - from) / buckets));
  const common = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), bucketMs, first: Math.ceil((to - from) / bucketMs) + 2 };
  const out: Series[] = [];
  let size = SERIES_A_QUERY;
  for (let at = 0; at < wanted.length && go(); ) {
    const some = wanted.slice(at, at + size);
    const variables: Record<string, unknown> = { ...common };
    some.forEach(({ twin, path }, i) => {
      variables[`t${i}`] = twin;
      variables[`p${i}`] = path;
    });
    let answer: Record<string, WireHistory>;
    try {
      answer = await api.query(replayDocument(some.length), variables);
    } catch (error) {
      if (!(error instanceof ApiError) || !error.tooMuch || size === 1) throw error;
      size = Math.floor(size / 2);
      continue;
    }
    some.forEach(({ twin, path }, i) => out.push({ twin, path, samples: samplesOf(answer[`h${i}`]!, bucketMs), bucketMs }));
    at += some.length;
    progress(at / wanted.length);
  }
  return out;
}

/** The value that held at `t`, or null where there is none near enough before it. */
export function valueAt(samples: readonly Sample[], t: number, bucketMs: number): number | null {
  let low = 0;
  let high = samples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle]!.t - bucketMs / 2 <= t) low = middle + 1;
    else high = middle;
  }
  const sample = samples[low - 1];
  return sample && t - sample.t <= Math.max(60_000, bucketMs * 3) ? sample.value : null;
}

/** Which alerts stood at `t`: raised by then, and not yet cleared. */
export function standingAt(alerts: Iterable<WireAlert>, t: number): Map<string, WireAlert[]> {
  const out = new Map<string, WireAlert[]>();
  for (const alert of alerts) {
    if (Date.parse(alert.raisedAt) > t || (alert.clearedAt && Date.parse(alert.clearedAt) <= t)) continue;
    const own = out.get(alert.dtId);
    if (own) own.push(alert);
    else out.set(alert.dtId, [alert]);
  }
  return out;
}

/** The plant at one moment of the past, from series that were read before. */
export class Past implements View {
  moment = 0;
  private readonly series = new Map<string, Series>();
  private standing = new Map<string, WireAlert[]>();

  put(series: Iterable<Series>): void {
    for (const one of series) this.series.set(`${one.twin}\n${one.path}`, one);
  }

  at(moment: number, alerts: Iterable<WireAlert>): void {
    this.moment = moment;
    this.standing = standingAt(alerts, moment);
  }

  known(twin: string, path: string): boolean {
    return this.series.has(`${twin}\n${path}`);
  }

  number(twin: Twin, path: string): number | null {
    const series = this.series.get(`${twin.id}\n${path}`);
    return series ? valueAt(series.samples, this.moment, series.bucketMs) : null;
  }

  /** History keeps no quality by bucket. */
  quality(): "GOOD" {
    return "GOOD";
  }

  /** Hatched where a value that is kept at all is missing at that moment. */
  stale(twin: Twin): boolean {
    let kept = false;
    for (const path of twin.values.keys()) {
      const series = this.series.get(`${twin.id}\n${path}`);
      if (!series || series.samples.length === 0) continue;
      if (valueAt(series.samples, this.moment, series.bucketMs) !== null) return false;
      kept = true;
    }
    return kept;
  }

  rul(twin: Twin): number | null {
    return this.number(twin, RUL_PATH);
  }

  zone(): Zone {
    return "UNKNOWN";
  }

  alerts(id: string): readonly WireAlert[] {
    return this.standing.get(id) ?? [];
  }
}
