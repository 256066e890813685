// MD5 (RFC 1321), which browsers do not have: it gives partition keys their hash keys.

const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const SINES = Uint32Array.from({ length: 64 }, (_, index) => Math.floor(Math.abs(Math.sin(index + 1)) * 2 ** 32));

/** The 16 bytes of a hash. */
export function md5(bytes) {
  const padded = new Uint8Array((((bytes.length + 8) >> 6) + 1) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, (bytes.length << 3) >>> 0, true);
  view.setUint32(padded.length - 4, Math.floor(bytes.length / 2 ** 29), true);
  const state = Uint32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
  for (let at = 0; at < padded.length; at += 64) addBlock(state, view, at);
  const hash = new Uint8Array(16);
  const out = new DataView(hash.buffer);
  state.forEach((word, index) => out.setUint32(4 * index, word, true));
  return hash;
}

function addBlock(state, view, at) {
  let [a, b, c, d] = state;
  for (let step = 0; step < 64; step += 1) {
    const round = step >> 4;
    const [mixed, word] = [
      () => [(b & c) | (~b & d), step],
      () => [(d & b) | (~d & c), (5 * step + 1) & 15],
      () => [b ^ c ^ d, (3 * step + 5) & 15],
      () => [c ^ (b | ~d), (7 * step) & 15],
    ][round]();
    const sum = (a + mixed + SINES[step] + view.getUint32(at + 4 * word, true)) | 0;
    const shift = SHIFTS[4 * round + (step & 3)];
    [a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0];
  }
  [a, b, c, d].forEach((word, index) => {
    state[index] += word;
  });
}

/** The hash key of a partition key. */
export function hashKeyOf(partitionKey) {
  return md5(new TextEncoder().encode(partitionKey)).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
