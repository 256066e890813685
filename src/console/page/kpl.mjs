// Records that the Kinesis Producer Library has put into one: four bytes, a message of Protocol Buffers, and its MD5.

import { md5 } from "./md5.mjs";

const MAGIC = [0xf3, 0x89, 0x9a, 0xc2];
const HASH_BYTES = 16;

/** The records in an aggregate, or null if the bytes are none. A record is `{ key, explicitHashKey, data, tags }`. */
export function recordsInAggregate(bytes) {
  if (bytes.length < MAGIC.length + HASH_BYTES || MAGIC.some((byte, index) => bytes[index] !== byte)) return null;
  const message = bytes.subarray(MAGIC.length, bytes.length - HASH_BYTES);
  const hash = md5(message);
  if (hash.some((byte, index) => bytes[bytes.length - HASH_BYTES + index] !== byte)) return null;
  try {
    return decoded(message);
  } catch {
    return null;
  }
}

function decoded(message) {
  const [keys, hashKeys, records] = [[], [], []];
  for (const { field, value } of fields(message)) {
    if (field === 1) keys.push(text(value));
    else if (field === 2) hashKeys.push(text(value));
    else if (field === 3) records.push(value);
  }
  return records.map((record) => {
    const found = { key: null, explicitHashKey: null, data: new Uint8Array(), tags: [] };
    for (const { field, value } of fields(record)) {
      if (field === 1) found.key = keys[value] ?? null;
      else if (field === 2) found.explicitHashKey = hashKeys[value] ?? null;
      else if (field === 3) found.data = value;
      else if (field === 4) found.tags.push(tag(value));
    }
    return found;
  });
}

function tag(message) {
  const found = { key: "", value: null };
  for (const { field, value } of fields(message)) {
    if (field === 1) found.key = text(value);
    else if (field === 2) found.value = text(value);
  }
  return found;
}

const text = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

/** The fields of a message: numbers, and bytes that stay where they are. Throws where it is none. */
function* fields(message) {
  let at = 0;
  const number = () => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = message[at++];
      if (byte === undefined || factor > 2 ** 63) throw new RangeError("a number without an end");
      value += (byte & 0x7f) * factor;
      factor *= 128;
      if (byte < 0x80) return value;
    }
  };
  const take = (length) => {
    if (length > message.length - at) throw new RangeError("a field without an end");
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const head = number();
    const [field, kind] = [Math.floor(head / 8), head % 8];
    if (kind === 0) yield { field, value: number() };
    else if (kind === 2) yield { field, value: take(number()) };
    else if (kind === 1) take(8);
    else if (kind === 5) take(4);
    else throw new RangeError("a field of an unknown kind");
  }
}
