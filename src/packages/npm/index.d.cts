/// <reference lib="esnext.disposable" />

/** How a server is started. */
export interface StartOptions {
  /** Streams that are there at once: `"clicks"` with 4 shards, or `"clicks:2"` with two. */
  streams?: string | Iterable<string>;
  /** Calls that fail, such as `"PutRecords:throttle:25%"` or `"*:slow=200ms:3"`. */
  faults?: string | Iterable<string>;
  /** Which calls the faults strike follows from this number and the order of the calls. */
  faultSeed?: number | bigint;
  /** Limits of AWS: `"aws"` for all of them, or some of `"delays"`, `"throughput"`, `"call-rates"`, `"changes"`. */
  emulate?: string | Iterable<string>;
  /** The directory of the streams. Without it they are in memory, and are gone with the server. */
  dataDir?: string;
  /** The region of requests that are signed for none, of `streams`, and of `clientOptions()`. By default `us-east-1`. */
  region?: string;
  /** The account of all streams: twelve digits. By default `000000000000`. */
  accountId?: string;
  /** The host and port to listen on. By default a free port of this machine. */
  listen?: string;
  /** More arguments of `anabranch serve`. */
  arguments?: string | Iterable<string>;
  /** The path of the program. See `findProgram` for where it is looked for otherwise. */
  program?: string;
  /** How many milliseconds it may take until the server serves. By default a minute. */
  startupTimeout?: number;
}

/** What a client of the AWS SDK for JavaScript is made with. */
export interface ClientOptions {
  endpoint: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
}

/** A server that runs. It ends with this process, if it is not stopped before. */
export interface Server extends AsyncDisposable {
  /** Where the server is: `http://127.0.0.1:41234`. */
  readonly url: string;
  readonly region: string;
  readonly accountId: string;
  /** The number of the process. */
  readonly pid: number;
  /** Options for `new KinesisClient(…)`, for the streams of this region. */
  clientOptions(region?: string): ClientOptions;
  /** Environment variables by which the AWS SDKs and the AWS command line find the server by themselves. */
  environment(region?: string): Record<string, string>;
  /** The last that the program has written to its standard error. */
  log(): string;
  /**
   * Stops the server in order: what it has taken is answered, and its store is closed. A second call gives what the first
   * one gave, and so does one after `kill`.
   * @throws ServerError if it had ended before, by itself, or does not end in order.
   */
  stop(timeout?: number): Promise<void>;
  /** Kills the server (SIGKILL), as a crash does. With a `dataDir`, the next one finds what this one acknowledged. */
  kill(): Promise<void>;
}

/** The server did not start, ended by itself, or did not end in order. */
export class ServerError extends Error {
  /** What the program wrote to its standard error. */
  readonly log: string;
}

/**
 * Starts a server of its own, and waits until it serves.
 * @throws ServerError if the server does not start.
 */
export function start(options?: StartOptions): Promise<Server>;

/**
 * The path of the program: what `ANABRANCH_PROGRAM` names, or else the one in the folder `bin` of this package, or else the
 * first on the search path.
 */
export function findProgram(): string;

/**
 * The name of a region that was never used. A stream belongs to a region; so the streams of a test that has a region of its
 * own are apart from those of all others.
 */
export function freshRegion(): string;
