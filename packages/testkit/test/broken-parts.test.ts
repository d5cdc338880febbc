import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// A suite that nothing can fail proves nothing: each of these parts breaks one promise, and its claim must fail.
const BROKEN: readonly (readonly [part: string, claim: string])[] = [
  ['a source of differences', 'yields what it knows at once, and the complete value again at each change'],
  ['a source that reuses its array', 'never modifies what it has yielded'],
  ['a source that is deaf to its signal', 'returns when its signal aborts while it waits for a change'],
  ['a source that throws when it is stopped', 'returns when its signal aborts while it waits for a change'],
  ['a source that forgets a timer', 'leaves no timer, socket or watcher behind, however its watch ends'],
  ['a source of one version', 'has equal versions for equal contents, and different ones for different contents'],
  [
    'a source of new versions for old routes',
    'has equal versions for equal contents, and different ones for different contents',
  ],
  ['a source with names that are not normalised', 'yields valid routes'],
  ['a listener source of DNS names', 'lists addresses that can be bound, each with its own name'],
  ['a sniffer that decides too early', 'requests more for every prefix, unless that already has the same verdict'],
  ['a sniffer that throws', 'never throws, whatever the bytes'],
  ['a sniffer that reads the whole buffer', 'reads it in place, in the middle of a larger buffer'],
  ['a sniffer that keeps the head', 'neither modifies nor retains its input'],
  [
    'a sniffer whose progress misleads it',
    'has the same verdict when it arrives in pieces and progress is passed back',
  ],
  ['an observer that keeps everything', 'releases connections that have closed'],
  ['an observer that makes others wait', "accepts 'drain.started'"],
  ['an observer that adds a note', "accepts 'drain.started'"],
  ['an observer that wants a hello', 'accepts a connection that ended early, for each reason'],
  ['a resolver that looks into a plain object', "returns a route or undefined for the name '__proto__'"],
  ['a transport that loses the head', 'sends the head before anything else, and counts it'],
  [
    'a transport that keeps its port',
    'frees the port when it is closed, even twice, and leaves accepted connections alone',
  ],
  ['a transport that is impatient', 'ends with IDLE_TIMEOUT after the idle time, and not before'],
  ['a transport that has its own errors', 'rejects with CONNECT_REFUSED when nothing listens'],
  [
    'a transport that buffers without bound',
    'applies backpressure to its writer when the reader is slow, and loses nothing',
  ],
];

/** As vitest's JSON reporter writes it. */
interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
    }[];
  }[];
}

describe('a contract suite fails for', { timeout: 60_000 }, () => {
  const parts = fileURLToPath(new URL('fixtures/broken-parts.spec.ts', import.meta.url));
  let scratch = '';
  let failed: readonly string[] = [];

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'meshgate-'));
    failed = failures(await run(parts, scratch));
  }, 120_000);
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  it.each(BROKEN)('%s', (part, claim) => {
    expect(failed.filter((each) => each.startsWith(part))).toContain(`${part}: ${claim}`);
  });

  it('no correct part', () => {
    expect(failed.filter((each) => each.startsWith('a correct'))).toEqual([]);
  });
});

/** Runs the suites: of each broken part only the claim that must fail, and of correct parts all claims. */
async function run(parts: string, scratch: string): Promise<Report> {
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
  const pattern = ['^a correct', ...BROKEN.map(([part, claim]) => `^${literal(part)}.* ${literal(claim)}$`)].join('|');
  const report = join(scratch, 'report.json');
  const config = join(scratch, 'vitest.config.mjs');
  await writeFile(config, `export default { test: { include: [${JSON.stringify(basename(parts))}] } };\n`);
  const options = [
    '--config',
    config,
    '--root',
    dirname(parts),
    '--reporter=json',
    `--outputFile=${report}`,
    '-t',
    pattern,
  ];
  await new Promise<void>((resolve) => {
    execFile(process.execPath, [vitest, 'run', ...options], () => resolve());
  });
  return JSON.parse(await readFile(report, 'utf8')) as Report;
}

/** As a regular expression. */
function literal(text: string): string {
  return text.replaceAll(/[^\w, ]/g, '.');
}

function failures({ testResults }: Report): readonly string[] {
  return testResults.flatMap(({ assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ ancestorTitles, title }) => `${partOf(ancestorTitles)}: ${title}`),
  );
}

/** The part before `, as a …` in the name of the suite. */
function partOf(titles: readonly string[]): string {
  return titles.find((title) => title.includes(', as a'))?.split(', as a')[0] ?? titles.join(' ');
}
