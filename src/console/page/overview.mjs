// The first page: the store, and all streams with what goes in and out of them.

import { meter, sparkline } from "./charts.mjs";
import { cell, h, show, table } from "./dom.mjs";
import { bytes, count, micros, plural, rate } from "./format.mjs";

const COLUMNS = [
  ["Stream"],
  ["Status"],
  ["Open shards", "number"],
  ["Records in /s", "number"],
  ["Bytes in /s", "number"],
  ["Last minute"],
  ["Records out /s", "number"],
  ["Size", "number"],
];

export function overview(live) {
  const cards = storeCards(live);
  const groups = h("div");
  const rows = new Map();
  const element = h("div", null, h("h1", null, "Streams"), cards.element, groups);
  const update = (what) => {
    if (what === "state" || !live.summary) return;
    if (what !== "tick") arrange(live, groups, rows);
    cards.update();
    for (const row of rows.values()) row.update(live);
  };
  update("summary");
  return { element, leave: live.listen(update), title: null };
}

function storeCards(live) {
  const card = (name, extra) => {
    const [value, more] = [h("div", { class: "value" }, "–"), h("div", { class: "more" })];
    return { element: h("div", { class: "card" }, h("div", { class: "name" }, name), value, more, extra), value, more };
  };
  const [sparkIn, sparkOut, disk] = [sparkline(), sparkline(), meter("how much of the disk is used")];
  const taken = card("Records in /s", sparkIn.element);
  const given = card("Records out /s", sparkOut.element);
  const commit = card("Commit, 99 % within");
  const size = card("Records take");
  const space = card("Disk", disk.element);
  const update = () => {
    const { store } = live.summary;
    const { rates } = live;
    show(taken.value, rate(rates.rate("store put records")));
    show(taken.more, `${bytes(rates.rate("store put bytes"))}/s`);
    sparkIn.draw(rates.points("store put records"));
    show(given.value, rate(rates.rate("store read records")));
    show(given.more, `${bytes(rates.rate("store read bytes"))}/s`);
    sparkOut.draw(rates.points("store read records"));
    show(commit.value, micros(live.commits.quantile(0.99)));
    const [half, sync] = [live.commits.quantile(0.5), live.syncs.quantile(0.99)];
    show(commit.more, `half within ${micros(half)}; sync ${micros(sync)}; last minute`);
    show(size.value, bytes(store.segmentBytes));
    show(size.more, `${plural(store.segments, "segment")}, ${bytes(store.poolBytes)} in the pool`);
    show(space.value, store.space ? `${bytes(store.space.availableBytes)} free` : "–");
    show(space.more, store.space ? `of ${bytes(store.space.totalBytes)}` : "no limit is known");
    if (store.space) disk.draw(1 - store.space.availableBytes / store.space.totalBytes, store.space.isNearlyUsedUp);
  };
  const all = [taken, given, commit, size, space].map(({ element }) => element);
  return { element: h("div", { class: "cards" }, all), update };
}

/** Makes and removes rows, and leaves the others where they are: a keyboard may be in them. */
function arrange(live, groups, rows) {
  const { streams, home, streamsLeftOut } = live.summary;
  const key = streams.map(({ id, namespace }) => `${id}@${namespace}`).join() + streamsLeftOut;
  if (groups.dataset.key === key) return;
  groups.dataset.key = key;
  const ids = new Set(streams.map(({ id }) => id));
  for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
  const byNamespace = new Map();
  for (const stream of streams) {
    if (!rows.has(stream.id)) rows.set(stream.id, row(stream));
    byNamespace.set(stream.namespace, [...(byNamespace.get(stream.namespace) ?? []), stream]);
  }
  const names = [...byNamespace.keys()].sort((one, other) => (other === home) - (one === home) || (one < other ? -1 : 1));
  const focused = document.activeElement;
  groups.replaceChildren(
    ...names.map((namespace) => group(namespace, byNamespace.get(namespace), rows)),
    ...(streams.length === 0 ? [h("p", { class: "quiet" }, "There are no streams yet.")] : []),
    ...(streamsLeftOut > 0 ? [h("p", { class: "quiet" }, `${plural(streamsLeftOut, "newer stream")} not shown.`)] : []),
  );
  if (groups.contains(focused)) focused.focus();
}

function group(namespace, streams, rows) {
  const byName = streams.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const body = h("tbody", null, byName.map(({ id }) => rows.get(id).element));
  const [account, region] = namespace.split("/");
  const title = region ? `Account ${account}, ${region}` : namespace || "Without a namespace";
  return h("section", null, h("h2", null, title, " ", h("small", null, plural(streams.length, "stream"))), table(title, COLUMNS, body));
}

function row({ id, namespace, name }) {
  const href = `#/stream/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
  const spark = sparkline();
  const cells = Object.fromEntries(["status", "shards", "put", "bytes", "read", "size"].map((key) => [key, h("span")]));
  const element = h(
    "tr",
    { "data-stream": name },
    cell("Stream", h("a", { href }, name), "head"),
    cell("Status", cells.status),
    cell("Open shards", cells.shards, "number"),
    cell("Records in /s", cells.put, "number"),
    cell("Bytes in /s", cells.bytes, "number"),
    cell("Last minute", spark.element),
    cell("Records out /s", cells.read, "number"),
    cell("Size", cells.size, "number"),
  );
  const update = ({ summary, rates }) => {
    const stream = summary.streams.find((known) => known.id === id);
    if (!stream) return;
    const key = `stream ${id}`;
    const status = stream.damagedShards > 0 ? `${stream.status}, damaged` : stream.status;
    show(cells.status, stream.isEncrypted ? `${status}, encrypted` : status);
    cells.status.className = stream.damagedShards > 0 ? "bad" : stream.status === "ACTIVE" ? "good" : "warn";
    show(cells.shards, count(stream.openShards));
    show(cells.put, rate(rates.rate(`${key} put records`)));
    show(cells.bytes, bytes(rates.rate(`${key} put bytes`)));
    show(cells.read, rate(rates.rate(`${key} read records`)));
    show(cells.size, bytes(stream.bytes));
    spark.draw(rates.points(`${key} put records`));
  };
  return { element, update };
}
