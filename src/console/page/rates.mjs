// Rates from counters that the server counts up, second by second. Nothing here knows the page.

const MOST_POINTS = 60;

/** What many counters do in each second. */
export class Rates {
  #counters = new Map();

  /** The counter has this value by now. */
  note(key, value) {
    const counter = this.#counters.get(key);
    // A server that was started again begins at 0.
    if (!counter || value < counter.latest) this.#counters.set(key, { latest: value, counted: value, time: null, points: [] });
    else counter.latest = value;
  }

  /** A second, about, is over; the time is in milliseconds. */
  tick(time) {
    for (const counter of this.#counters.values()) {
      const seconds = counter.time === null ? 0 : (time - counter.time) / 1000;
      if (seconds > 0) counter.points.push((counter.latest - counter.counted) / seconds);
      if (counter.points.length > MOST_POINTS) counter.points.shift();
      counter.time = time;
      counter.counted = counter.latest;
    }
  }

  /** The last seconds, the newest at the end. */
  points(key) {
    return this.#counters.get(key)?.points ?? [];
  }

  /** Per second, over the last three; null while it is not known. */
  rate(key) {
    const points = this.points(key).slice(-3);
    return points.length === 0 ? null : points.reduce((sum, point) => sum + point, 0) / points.length;
  }

  /** Forgets the counters for which this is false. */
  keep(isKept) {
    for (const key of this.#counters.keys()) if (!isKept(key)) this.#counters.delete(key);
  }
}

/** What came into a histogram within the last minute. A histogram is `[[bound, count], …]`, bound null where there is none. */
export class Window {
  #looks = [];

  note(buckets) {
    this.#looks.push(buckets);
    if (this.#looks.length > MOST_POINTS) this.#looks.shift();
  }

  quantile(share) {
    const looks = this.#looks;
    return looks.length === 0 ? null : quantile(looks.length === 1 ? [] : looks[0], looks.at(-1), share);
  }
}

/** What this share of the values does not exceed that came between two looks; null without any. */
export function quantile(before, after, share) {
  const earlier = new Map(before);
  const came = after.map(([bound, count]) => [bound ?? Infinity, count - (earlier.get(bound) ?? 0)]);
  came.sort(([one], [other]) => one - other);
  const all = came.reduce((sum, [, count]) => sum + count, 0);
  if (all <= 0) return null;
  let upTo = 0;
  for (const [bound, count] of came) {
    upTo += count;
    if (upTo >= Math.max(1, Math.ceil(all * share))) return bound;
  }
  return null;
}
