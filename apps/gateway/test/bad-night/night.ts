// One gateway in a night of faults: several at a time, each with its own routes, while traffic continues undisturbed.
import type { Endpoint } from '@meshgate/core';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import type { TlsClient, TlsTestBackend } from '@meshgate/testkit';
import { setTimeout as sleep } from 'node:timers/promises';
import { folder, startGateway } from '../daemon.ts';
import type { Folder, LogLine, ReadyDaemon } from '../daemon.ts';
import { Recording } from './alerts.ts';
import type { AlertName } from './alerts.ts';

/** What runs for the whole night. */
export interface Night extends AsyncDisposable {
  readonly gateway: ReadyDaemon;
  readonly files: Folder;
  /** A healthy server, which answers to any name. */
  readonly well: TlsTestBackend;
  /** A complete exchange of a client: the response of a healthy server. Rejects when there is none. */
  serve(serverName: string): Promise<string>;
  /** The first log line after `since` that `matches`. */
  lineAfter(since: number, matches: (line: LogLine) => boolean): Promise<LogLine>;
  warnings(): Promise<readonly string[]>;
  /** Resolves when `/ready` has no warning that `matches`. */
  untilQuiet(matches: RegExp): Promise<void>;
  /** Resolves when a documented alert fires for what is scraped from now on; see {@link Recording.fires}. */
  fires(alert: AlertName, of?: RegExp): Promise<void>;
  /** The connection that was opened before any fault. */
  readonly established: TlsClient;
}

/** Starts a gateway with `settings` and files, whose route `well` leads to a healthy server. */
export async function startNight(
  settings: object,
  filesOf: (well: TlsTestBackend) => Readonly<Record<string, unknown>>,
  start: (config: string) => Promise<ReadyDaemon> = startGateway,
): Promise<Night> {
  const well = await tlsBackend(WELL);
  const files = await folder({
    'well.yaml': { routes: [routeOf(WELL, well.address)] },
    ...filesOf(well),
  });
  await files.write('meshgate.yaml', settings);
  const gateway = await start(`${files.path}/meshgate.yaml`);
  const established = await tlsClient(gateway.address, WELL);
  const recorder = recordingOf(gateway);
  const warnings = async (): Promise<readonly string[]> =>
    ((await gateway.query('/ready')).json as { readonly warnings: readonly string[] }).warnings;
  return {
    gateway,
    files,
    well,
    established,
    warnings,
    async serve(serverName) {
      await using client = await tlsClient(gateway.address, serverName);
      return await client.echo('through the night');
    },
    lineAfter: (since, matches) => {
      let index = -1;
      const seen = new Set<LogLine>(gateway.lines.slice(0, since));
      return gateway.line((line) => {
        index += 1;
        return !seen.has(line) && matches(line);
      });
    },
    async untilQuiet(matches) {
      await until(async () => !(await warnings()).some((warning) => matches.test(warning)));
    },
    fires: async (alert, of) => {
      while (!recorder.recording.fires(alert, of)) await recorder.next();
    },
    async [Symbol.asyncDispose]() {
      await recorder.end();
      await established[Symbol.asyncDispose]();
      await gateway[Symbol.asyncDispose]();
      await well[Symbol.asyncDispose]();
      await files[Symbol.asyncDispose]();
    },
  };
}

/** Scrapes a gateway as long as a caller waits for the next scrape: as Prometheus does, but more often. */
function recordingOf(gateway: ReadyDaemon): {
  readonly recording: Recording;
  next(): Promise<void>;
  end(): Promise<void>;
} {
  const recording = new Recording();
  let scraping: Promise<void> | undefined;
  const scrape = async (): Promise<void> => {
    await sleep(SCRAPE_EVERY_MS);
    recording.add(await (await fetch(new URL('/metrics', gateway.admin))).text());
    scraping = undefined;
  };
  return { recording, next: () => (scraping ??= scrape()), end: async () => scraping?.catch(() => undefined) };
}

const SCRAPE_EVERY_MS = 150;

/** The server name of the healthy server, and the name of its route. */
export const WELL = 'well.example';

/** A route whose only server name is its name, for a route file. */
export function routeOf(
  serverName: string,
  ...backends: readonly (Endpoint | { readonly host: string; readonly port: number })[]
): object {
  return {
    name: serverName,
    serverNames: [serverName],
    backends: backends.map(({ host: address, port }) => ({ address, port })),
    connectTimeout: '1s',
  };
}

/** Clients keep requesting `serverNames`, successfully or not, until `run` has ended. */
export async function whileQuerying(
  night: Pick<Night, 'serve'>,
  serverNames: readonly string[],
  run: () => Promise<unknown>,
): Promise<void> {
  const ending = new AbortController();
  const querying = serverNames.map(async (serverName) => {
    while (!ending.signal.aborted)
      await Promise.all([night.serve(serverName).catch(() => undefined), sleep(QUERY_EVERY_MS)]);
  });
  await run().finally(() => ending.abort());
  await Promise.all(querying);
}

const QUERY_EVERY_MS = 250;

/** Polls until `holds`: from outside there is no event for what another process does by itself. */
export async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await sleep(POLL_MS);
}

/** Short enough not to prolong a test, long enough not to take CPU time from the process it waits for. */
const POLL_MS = 50;
