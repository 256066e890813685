// Where shards are in the plane of hash keys and time, and how to walk from one to another. Nothing here knows the page.

const HASH_BITS = 128n;
const FINENESS = 1_000_000_000n;

/** The share of the hash space that lies before a hash key, 0 to 1. */
export function shareBefore(hashKey) {
  return Number((BigInt(hashKey) * FINENESS) >> HASH_BITS) / Number(FINENESS);
}

/** A shard's part of the hash space, as two shares of it. */
export function partOf({ start, end }) {
  return [shareBefore(start), shareBefore(BigInt(end) + 1n)];
}

/**
 * The boxes of shards in a picture of this size: hash keys go down, time goes right. Time is not to scale, so that splits
 * within seconds and weeks without any both show: a longer span is wider, but not by as much as it is longer.
 */
export function layout(shards, { now, width, height }) {
  const moments = momentsOf(shards, now);
  const x = scaleOf(moments, width);
  const boxes = shards.map((shard) => {
    const [from, to] = partOf(shard);
    const [left, right] = [x(shard.created), x(shard.closed ?? moments.at(-1))];
    return {
      id: shard.id,
      state: shard.isExpired ? "expired" : shard.closed === null ? "open" : "closed",
      parents: shard.parents,
      x: left,
      y: from * height,
      width: Math.max(3, right - left),
      height: Math.max(2, (to - from) * height),
      from,
      to,
    };
  });
  const byId = new Map(boxes.map((box) => [box.id, box]));
  return { boxes, byId, links: linksOf(boxes, byId), moments: moments.slice(0, -1).map((time) => ({ time, x: x(time) })) };
}

/** When shards were made and closed, in order, and now. */
function momentsOf(shards, now) {
  const all = shards.flatMap(({ created, closed }) => (closed === null ? [created] : [created, closed]));
  const known = [...new Set(all)].sort((one, other) => one - other);
  const last = known.at(-1) ?? now;
  return [...known, Math.max(now, last + 1)];
}

function scaleOf(moments, width) {
  const weights = moments.slice(1).map((moment, index) => 1 + Math.log2(1 + (moment - moments[index]) / 1000) / 6);
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  const places = [0];
  for (const weight of weights) places.push(places.at(-1) + (weight / all) * width);
  const byMoment = new Map(moments.map((moment, index) => [moment, places[index]]));
  return (time) => byMoment.get(time) ?? places.at(-1);
}

/** From each parent to each child, where both are shown. */
function linksOf(boxes, byId) {
  return boxes.flatMap((child) =>
    child.parents
      .filter((id) => byId.has(id))
      .map((id) => {
        const parent = byId.get(id);
        return { parent: id, child: child.id, fromX: parent.x + parent.width, fromY: middle(parent), toX: child.x, toY: middle(child) };
      }),
  );
}

const middle = ({ y, height }) => y + height / 2;

/** The shard that a key of the keyboard leads to from one; null where there is none. */
export function neighbour({ boxes, byId }, id, key) {
  const box = byId.get(id);
  if (!box) return boxes.find(({ state }) => state === "open")?.id ?? boxes[0]?.id ?? null;
  const nearest = (candidates) =>
    candidates.toSorted((one, other) => Math.abs(middle(one) - middle(box)) - Math.abs(middle(other) - middle(box)))[0]?.id ?? null;
  switch (key) {
    case "ArrowLeft":
      return nearest(boxes.filter((other) => box.parents.includes(other.id)));
    case "ArrowRight":
      return nearest(boxes.filter((other) => other.parents.includes(id)));
    case "ArrowUp":
    case "ArrowDown": {
      const isBeyond = key === "ArrowUp" ? (other) => other.to <= box.from : (other) => other.from >= box.to;
      const isAtOnce = (other) => other.x < box.x + box.width && box.x < other.x + other.width;
      return nearest(boxes.filter((other) => other.id !== id && isBeyond(other) && isAtOnce(other)));
    }
    case "Home":
      return boxes[0].id;
    case "End":
      return boxes.at(-1).id;
    default:
      return null;
  }
}

/** How loaded a shard is by its records per second, in steps of ten: 0 for none, to 5 for what AWS would refuse soon. */
export function loadStep(recordsPerSecond) {
  if (!recordsPerSecond) return 0;
  return 1 + [1, 10, 100, 500].filter((least) => recordsPerSecond >= least).length;
}

/** What the steps mean. */
export const LOAD_WORDS = ["none", "up to 1/s", "up to 10/s", "up to 100/s", "up to 500/s", "500/s and more"];

/** The shards as they are now, and those that were there before and are gone, as expired ones. */
export function withExpired(before, now) {
  const there = new Set(now.map(({ id }) => id));
  const gone = before.filter(({ id, closed }) => !there.has(id) && closed !== null);
  return [...gone.map((shard) => ({ ...shard, isExpired: true, stats: null })), ...now];
}
