// The viewer of records: follows the end, and finds by place, time, number and key.

import { recordsOf } from "./api.mjs";
import { h, show } from "./dom.mjs";
import { bytes as size, count, moment, shortShard } from "./format.mjs";
import { partOf } from "./lineage.mjs";
import { hashKeyOf } from "./md5.mjs";
import { bytesOf, ofAggregate, preview, understood } from "./payload.mjs";

const MOST_SHOWN = 500;

const PLACES = [
  ["tail", "The end, followed", null],
  ["oldest", "The oldest", null],
  ["time", "From a time", "2026-03-14 15:09, or milliseconds"],
  ["number", "A sequence number", "495903387…"],
  ["key", "A partition key", "user-42"],
];

export class Records {
  #shards = [];
  #shard = null;
  #next = null;
  #seen = null;
  #run = 0;
  #isBusy = false;
  #isStale = false;

  /** `choose(id)` selects a shard on all of the page. */
  constructor(stream, choose) {
    this.stream = stream;
    this.select = h("select", { onchange: () => choose(this.select.value) });
    this.place = h("select", { onchange: () => this.#placed() }, PLACES.map(([value, words]) => h("option", { value }, words)));
    this.input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": "What to find" });
    this.inputLabel = h("label", { class: "wide", hidden: true }, "What to find", this.input);
    this.note = h("div", { class: "note", role: "status" }, "…");
    this.list = h("ul", { class: "records", "aria-label": "Records" });
    this.moreButton = h("button", { type: "button", onclick: () => this.#read(false) }, "More");
    this.more = h("div", { class: "tools", hidden: true }, this.moreButton);
    const form = h(
      "form",
      { class: "tools", onsubmit: (event) => (event.preventDefault(), this.#begin()) },
      h("label", null, "Shard", this.select),
      h("label", null, "From", this.place),
      this.inputLabel,
      h("button", { type: "submit" }, "Show"),
    );
    this.element = h("div", { class: "sheet" }, form, this.note, this.list, this.more);
  }

  leave() {
    this.#run += 1;
  }

  /** Shows the records of another shard. */
  choose(id) {
    if (this.place.value === "key" || this.place.value === "number") this.place.value = "tail";
    this.#placed(id);
  }

  /** The shards, as they are by now. Where the end is followed, what is new is shown. */
  update(shards) {
    this.#shards = shards;
    const ids = shards.map(({ id }) => id).toReversed();
    if (this.select.dataset.ids !== ids.join()) {
      this.select.dataset.ids = ids.join();
      this.select.replaceChildren(...ids.map((id) => h("option", { value: id }, `${shortShard(id)}${isOpen(shards, id) ? "" : " (closed)"}`)));
      if (ids.includes(this.#shard)) this.select.value = this.#shard;
    }
    if (this.#shard === null && ids.length > 0) this.#placed(fullestOf(shards));
    else if (this.place.value === "tail" && this.#hasNews()) this.#read(true);
  }

  #hasNews() {
    const shard = this.#shards.find(({ id }) => id === this.#shard);
    const seen = `${shard?.stats?.nextRecord} ${shard?.closed}`;
    const hasNews = seen !== this.#seen;
    this.#seen = seen;
    return hasNews;
  }

  #placed(shard = this.#shard) {
    this.#shard = shard;
    this.select.value = shard;
    const hint = PLACES.find(([value]) => value === this.place.value)?.[2] ?? null;
    this.inputLabel.hidden = hint === null;
    this.input.placeholder = hint ?? "";
    if (hint === null) this.#begin();
    else this.input.focus();
  }

  #begin() {
    this.#run += 1;
    this.#isBusy = false;
    this.#next = null;
    this.list.replaceChildren();
    this.more.hidden = true;
    try {
      this.asked = this.#asked();
      this.#hasNews();
      this.#read(false);
    } catch (error) {
      show(this.note, error.message);
    }
  }

  /** What the form says, as the server wants it. */
  #asked() {
    const [text, shard] = [this.input.value.trim(), this.#shard];
    switch (this.place.value) {
      case "time":
        return { shard, from: `time:${millisOf(text)}`, limit: 50 };
      case "number":
        if (!/^\d+$/.test(text)) throw new Error("A sequence number has digits alone.");
        return { from: `number:${text}`, limit: 50 };
      case "key":
        if (text === "") throw new Error("Which partition key?");
        return { shard: oldestFor(text, this.#shards), from: "oldest", key: text, limit: 50 };
      case "oldest":
        return { shard, from: "oldest", limit: 50 };
      default:
        return { shard, from: "tail", limit: 50 };
    }
  }

  async #read(isFollowing) {
    if (this.#isBusy) {
      this.#isStale ||= isFollowing;
      return;
    }
    const run = this.#run;
    this.#isBusy = true;
    this.#isStale = false;
    try {
      const answer = await recordsOf(this.stream, { ...this.asked, from: this.#next ?? this.asked.from });
      if (run === this.#run) this.#take(answer, isFollowing);
    } catch (error) {
      if (run === this.#run) show(this.note, error.message);
    } finally {
      if (run === this.#run) this.#isBusy = false;
    }
    if (run === this.#run && this.#isStale) this.#read(true);
  }

  #take(answer, isFollowing) {
    const isTail = this.place.value === "tail";
    this.#shard = answer.shard;
    this.select.value = answer.shard;
    const items = answer.records.map((record) => item(record, isFollowing));
    for (const old of this.list.querySelectorAll(".is-new")) old.classList.toggle("is-new", items.length === 0);
    if (isTail) this.list.prepend(...items.toReversed());
    else this.list.append(...items);
    while (this.list.children.length > MOST_SHOWN) (isTail ? this.list.lastChild : this.list.firstChild).remove();
    this.#next = answer.next;
    const isSearch = Boolean(this.asked.key);
    const hasMore = answer.next !== null && answer.millisBehind > 0;
    this.more.hidden = isTail || !hasMore;
    show(this.moreButton, isSearch ? "Search on" : "More");
    this.note.replaceChildren(...this.#words(answer, isTail, hasMore));
    // A search goes on by itself until there is something to show, or no more to search.
    const follows = isSearch && answer.next === null ? nextFor(this.asked.key, this.#shards, answer.shard) : null;
    if (follows) {
      this.asked = { ...this.asked, shard: follows };
      this.#next = null;
      this.more.hidden = false;
      if (this.list.children.length === 0) this.#isStale = true;
    }
    if (isTail && hasMore) this.#isStale = true;
  }

  #words(answer, isTail, hasMore) {
    const shown = this.list.children.length;
    const words = [`${count(shown)} ${shown === 1 ? "record" : "records"} of shard ${shortShard(answer.shard)}`];
    if (answer.hasSkippedExpired) words.push("some expired before they were shown");
    if (isTail && answer.next !== null) words.push("newest first, new ones come by themselves");
    if (!isTail && !hasMore && answer.next !== null) words.push("that is all there is by now");
    const parts = [`${words.join("; ")}.`];
    if (answer.next === null) {
      parts.push(" The shard is closed; its records go on in ");
      answer.children.forEach((id, index) => {
        if (index > 0) parts.push(" and ");
        parts.push(h("button", { type: "button", onclick: () => this.choose(id) }, `shard ${shortShard(id)}`));
      });
    }
    return parts;
  }
}

const isOpen = (shards, id) => shards.find((shard) => shard.id === id)?.closed === null;

/** The open shard with most records: one with none is no good beginning. */
function fullestOf(shards) {
  const held = ({ stats }) => (stats && !stats.error ? stats.nextRecord - stats.firstRecord : 0);
  const open = shards.filter(({ closed }) => closed === null);
  return open.toSorted((one, other) => held(other) - held(one))[0]?.id ?? shards.at(-1).id;
}

/** The shards that a partition key's records are in, the oldest first. */
export function shardsFor(key, shards) {
  const place = hashKeyOf(key);
  return shards.filter(({ start, end }) => BigInt(start) <= place && place <= BigInt(end)).map(({ id }) => id);
}

const oldestFor = (key, shards) => shardsFor(key, shards)[0];

function nextFor(key, shards, shard) {
  const all = shardsFor(key, shards);
  return all[all.indexOf(shard) + 1] ?? null;
}

function millisOf(text) {
  const millis = /^\d{10,}$/.test(text) ? Number(text) : Date.parse(text.replace(" ", "T"));
  if (!Number.isFinite(millis) || millis < 0) throw new Error("That is no time: 2026-03-14 15:09:26, or milliseconds since 1970.");
  return Math.round(millis);
}

function item(record, isNew) {
  const data = bytesOf(record.data ?? "");
  const meaning = record.aggregate ? ofAggregate(record.aggregate) : understood(data);
  const details = h(
    "details",
    { ontoggle: () => details.open && details.children.length === 1 && details.append(bodyOf(record, data, meaning)) },
    h(
      "summary",
      null,
      h("span", { class: "mono" }, moment(record.arrival)),
      h("span", { class: "mono key", title: record.key }, record.key),
      h("span", { class: "quiet" }, size(record.bytes)),
      h("span", { class: "mono preview" }, preview(meaning, data)),
    ),
  );
  return h("li", { class: isNew ? "is-new" : null, "data-kind": meaning.kind }, details);
}

function bodyOf(record, data, meaning) {
  const facts = { "Sequence number": record.number, "Partition key": record.key, Arrival: moment(record.arrival), Size: size(record.bytes) };
  const list = Object.entries(facts).flatMap(([name, value]) => [h("dt", null, name), h("dd", { class: "mono" }, value)]);
  const isAggregate = meaning.kind === "aggregate";
  const isCut = !isAggregate && data.length < record.bytes;
  const body = h("div", { class: "body" }, h("dl", null, list));
  if (isCut) body.append(h("p", { class: "warn" }, `The first ${size(data.length)} of ${size(record.bytes)}.`));
  if (isAggregate) {
    body.append(h("p", null, `${meaning.text}, put by the Kinesis Producer Library:`));
    meaning.records.forEach(({ key, data: inner }) => body.append(h("p", { class: "mono" }, key), h("pre", null, understood(inner).text)));
    const left = meaning.count - meaning.records.length;
    if (left > 0) body.append(h("p", { class: "warn" }, `${count(left)} more are not shown.`));
  } else {
    body.append(h("pre", null, meaning.text));
  }
  return body;
}
