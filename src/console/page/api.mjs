// What the server is asked.

const DATA = "/console/api/";

/** The answer to a request, or an `Error` with the server's words. */
async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
  const response = await fetch(`${DATA}${path}?${query}`, { cache: "no-store", credentials: "omit" });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(answer.error ?? answer.message ?? `the server answered with status ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return answer;
}

const of = ({ name }) => `streams/${encodeURIComponent(name)}`;

export const streamOf = (stream, shard) => get(of(stream), { namespace: stream.namespace, shard });
export const readersOf = (stream) => get(`${of(stream)}/readers`, { namespace: stream.namespace });
export const recordsOf = (stream, asked) => get(`${of(stream)}/records`, { namespace: stream.namespace, ...asked });
export const events = () => new EventSource(`${DATA}events`);
