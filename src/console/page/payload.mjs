// What the data of a record is: JSON, text, only bytes, or what the server has found in it. Nothing here knows the page.

/** `{ kind, text }`: the kind is `json`, `text`, `empty` or `bytes`. */
export function understood(bytes) {
  if (bytes.length === 0) return { kind: "empty", text: "" };
  const text = textOf(bytes);
  if (text === null) return { kind: "bytes", text: hexDump(bytes) };
  const json = jsonOf(text);
  return json === null ? { kind: "text", text } : { kind: "json", text: json };
}

/** The same of a record that has others in it, as the server has taken it apart, with these: `{ key, data }`. */
export function ofAggregate({ count, records }) {
  const taken = records.map(({ key, data }) => ({ key, data: bytesOf(data) }));
  return { kind: "aggregate", text: count === 1 ? "1 record in one" : `${count} records in one`, count, records: taken };
}

/** A line of it, for a list. */
export function preview({ kind, text }, bytes) {
  const line = kind === "bytes" ? hex(bytes.subarray(0, 48)) : text.slice(0, 400);
  return line.replace(/\s+/g, " ").slice(0, 200);
}

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** As text, if it is UTF-8 without control characters. */
function textOf(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** Objects and lists, in lines. Numbers stay as they were written: they may have more digits than the browser keeps. */
function jsonOf(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    const lines = JSON.stringify(JSON.parse(text), null, 2);
    return keepsNumbers(text) ? lines : text;
  } catch {
    return null;
  }
}

const keepsNumbers = (text) => !/\d{16}/.test(text);

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** Sixteen bytes a line, with their place and what of them is ASCII. */
export function hexDump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const some = bytes.subarray(at, at + 16);
    const plain = Array.from(some, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex(some).padEnd(47)}  ${plain}`);
  }
  return lines.join("\n");
}
