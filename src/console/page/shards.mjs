// The shards of a stream in a table.

import { range } from "./charts.mjs";
import { cell, h, table } from "./dom.mjs";
import { ago, bytes, count, moment, rate } from "./format.mjs";
import { partOf } from "./lineage.mjs";

const COLUMNS = [
  ["Shard"],
  ["Hash keys"],
  ["State"],
  ["Records", "number"],
  ["Records in /s", "number"],
  ["Oldest"],
  ["Ends at record", "number"],
  ["Last record"],
  ["Size", "number"],
];

const MOST_ROWS = 200;

/** A table of shards; `chosen(id)` is called for the one that is chosen. */
export class ShardTable {
  #body = h("tbody");

  constructor(chosen) {
    this.element = table("Shards", COLUMNS, this.#body);
    this.#body.addEventListener("click", (event) => {
      const id = event.target.closest("button")?.dataset.shard;
      if (id) chosen(id);
    });
  }

  show(shards, now, loads, selected) {
    const focused = this.#body.contains(document.activeElement) ? document.activeElement.dataset.shard : null;
    const openFirst = shards.toSorted((one, other) => (one.closed !== null) - (other.closed !== null));
    const rows = openFirst.slice(0, MOST_ROWS).map((shard) => row(shard, now, loads.get(shard.id), shard.id === selected));
    const left = openFirst.length - rows.length;
    if (left > 0) rows.push(h("tr", null, h("td", { colspan: COLUMNS.length }, `${count(left)} more are not shown.`)));
    this.#body.replaceChildren(...rows);
    if (focused) this.#body.querySelector(`button[data-shard="${focused}"]`)?.focus({ preventScroll: true });
  }
}

function row(shard, now, load, isSelected) {
  const { id, closed, stats, isExpired } = shard;
  const [from, to] = partOf(shard);
  const state = isExpired ? "expired" : closed === null ? "open" : `closed ${ago(now, closed)}`;
  const known = stats && !stats.error ? stats : null;
  const oldest = known?.oldestArrival ?? null;
  return h(
    "tr",
    { class: `${closed === null ? "" : "is-closed"}${isSelected ? " is-selected" : ""}` },
    cell("Shard", h("button", { class: "link mono", "data-shard": id, "aria-pressed": String(isSelected), type: "button" }, id), "head"),
    cell("Hash keys", h("span", { title: `${shard.start} to ${shard.end}` }, range(from, to), ` ${(100 * (to - from)).toFixed(1)} %`)),
    cell("State", stats?.error ? h("span", { class: "bad" }, stats.error) : h("span", { class: closed === null ? "good" : "quiet" }, state)),
    cell("Records", known ? count(known.nextRecord - known.firstRecord) : "–", "number"),
    cell("Records in /s", closed === null ? rate(load) : "–", "number"),
    cell("Oldest", h("span", { title: moment(oldest) }, ago(now, oldest))),
    cell("Ends at record", known ? count(known.nextRecord) : "–", "number"),
    cell("Last record", h("span", { title: moment(known?.lastArrival) }, ago(now, known?.lastArrival))),
    cell("Size", bytes(known?.bytes), "number"),
  );
}
