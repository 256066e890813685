// The modules of the console that know nothing of the page.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

const load = (name) => import(new URL(`../../../src/console/page/${name}.mjs`, import.meta.url));

const { md5, hashKeyOf } = await load("md5");
const { understood, ofAggregate, preview, hexDump, bytesOf } = await load("payload");
const { layout, loadStep, neighbour, partOf, shareBefore, withExpired } = await load("lineage");
const { Rates, Window, quantile } = await load("rates");
const format = await load("format");

const utf8 = (text) => new TextEncoder().encode(text);

test("md5 is that of others for every length around a block", () => {
  for (let length = 0; length < 200; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, index) => (7 * index) & 255);
    assert.deepEqual(Buffer.from(md5(bytes)), createHash("md5").update(bytes).digest(), `${length} bytes`);
  }
});

test("a partition key has the hash key that Kinesis gives it", () => {
  assert.equal(hashKeyOf("a"), BigInt(`0x${createHash("md5").update("a").digest("hex")}`));
  assert.equal(hashKeyOf("grün"), BigInt(`0x${createHash("md5").update("grün").digest("hex")}`));
});

test("an aggregate is what the server has found in a record", () => {
  const base64 = (text) => Buffer.from(text).toString("base64");
  const one = ofAggregate({ count: 1, records: [{ key: "k", hashKey: null, data: base64("grün") }] });
  assert.deepEqual([one.kind, one.text, one.records[0].key], ["aggregate", "1 record in one", "k"]);
  assert.deepEqual(one.records[0].data, utf8("grün"));
  assert.equal(ofAggregate({ count: 7, records: [] }).text, "7 records in one");
});

test("bytes are JSON, text, or bytes", () => {
  assert.deepEqual([understood(utf8('{"a":[1]}')).kind, understood(utf8('{"a":[1]}')).text], ["json", '{\n  "a": [\n    1\n  ]\n}']);
  assert.equal(understood(utf8("grün\n")).kind, "text");
  assert.equal(understood(utf8('{"a":')).kind, "text");
  assert.equal(understood(utf8("12")).kind, "text");
  assert.equal(understood(Uint8Array.of(0xff, 0xfe)).kind, "bytes");
  assert.equal(understood(Uint8Array.of(65, 0)).kind, "bytes");
  assert.equal(understood(new Uint8Array()).kind, "empty");
  // A number with more digits than the browser keeps stays as it was written.
  assert.match(understood(utf8('{"id":12345678901234567890}')).text, /12345678901234567890/);
  assert.equal(preview(understood(utf8('{"a":  1}')), utf8('{"a":  1}')), '{ "a": 1 }');
  assert.equal(preview(understood(Uint8Array.of(0, 255)), Uint8Array.of(0, 255)), "00 ff");
  assert.equal(hexDump(utf8("A\n")), `00000000  41 0a${" ".repeat(42)}  A.`);
  assert.deepEqual([...bytesOf("AP8=")], [0, 255]);
});

const MOST = (2n ** 128n - 1n).toString();
const HALF = 2n ** 127n;
const shard = (id, start, end, created, closed, parents) => ({ id, start: String(start), end: String(end), created, closed, parents, stats: null });
const SHARDS = [
  shard("0", 0n, MOST, 0, 1000, []),
  shard("1", 0n, HALF - 1n, 1000, 5000, ["0"]),
  shard("2", HALF, MOST, 1000, 5000, ["0"]),
  shard("3", 0n, MOST, 5000, null, ["1", "2"]),
];
const SIZE = { now: 9000, width: 300, height: 100 };

test("hash keys have their share of the height", () => {
  assert.equal(shareBefore("0"), 0);
  assert.equal(shareBefore(HALF), 0.5);
  assert.deepEqual(partOf(SHARDS[2]), [0.5, 1]);
});

test("shards tile the picture, and children begin where their parents end", () => {
  const { boxes, byId, links, moments } = layout(SHARDS, SIZE);
  const area = boxes.reduce((sum, { width, height }) => sum + width * height, 0);
  assert.ok(Math.abs(area - SIZE.width * SIZE.height) < 1e-6, String(area));
  for (const { parent, child } of links) assert.equal(byId.get(parent).x + byId.get(parent).width, byId.get(child).x);
  assert.deepEqual(links.map(({ parent, child }) => parent + child), ["01", "02", "13", "23"]);
  assert.deepEqual(boxes.map(({ state }) => state), ["closed", "closed", "closed", "open"]);
  assert.deepEqual(moments.map(({ time }) => time), [0, 1000, 5000]);
});

test("a picture of nothing, of one moment, and of a clock that went back", () => {
  assert.deepEqual(layout([], SIZE).boxes, []);
  const [box] = layout([shard("0", 0n, MOST, 50, null, [])], { ...SIZE, now: 50 }).boxes;
  assert.deepEqual([box.x, box.width, box.height], [0, 300, 100]);
  const early = layout(SHARDS, { ...SIZE, now: 10 });
  assert.ok(early.boxes.every(({ x, width }) => x >= 0 && width > 0));
  // A shard that was closed in the millisecond of its creation can still be seen.
  assert.ok(layout([shard("0", 0n, MOST, 5, 5, []), shard("1", 0n, MOST, 5, null, ["0"])], SIZE).boxes[0].width >= 3);
});

test("arrows lead to parents, children and neighbours", () => {
  const drawn = layout(SHARDS, SIZE);
  const walk = (from, ...keys) => keys.reduce((id, key) => neighbour(drawn, id, key), from);
  assert.equal(walk("3", "ArrowLeft"), "1");
  assert.equal(walk("1", "ArrowDown"), "2");
  assert.equal(walk("2", "ArrowUp"), "1");
  assert.equal(walk("1", "ArrowUp"), null);
  assert.equal(walk("2", "ArrowLeft", "ArrowRight", "ArrowRight"), "3");
  assert.equal(walk("3", "ArrowRight"), null);
  assert.deepEqual([walk("2", "Home"), walk("0", "End")], ["0", "3"]);
  assert.equal(neighbour(drawn, null, ""), "3");
  assert.equal(neighbour(layout([], SIZE), null, ""), null);
});

test("a shard that is gone stays as an expired one", () => {
  const known = withExpired(SHARDS, SHARDS.slice(1));
  assert.deepEqual(known.map(({ id, isExpired }) => [id, Boolean(isExpired)]), [["0", true], ["1", false], ["2", false], ["3", false]]);
  assert.equal(layout(known, SIZE).boxes[0].state, "expired");
  assert.deepEqual(withExpired(known, SHARDS.slice(1)).length, 4);
});

test("loads have steps", () => {
  assert.deepEqual([null, 0, 0.5, 1, 10, 99, 100, 500, 1e6].map(loadStep), [0, 0, 1, 2, 3, 3, 4, 5, 5]);
});

test("rates are what came, and fall when nothing comes", () => {
  const rates = new Rates();
  rates.note("a", 100);
  rates.tick(0);
  assert.equal(rates.rate("a"), null);
  rates.note("a", 160);
  rates.tick(1000);
  assert.equal(rates.rate("a"), 60);
  for (const time of [2000, 3000, 4000]) rates.tick(time);
  assert.equal(rates.rate("a"), 0);
  // A server that was started again.
  rates.note("a", 5);
  rates.tick(5000);
  assert.equal(rates.rate("a"), null);
  for (let second = 6; second < 100; second += 1) rates.tick(1000 * second);
  assert.equal(rates.points("a").length, 60);
  rates.keep(() => false);
  assert.deepEqual([rates.points("a"), rates.rate("a")], [[], null]);
});

test("quantiles are of what came in between", () => {
  assert.equal(quantile([], [], 0.5), null);
  assert.equal(quantile([[1, 5]], [[1, 5]], 0.5), null);
  const after = [[1, 5], [8, 98], [16, 1], [null, 1]];
  assert.equal(quantile([[1, 5]], after, 0.5), 8);
  assert.equal(quantile([[1, 5]], after, 0.99), 16);
  assert.equal(quantile([[1, 5]], after, 1), Infinity);
  const window = new Window();
  assert.equal(window.quantile(0.5), null);
  window.note([[4, 1]]);
  assert.equal(window.quantile(0.5), 4);
  window.note([[4, 1]]);
  assert.equal(window.quantile(0.5), null);
});

test("numbers and times read well", () => {
  assert.deepEqual([0, 1023, 1024, 200 * 1024, 5 * 2 ** 30, null].map(format.bytes), ["0 B", "1023 B", "1.0 KiB", "200 KiB", "5.0 GiB", "–"]);
  assert.deepEqual([0, 3.14159, 12_345, null].map(format.rate), ["0", "3.1", "12,345", "–"]);
  assert.deepEqual([12, 1500, 25_000, 2_000_000, Infinity, null].map(format.micros), ["12 µs", "1.5 ms", "25 ms", "2.0 s", "> 16 s", "–"]);
  assert.deepEqual([5, 5000, 300_000, 5_400_000, 86_400_000, 864_000_000].map(format.span), ["5 ms", "5 s", "5 min", "1 h 30 min", "24 h", "10 days"]);
  assert.equal(format.ago(100, 200), "0 ms ago");
  assert.deepEqual(["shardId-000000000000", "shardId-000000000120"].map(format.shortShard), ["0", "120"]);
  assert.match(format.moment(0), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.000$/);
  assert.deepEqual([format.plural(1, "shard"), format.plural(2, "shard")], ["1 shard", "2 shards"]);
});
