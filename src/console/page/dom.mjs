// Making elements. Attributes are set one by one, since the page allows no styles and scripts in them.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `h("a", { href: "#/" }, "text", child)`. `on…` are listeners; what is null or false is left out. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Shows a text, and touches nothing if it is there already. */
export function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A cell of a table, with the name of its column for narrow screens. */
export function cell(label, content, kind) {
  return h("td", { "data-label": label, class: kind }, content);
}

/** A table with a head. */
export function table(caption, columns, body) {
  const heads = columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name));
  return h("div", { class: "sheet" }, h("table", { "aria-label": caption }, h("thead", null, h("tr", null, heads)), body));
}

/** Calls a function once per frame at most, and not while the page is hidden. */
export function perFrame(call) {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      call();
    });
  };
}
