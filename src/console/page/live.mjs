// News from the server: one connection for all of the page, and none while the page is hidden.

import { events } from "./api.mjs";
import { Rates, Window } from "./rates.mjs";

const LONGEST_PAUSE = 15_000;

/** Tells who listens what is new: `summary` at each event, `tick` each second, `state` when the connection changes. */
export class Live {
  summary = null;
  state = "connecting";
  rates = new Rates();
  commits = new Window();
  syncs = new Window();
  #listeners = new Set();
  #source = null;
  #pause = 1000;
  #retry = null;

  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close("paused") : this.#open()));
    setInterval(() => this.#tick(), 1000);
    if (!document.hidden) this.#open();
  }

  /** Calls `listener(what)` from now on, until the returned function is called. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The server's time by now, as far as it is known. */
  now() {
    return Date.now() + (this.offset ?? 0);
  }

  #open() {
    clearTimeout(this.#retry);
    if (this.#source) return;
    const source = (this.#source = events());
    source.addEventListener("open", () => {
      this.#pause = 1000;
      this.#become("live");
    });
    source.addEventListener("summary", (event) => this.#take(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      this.#close("off");
      this.#retry = setTimeout(() => this.#open(), this.#pause);
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    });
  }

  #close(state) {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
    this.#become(state);
  }

  #become(state) {
    this.state = state;
    this.#tell("state");
  }

  #take(summary) {
    this.summary = summary;
    this.offset = summary.now - Date.now();
    const note = (key, of) => {
      this.rates.note(`${key} put records`, of.putRecords);
      this.rates.note(`${key} put bytes`, of.putBytes);
      this.rates.note(`${key} read records`, of.readRecords);
      this.rates.note(`${key} read bytes`, of.readBytes);
    };
    note("store", summary.store);
    for (const stream of summary.streams) note(`stream ${stream.id}`, stream);
    const ids = new Set(summary.streams.map(({ id }) => id));
    this.rates.keep((key) => !key.startsWith("stream ") || ids.has(Number(key.split(" ")[1])));
    this.#tell("summary");
  }

  #tick() {
    if (!this.summary || document.hidden) return;
    this.rates.tick(performance.now());
    this.commits.note(this.summary.store.commitMicros);
    this.syncs.note(this.summary.store.syncMicros);
    this.#tell("tick");
  }

  #tell(what) {
    for (const listener of [...this.#listeners]) listener(what);
  }
}
