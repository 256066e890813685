// Those that read a stream under a name, and how far they are.

import { readersOf } from "./api.mjs";
import { cell, h, table } from "./dom.mjs";
import { ago, bytes as size, count, moment, span } from "./format.mjs";

/** Asked no more often. */
const PAUSE = 2000;

const LAG = [["Shards", "number"], ["Records behind", "number"], ["Bytes behind", "number"], ["Behind by"]];

export class Readers {
  #asked = -Infinity;
  #content = h("div", null, h("p", { class: "quiet" }, "…"));

  constructor(stream) {
    this.stream = stream;
    this.element = h("section", { "aria-labelledby": "readers" }, h("h2", { id: "readers" }, "Readers"), this.#content);
  }

  async refresh() {
    if (performance.now() - this.#asked < PAUSE) return;
    this.#asked = performance.now();
    try {
      this.#show(await readersOf(this.stream));
    } catch (error) {
      this.#content.replaceChildren(h("p", { class: "bad" }, error.message));
    }
  }

  #show({ now, consumers, checkpoints, queues, channels }) {
    const parts = [
      part("Consumers", [["Consumer"], ["Status"], ["Registered"], ...LAG], consumers.map(consumer)),
      part("Checkpoints and consumer groups", [["Name"], ...LAG], checkpoints.map(checkpoint)),
      part(
        "Queues",
        [["Queue"], ["Status"], ["Available", "number"], ["To redeliver", "number"], ["In flight", "number"], ["Dead letters", "number"], ["Held back for"]],
        queues.map(queue),
      ),
      part("Channels", [["Channel"], ["Status"], ["Bucket"], ["Last delivery"], ["Problem"]], channels.map((one) => channel(one, now))),
    ].filter((one) => one !== null);
    this.#content.replaceChildren(...(parts.length > 0 ? parts : [h("p", { class: "quiet" }, "None has a name here.")]));
  }
}

function part(title, columns, rows) {
  return rows.length === 0 ? null : h("div", null, h("h3", null, title), table(title, columns, h("tbody", null, rows)));
}

const statusOf = (status) => h("span", { class: status === "ACTIVE" ? "good" : "warn" }, status);

function consumer({ name, status, created, lag }) {
  const facts = [cell("Consumer", name, "head"), cell("Status", statusOf(status)), cell("Registered", moment(created).slice(0, 19))];
  return h("tr", null, facts, lagCells(lag));
}

function checkpoint({ name, lag }) {
  return h("tr", null, cell("Name", name, "head"), lagCells(lag));
}

function lagCells({ shards, shardsLeftOut, records, bytes, millis, error }) {
  const behind = error ? h("span", { class: "bad" }, error) : records > 0 ? span(millis) : "–";
  const isRead = !error && shards > 0;
  const ofShards = shardsLeftOut > 0 ? `${count(shards - shardsLeftOut)} of ${count(shards)}` : count(shards);
  return [
    cell("Shards", error ? "–" : ofShards, "number"),
    cell("Records behind", isRead ? count(records) : "–", "number"),
    cell("Bytes behind", isRead ? size(bytes) : "–", "number"),
    cell("Behind by", behind),
  ];
}

function queue({ name, status, visibilitySeconds, counts }) {
  const letters = (counts.deadLetters ?? 0) + (counts.deadLettersInFlight ?? 0);
  return h(
    "tr",
    null,
    cell("Queue", name, "head"),
    cell("Status", counts.error ? h("span", { class: "bad" }, counts.error) : statusOf(status)),
    cell("Available", count(counts.available), "number"),
    cell("To redeliver", count(counts.toRedeliver), "number"),
    cell("In flight", count(counts.inFlight), "number"),
    cell("Dead letters", h("span", { class: letters > 0 ? "bad" : null }, count(letters)), "number"),
    cell("Held back for", span(1000 * visibilitySeconds)),
  );
}

function channel({ name, status, bucket, isDelivered, lastDelivery, problem }, now) {
  const words = problem ? `${problem.error} (${count(problem.attempts)} attempts since ${moment(problem.since).slice(0, 19)})` : "none";
  return h(
    "tr",
    null,
    cell("Channel", name, "head"),
    cell("Status", statusOf(status)),
    cell("Bucket", bucket ?? "–"),
    cell("Last delivery", h("span", { title: moment(lastDelivery) }, lastDelivery === null ? "none" : ago(now, lastDelivery))),
    cell("Problem", h("span", { class: problem ? "bad" : null }, isDelivered ? words : "nothing delivers it here")),
  );
}
