// The frame: which page is shown, and how the connection is.

import { h, show } from "./dom.mjs";
import { Live } from "./live.mjs";
import { overview } from "./overview.mjs";
import { streamPage } from "./stream.mjs";

const WORDS = {
  connecting: "connecting",
  live: "live",
  paused: "paused",
  off: "no connection, trying again",
};

const live = new Live();
const content = document.getElementById("content");
let leave = () => {};

live.listen((what) => (what === "state" ? showState() : what === "summary" ? showHead() : undefined));
addEventListener("hashchange", () => go(true));
showState();
go(false);
live.start();

function go(hasMoved) {
  leave();
  const [, kind, namespace, name] = location.hash.split("/").map(decoded);
  const page = kind === "stream" && name ? streamPage(live, { namespace, name }) : overview(live);
  leave = page.leave;
  document.title = page.title ? `${page.title} · anabranch` : "anabranch";
  content.replaceChildren(page.element);
  // So that a keyboard, or a screen reader, goes on here.
  if (hasMoved) content.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function showState() {
  const element = document.getElementById("live");
  show(element, WORDS[live.state]);
  element.className = `live is-${live.state}`;
}

function showHead() {
  const { version, store } = live.summary;
  show(document.getElementById("version"), version);
  const alarm = document.getElementById("alarm");
  const words = [];
  if (store.failure) words.push(`Nothing more is written: ${store.failure}`);
  if (store.space?.isNearlyUsedUp) words.push("The disk is nearly full.");
  for (const { shard, damage } of store.damaged) words.push(`${shard}: ${damage}`);
  alarm.hidden = words.length === 0;
  alarm.replaceChildren(...words.map((word) => h("div", null, word)));
}
