// What a person does in the console, done by a real browser: node click_path.mjs BROWSER URL DIRECTORY

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";

import { Browser } from "./browser.mjs";

const [program, url, directory] = process.argv.slice(2);

const AUTHORIZATION =
  "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=00";

async function call(operation, input) {
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": `Kinesis_20131202.${operation}`,
      "x-amz-date": "20260101T000000Z",
      authorization: AUTHORIZATION,
    },
    body: JSON.stringify(input),
  });
  const answer = await response.text();
  assert.equal(response.status, 200, `${operation}: ${answer}`);
  return answer === "" ? {} : JSON.parse(answer);
}

const put = (key, data, stream = "clicks") =>
  call("PutRecord", { StreamName: stream, PartitionKey: key, Data: Buffer.from(data).toString("base64") });

/** Two records in one, as the Kinesis Producer Library puts them. */
function aggregate() {
  const field = (number, bytes) => Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), Buffer.from(bytes)]);
  const record = (index, data) => field(3, Buffer.concat([Buffer.from([8, index]), field(3, data)]));
  const message = Buffer.concat([field(1, "inner-1"), field(1, "inner-2"), record(0, Buffer.from('{"one":1}')), record(1, Buffer.from("two"))]);
  return Buffer.concat([Buffer.from([0xf3, 0x89, 0x9a, 0xc2]), message, createHash("md5").update(message).digest()]);
}

const jobs = "arn:aws:kinesis:us-east-1:000000000000:stream/jobs";
const QUEUE = {
  QueueName: "workers",
  StreamConfigurationList: [{ StreamARN: jobs, StartingPosition: { Type: "TRIM_HORIZON" } }],
  QueueAttributes: {
    VisibilityTimeoutSeconds: 60,
    DeadLetterConfiguration: { TargetType: "BUILT_IN", MaxReceiveCount: 1 },
  },
};

await call("CreateStream", { StreamName: "clicks", ShardCount: 2 });
await call("CreateStream", { StreamName: "orders", ShardCount: 1 });
for (let number = 0; number < 40; number += 1) await put(`user-${number}`, JSON.stringify({ page: `/${number}` }));

const browser = await Browser.start(program, join(directory, "profile"));
async function picture(name) {
  await browser.value("scrollTo(0, 0)");
  await browser.screenshot(join(directory, `${name}.png`));
}

await browser.screen({ width: 1280, height: 900 });
await browser.visit(`${url}/`);
await browser.until("document.querySelector('#live').textContent === 'live'");

// The streams are there, and what comes in moves their numbers.
await browser.until("document.querySelectorAll('tr[data-stream]').length === 2");
const rateOf = "document.querySelector('tr[data-stream=clicks] td:nth-child(4)').textContent";
async function write() {
  for (let number = 0; number < 60; number += 1) {
    await put(`user-${number}`, JSON.stringify({ page: "/live", number }));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
const writing = write();
await browser.until(`Number(${rateOf}) > 0`);
await picture("overview");
await writing;

// A stream that is made now comes by itself.
await call("CreateStream", { StreamName: "later", ShardCount: 1 });
await browser.until("Boolean(document.querySelector('tr[data-stream=later]'))");

// One stream: its shards in the picture and in the table.
await browser.click("tr[data-stream=clicks] a");
await browser.until("document.querySelectorAll('.picture .shard').length === 2");
assert.equal(await browser.value("document.title"), "clicks · anabranch");
assert.equal(await browser.value("document.querySelectorAll('[aria-label=Shards] tbody tr').length"), 2);

// A split and a merge show as they happen.
await call("SplitShard", { StreamName: "clicks", ShardToSplit: "shardId-000000000000", NewStartingHashKey: String(2n ** 126n) });
await browser.until("document.querySelectorAll('.picture .shard').length === 4");
await call("MergeShards", { StreamName: "clicks", ShardToMerge: "shardId-000000000003", AdjacentShardToMerge: "shardId-000000000001" });
await browser.until("document.querySelectorAll('.picture .shard').length === 5");
assert.equal(await browser.value("document.querySelectorAll('.picture .shard.is-closed').length"), 3);
assert.equal(await browser.value("document.querySelectorAll('.picture .link').length"), 4);

// By keyboard from a child to its parent and back, and chosen there.
await browser.value("document.querySelector('.shard[data-shard=shardId-000000000002]').focus()");
await browser.key("ArrowLeft");
assert.equal(await browser.value("document.activeElement.dataset.shard"), "shardId-000000000000");
await browser.key("ArrowRight");
assert.match(await browser.value("document.activeElement.dataset.shard"), /00000[23]$/);
await browser.key("ArrowLeft");
await browser.key("Enter", "\r");
await browser.until("document.querySelector('.shard[data-shard=shardId-000000000000]').getAttribute('aria-pressed') === 'true'");
await browser.until("document.querySelectorAll('.records li').length > 0");
assert.match(await browser.value("document.querySelector('.records li .preview').textContent"), /"page"/);

// The end of an open shard is followed: a record shows without a click.
await browser.click("[aria-label=Shards] button[data-shard=shardId-000000000002]");
await browser.until("document.querySelector('.note').textContent.includes('shard 2')");
const { ShardId: shard } = await put("followed", aggregate());
await browser.click(`[aria-label=Shards] button[data-shard=${shard}]`);
await browser.until("Boolean(document.querySelector('.records [data-kind=aggregate]'))");
await put("followed", "grün");
await browser.until("document.querySelector('.records li').dataset.kind === 'text'");
assert.match(await browser.value("document.querySelector('.records li .preview').textContent"), /grün/);
await put("followed", Buffer.from([0, 1, 2, 255]));
await browser.until("document.querySelector('.records li').dataset.kind === 'bytes'");

// An aggregate opens, with the records in it.
await browser.click(".records [data-kind=aggregate] summary");
await browser.until("document.querySelector('.records [data-kind=aggregate] .body')?.innerText.includes('inner-2')");

// What comes in colours the open shards; those that are closed stay pale.
const writingMore = write();
await browser.until("Boolean(document.querySelector('.picture .shard:not(.is-closed):is(.has-load-1, .has-load-2, .has-load-3, .has-load-4, .has-load-5)'))");
assert.equal(await browser.value("document.querySelector('.picture .shard.is-closed:is(.has-load-1, .has-load-2, .has-load-3, .has-load-4, .has-load-5)')"), null);
await picture("stream");
await browser.screenshot(join(directory, "lineage.png"), ".picture");
await browser.screen({ width: 1280, height: 900, isDark: true });
await picture("stream-dark");
await browser.screen({ width: 1280, height: 900 });
await writingMore;

// Found by its key, from the oldest shard on, and by its number.
const choose = (value) =>
  browser.value(`(() => { const select = [...document.querySelectorAll(".tools select")].at(-1); select.value = "${value}"; select.dispatchEvent(new Event("change")); })()`);
await choose("key");
await browser.type("user-7");
await browser.key("Enter", "\r");
await browser.until("[...document.querySelectorAll('.records .key')].some((key) => key.textContent === 'user-7')");
assert.ok(await browser.value("[...document.querySelectorAll('.records .key')].every((key) => key.textContent === 'user-7')"));
const { SequenceNumber: number } = await put("numbered", "found by its number");
await choose("number");
await browser.value("document.querySelector('.tools input').select()");
await browser.type(number);
await browser.key("Enter", "\r");
await browser.until("document.querySelector('.records li .preview')?.textContent === 'found by its number'");

// What cannot be found is said.
await choose("time");
await browser.value("document.querySelector('.tools input').select()");
await browser.type("yesterday");
await browser.key("Enter", "\r");
await browser.until("document.querySelector('.note').textContent.includes('no time')");

// Readers: a consumer, and a queue has records for those who come.
await call("CreateStream", { StreamName: "jobs", StreamModeDetails: { StreamMode: "ON_DEMAND" } });
await call("CreateQueue", QUEUE);
await call("RegisterStreamConsumer", { StreamARN: jobs, ConsumerName: "billing" });
for (const job of ["one", "two", "three"]) await put(job, job, "jobs");
await browser.visit(`${url}/#/stream/000000000000%2Fus-east-1/jobs`);
const cells = (title) => `[...document.querySelectorAll('[aria-label=${title}] tbody td, [aria-label=${title}] tbody th')].map((cell) => cell.textContent)`;
await browser.until(`${cells("Queues")}[2] === '3'`);
assert.deepEqual((await browser.value(cells("Queues"))).slice(0, 6), ["workers", "ACTIVE", "3", "0", "0", "0"]);
assert.deepEqual((await browser.value(cells("Consumers"))).slice(0, 2), ["billing", "ACTIVE"]);

// On a phone, in the dark, nothing is wider than the screen.
for (const [name, hash] of [["overview", "#/"], ["stream", "#/stream/000000000000%2Fus-east-1/clicks"]]) {
  await browser.screen({ width: 390, height: 844, isPhone: true, isDark: true });
  await browser.visit(`${url}/${hash}`);
  await browser.until(name === "overview" ? "document.querySelectorAll('tr[data-stream]').length === 4" : "document.querySelectorAll('.picture .shard').length === 5");
  assert.ok(await browser.value("document.documentElement.scrollWidth <= innerWidth"), `${name} is wider than a phone`);
  await picture(`${name}-phone-dark`);
}

// Nothing went wrong, and nothing was asked of another server.
assert.deepEqual(browser.complaints, []);
const elsewhere = browser.requests.filter((request) => !request.startsWith(url) && !request.startsWith("about:") && !request.startsWith("chrome"));
assert.deepEqual(elsewhere, []);
await browser.stop();
console.log("the console works in a browser");
