// The page of one stream: its lineage, its shards, its records and its readers.

import { streamOf } from "./api.mjs";
import { sparkline } from "./charts.mjs";
import { h, show } from "./dom.mjs";
import { bytes, count, moment, plural, rate, span } from "./format.mjs";
import { withExpired } from "./lineage.mjs";
import { Picture } from "./picture.mjs";
import { Rates } from "./rates.mjs";
import { Readers } from "./readers.mjs";
import { Records } from "./records.mjs";
import { ShardTable } from "./shards.mjs";

/** The server is asked no more often, and only while there is news. */
const PAUSE = 1000;

/** Without news it is asked all the same now and then: time goes on. */
const LONGEST_PAUSE = 15_000;

export function streamPage(live, named) {
  const page = new StreamPage(live, named);
  return { element: page.element, leave: () => page.leave(), title: named.name };
}

class StreamPage {
  #shards = [];
  #loads = new Map();
  #shardRates = new Rates();
  #selected = null;
  #answer = null;
  #asked = -Infinity;
  #isAsking = false;
  #news = null;
  #hasLeft = false;

  constructor(live, named) {
    this.live = live;
    this.named = named;
    this.facts = h("p", { class: "quiet" });
    this.problem = h("p", { class: "bad", role: "alert", hidden: true });
    this.cards = flowCards();
    const choose = (id) => this.#select(id);
    this.picture = new Picture(choose);
    this.table = new ShardTable(choose);
    this.records = new Records(named, (id) => this.#select(id));
    this.readers = new Readers(named);
    this.element = h(
      "div",
      null,
      h("p", null, h("a", { href: "#/" }, "All streams")),
      h("h1", null, named.name, " ", h("small", null, named.namespace)),
      this.problem,
      this.facts,
      this.cards.element,
      h("h2", { id: "lineage" }, "Lineage"),
      this.picture.element,
      h("h2", { id: "shards" }, "Shards"),
      this.table.element,
      h("h2", { id: "records" }, "Records"),
      this.records.element,
      this.readers.element,
    );
    this.stop = live.listen((what) => this.#hear(what));
    this.#ask();
  }

  leave() {
    this.#hasLeft = true;
    this.stop();
    this.picture.leave();
    this.records.leave();
  }

  #row() {
    return this.live.summary?.streams.find(({ name, namespace }) => name === this.named.name && namespace === this.named.namespace);
  }

  #hear(what) {
    if (what === "state") return;
    const row = this.#row();
    if (row) this.cards.update(this.live, `stream ${row.id}`, row);
    if (what === "tick") this.#tick();
    // What the numbers do not show changes nothing that the page shows, but for time.
    const news = row && `${row.status} ${row.shards} ${row.openShards} ${row.putRecords}`;
    const isDue = performance.now() - this.#asked >= (news === this.#news ? LONGEST_PAUSE : PAUSE);
    if (isDue && !this.#isAsking) {
      this.#news = news;
      this.#ask();
    }
  }

  async #ask() {
    this.#isAsking = true;
    this.#asked = performance.now();
    try {
      const answer = await streamOf(this.named, this.#selected);
      if (this.#hasLeft) return;
      this.#take(answer);
      this.readers.refresh();
      this.problem.hidden = true;
    } catch (error) {
      this.problem.hidden = false;
      show(this.problem, error.message);
    } finally {
      this.#isAsking = false;
    }
  }

  #take(answer) {
    this.#answer = answer;
    this.#shards = withExpired(this.#shards, answer.shards);
    for (const { id, stats } of answer.shards) if (stats && !stats.error) this.#shardRates.note(id, stats.nextRecord);
    show(this.facts, factsOf(answer));
    this.#draw();
    this.records.update(answer.shards);
  }

  /** Loads are worked out each second, also while nothing comes: then they fall. */
  #tick() {
    if (!this.#answer) return;
    this.#shardRates.tick(performance.now());
    const rates = new Map(this.#shards.map(({ id }) => [id, this.#shardRates.rate(id)]));
    const isSame = [...rates].every(([id, load]) => this.#loads.get(id) === load);
    this.#loads = rates;
    if (!isSame) this.#draw();
  }

  #draw() {
    const now = this.live.summary ? Math.round(this.live.now()) : this.#answer.now;
    this.picture.show(this.#shards, now, this.#loads, this.#selected);
    this.table.show(this.#shards, now, this.#loads, this.#selected);
  }

  #select(id) {
    this.#selected = id;
    this.#draw();
    this.records.choose(id);
  }
}

function factsOf(answer) {
  const open = answer.shards.filter(({ closed }) => closed === null).length;
  const facts = [
    answer.status,
    answer.mode === "ON_DEMAND" ? "on demand" : "provisioned",
    `${plural(open, "open shard")} of ${count(answer.shards.length + answer.shardsLeftOut)}`,
    answer.retentionMillis === null ? "keeps records for ever" : `keeps records for ${span(answer.retentionMillis)}`,
    `records up to ${bytes(answer.maxRecordBytes)}`,
    `created ${moment(answer.created).slice(0, 19)}`,
  ];
  if (answer.encryptionKey) facts.push(`encrypted with ${answer.encryptionKey}`);
  for (const [name, value] of Object.entries(answer.tags)) facts.push(`${name}=${value}`);
  if (answer.shardsLeftOut > 0) facts.push(`the oldest ${plural(answer.shardsLeftOut, "shard")} not shown`);
  return facts.join(" · ");
}

function flowCards() {
  const made = ["Records in /s", "Bytes in /s", "Records out /s", "Bytes out /s"].map((name) => {
    const [value, spark] = [h("div", { class: "value" }, "–"), sparkline()];
    return { element: h("div", { class: "card" }, h("div", { class: "name" }, name), value, spark.element), value, spark };
  });
  const counters = ["put records", "put bytes", "read records", "read bytes"];
  const update = ({ rates }, key) =>
    counters.forEach((counter, index) => {
      const current = rates.rate(`${key} ${counter}`);
      show(made[index].value, counter.endsWith("bytes") ? bytes(current) : rate(current));
      made[index].spark.draw(rates.points(`${key} ${counter}`));
    });
  return { element: h("div", { class: "cards" }, made.map(({ element }) => element)), update };
}
