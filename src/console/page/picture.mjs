// The lineage of a stream as a picture that a mouse, a finger and a keyboard walk through.

import { s } from "./dom.mjs";
import { moment, rate, shortShard } from "./format.mjs";
import { LOAD_WORDS, layout, loadStep, neighbour } from "./lineage.mjs";
import { h } from "./dom.mjs";

const AXIS = 18;

/** Draws shards; `chosen(id)` is called for the one that is chosen. */
export class Picture {
  #svg = s("svg", { class: "picture", role: "group", "aria-label": "Lineage: hash keys from top to bottom, time from left to right" });
  #drawn = null;
  #shown = null;
  #current = null;

  constructor(chosen) {
    this.chosen = chosen;
    this.element = h("div", { class: "sheet pad" }, this.#svg, legend());
    this.#svg.addEventListener("keydown", (event) => this.#key(event));
    this.#svg.addEventListener("click", (event) => this.#click(event));
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.element);
  }

  /** Shows shards at a moment, with the load of each and the one that is selected. */
  show(shards, now, loads, selected) {
    this.#shown = { shards, now, loads, selected };
    this.#draw();
  }

  leave() {
    this.observer.disconnect();
  }

  #draw() {
    if (!this.#shown) return;
    const { shards, now, loads, selected } = this.#shown;
    const width = Math.max(200, this.#svg.clientWidth || this.element.clientWidth - 24);
    const open = shards.filter(({ closed }) => closed === null).length;
    const height = Math.min(520, Math.max(140, 26 * open));
    const drawn = layout(shards, { now, width: width - 2, height });
    const hadFocus = this.#svg.contains(document.activeElement);
    if (!drawn.byId.has(this.#current)) this.#current = selected ?? neighbour(drawn, null, "");
    this.#drawn = drawn;
    this.#svg.setAttribute("viewBox", `-1 -1 ${width} ${height + AXIS + 2}`);
    this.#svg.setAttribute("height", height + AXIS + 2);
    this.#svg.replaceChildren(
      ...ticks(drawn.moments, width, height),
      ...drawn.links.map(link),
      ...drawn.boxes.map((box) => boxOf(box, loads.get(box.id), box.id === selected, box.id === this.#current)),
    );
    if (hadFocus) this.#focus();
  }

  #focus() {
    this.#svg.querySelector(`[data-shard="${this.#current}"]`)?.focus({ preventScroll: true });
  }

  #key(event) {
    const id = event.target.closest(".shard")?.dataset.shard;
    if (!id) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.chosen(id);
      return;
    }
    const next = neighbour(this.#drawn, id, event.key);
    if (!next) return;
    event.preventDefault();
    this.#svg.querySelector(`[data-shard="${id}"]`)?.setAttribute("tabindex", "-1");
    this.#current = next;
    this.#svg.querySelector(`[data-shard="${next}"]`)?.setAttribute("tabindex", "0");
    this.#focus();
  }

  #click(event) {
    const id = event.target.closest(".shard")?.dataset.shard;
    if (!id) return;
    this.#current = id;
    this.chosen(id);
  }
}

function boxOf(box, load, isSelected, isCurrent) {
  const step = box.state === "open" ? loadStep(load) : 0;
  const part = `${(100 * box.from).toFixed(1)} to ${(100 * box.to).toFixed(1)} % of the hash keys`;
  const words = `Shard ${shortShard(box.id)}, ${box.state}, ${part}${box.state === "open" ? `, ${rate(load ?? 0)} records per second` : ""}`;
  const group = s(
    "g",
    {
      class: `shard is-${box.state} has-load-${step}${isSelected ? " is-selected" : ""}`,
      role: "button",
      tabindex: isCurrent ? 0 : -1,
      "data-shard": box.id,
      "aria-label": words,
      "aria-pressed": String(isSelected),
    },
    s("title", null, words),
    s("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 3 }),
  );
  if (box.height >= 13 && box.width >= 22) {
    group.append(s("text", { x: box.x + 5, y: box.y + box.height / 2 + 4 }, shortShard(box.id)));
  }
  return group;
}

function link({ fromX, fromY, toX, toY }) {
  const bend = Math.max(4, (toX - fromX) / 2 + 6);
  return s("path", { class: "link", d: `M${fromX},${fromY}C${fromX + bend},${fromY} ${toX - bend},${toY} ${toX},${toY}` });
}

/** Times where there is room for them. */
function ticks(moments, width, height) {
  let free = 0;
  return moments.flatMap(({ time, x }) => {
    const line = s("line", { class: "tick", x1: x, x2: x, y1: 0, y2: height });
    if (x < free || x > width - 60) return [line];
    free = x + 130;
    return [line, s("text", { x, y: height + 14 }, moment(time).slice(0, 19))];
  });
}

function legend() {
  const swatch = (kind) => s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { class: kind, width: 10, height: 10, rx: 2 }));
  const steps = LOAD_WORDS.map((words, step) => h("span", null, swatch(`has-load-${step}`), words));
  return h("div", { class: "legend" }, h("span", null, "Records in, colour of open shards:"), steps, h("span", null, "pale: closed; paler: expired"));
}
