// Compiled, and not run: what a program in TypeScript writes.
import { KinesisClient, ListStreamsCommand } from "@aws-sdk/client-kinesis";
import { ServerError, findProgram, freshRegion, start } from "anabranch";
import type { ClientOptions, Server, StartOptions } from "anabranch";

const options: StartOptions = { streams: ["clicks:2"], faults: "PutRecords:throttle:25%", faultSeed: 7n, emulate: ["delays"] };

async function streams(): Promise<string[]> {
  await using server: Server = await start(options);
  const settings: ClientOptions = server.clientOptions(freshRegion());
  const listed = await new KinesisClient(settings).send(new ListStreamsCommand({}));
  const environment: NodeJS.ProcessEnv = { ...process.env, ...server.environment() };
  const path: string = findProgram();
  await server.stop(1000);
  return [...(listed.StreamNames ?? []), path, environment["AWS_ENDPOINT_URL"] ?? "", server.url, String(server.pid)];
}

streams().catch((error: unknown) => {
  if (error instanceof ServerError) {
    const log: string = error.log;
    console.error(log);
  }
});

// @ts-expect-error: a number of streams is no stream.
start({ streams: 2 });
// @ts-expect-error: there is no such option.
start({ stream: "clicks" });
// @ts-expect-error: the address of a server does not change.
start().then((server) => (server.url = "http://127.0.0.1"));
