// The package as a module of ECMAScript.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as anabranch from "anabranch";

test("both kinds of modules have the same", async () => {
  const required = createRequire(import.meta.url)("anabranch");
  for (const name of Object.keys(required)) assert.equal(anabranch[name], required[name]);
  assert.deepEqual(Object.keys(anabranch).sort(), Object.keys(required).sort());
  const server = await anabranch.start();
  await server.stop();
});
