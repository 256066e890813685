// Small pictures of numbers.

import { s } from "./dom.mjs";

/** A line of the last values, redrawn in place by `draw(points)`. */
export function sparkline() {
  const [under, line] = [s("path", { class: "under" }), s("path")];
  const element = s("svg", { class: "spark", viewBox: "0 0 60 20", preserveAspectRatio: "none", "aria-hidden": "true" }, under, line);
  const draw = (points) => {
    const most = Math.max(1, ...points);
    const at = points.map((point, index) => `${60 - points.length + index + 1},${(19 - (18 * point) / most).toFixed(2)}`);
    line.setAttribute("d", at.length > 1 ? `M${at.join("L")}` : "M0,19");
    under.setAttribute("d", at.length > 1 ? `M${60 - points.length + 1},20L${at.join("L")}L60,20Z` : "M0,20");
  };
  draw([]);
  return { element, draw };
}

/** How much of something is used, redrawn in place by `draw(share, isBad)`. */
export function meter(label) {
  const part = s("rect", { class: "part", height: 6, width: 0, rx: 3 });
  const all = s("rect", { class: "all", height: 6, width: 100, rx: 3 });
  const element = s("svg", { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label }, all, part);
  const draw = (share, isBad) => {
    part.setAttribute("width", (100 * Math.min(1, Math.max(0, share))).toFixed(2));
    part.classList.toggle("is-bad", Boolean(isBad));
  };
  return { element, draw };
}

/** A part of the hash space, from one share of it to another. */
export function range(from, to) {
  return s(
    "svg",
    { class: "range", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "all", width: 100, height: 10 }),
    s("rect", { class: "part", x: 100 * from, width: Math.max(1, 100 * (to - from)), height: 10 }),
  );
}
