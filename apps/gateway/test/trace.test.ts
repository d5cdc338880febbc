import { describe, expect, it } from 'vitest';
import { folder, meshgate } from './daemon.ts';
import { blocksIn, pageText } from './page.ts';
import { hopOfConnection, hopOfLine } from '../src/trace/hop.ts';
import { Traces } from '../src/trace/traces.ts';

const TRACE = '07c1d9e2b8a46';

function line(fields: object): string {
  const closed = {
    time: '2026-05-07T09:15:02.500Z',
    id: '1',
    listener: 'main',
    remote: '192.0.2.1:5',
    durationMs: 500,
  };
  return JSON.stringify({ ...closed, trace: TRACE, ...fields });
}

describe('a log line', () => {
  const others: readonly [claim: string, text: string][] = [
    ['that is no JSON', '"trace" "durationMs"'],
    ['that is cut', line({}).slice(0, -5)],
    ['that is a list', `[${line({})}]`],
    ['of another message', '{"level":"info","msg":"ready"}'],
    ['without a trace', line({ trace: undefined })],
    ['whose trace is a number', line({ trace: 7 })],
    ['whose time is none', line({ time: 'yesterday' })],
    ['whose duration is none', line({ durationMs: '5' })],
    ['that is empty', ''],
  ];
  it.each(others)('%s contains no hop', (_claim, text) => {
    expect(hopOfLine(text, 'a.log')).toBeUndefined();
  });

  it('of a closed connection is a hop, with its accept time', () => {
    const hop = hopOfLine(
      line({ code: 'CONNECT_REFUSED', reason: 'dial', route: 'web', bytesUp: 3, bytesDown: 0 }),
      'a',
    );
    expect(hop).toEqual({
      trace: TRACE,
      origin: 'a',
      acceptedAt: Date.parse('2026-05-07T09:15:02.000Z'),
      durationMs: 500,
      ended: 'CONNECT_REFUSED',
      listener: 'main',
      remote: '192.0.2.1:5',
      route: 'web',
      reason: 'dial',
      bytesUp: 3,
      bytesDown: 0,
    });
  });
});

it('a live connection is a hop, too', () => {
  const connection = { trace: TRACE, listener: 'main', remote: '192.0.2.1:5', ageMs: 100, bytesUp: 1, bytesDown: 2 };
  expect(hopOfConnection(connection, 'admin', 1_100)).toMatchObject({ acceptedAt: 1_000, ended: 'live' });
  expect(hopOfConnection({ ...connection, trace: undefined }, 'admin', 1_100)).toBeUndefined();
});

describe('traces', () => {
  it('keep the newest ten thousand of an endless log', () => {
    const traces = new Traces({});
    for (let number = 0; number < 10_500; number += 1) {
      const hop = hopOfLine(line({ trace: number.toString(16).padStart(13, '0') }), 'a');
      if (hop !== undefined) traces.add(hop);
    }
    const newest = traces.newest(20_000);
    expect(newest).toHaveLength(10_000);
    expect(newest[0]?.trace).toBe((500).toString(16).padStart(13, '0'));
  });
});

describe('meshgate trace', () => {
  it('joins the lines of several logs, in the order of the path', async () => {
    await using files = await folder({
      'sidecar.log': `not JSON\n${line({ listener: 'upstream:db', durationMs: 480 })}\n`,
      'gateway.log': `${line({ durationMs: 470, serverName: 'db.test', code: 'CONNECT_REFUSED', reason: 'dial 10.0.0.1:1' })}\n`,
      'other.log': line({ trace: '0000000000001' }),
    });
    const logs = ['gateway.log', 'sidecar.log', 'other.log'].flatMap((name) => ['--log', name]);
    const { status, stdout } = await meshgate(['trace', TRACE, ...logs], files.path);
    const [title, , first, second, reason] = stdout.split('\n');
    expect(title).toBe(`${TRACE}  db.test  2026-05-07T09:15:02.020Z`);
    expect(first).toMatch(/^ {2}sidecar.log +upstream:db /);
    expect(second).toMatch(/^ {2}gateway.log +main .* CONNECT_REFUSED$/);
    expect(reason).toBe('  gateway.log: CONNECT_REFUSED: dial 10.0.0.1:1');
    expect([status, stdout.includes('0000000000001')]).toEqual([0, false]);
  });

  it('prints what its page shows', async () => {
    const page = pageText('docs/operate/logs.md');
    const block = (language: string, label: string): string =>
      blocksIn(page, language).find((one) => one.label === label)?.text ?? '';
    // The page wraps a long line.
    const logs = ['sidecar.log', 'gateway.log'].map((name) => [name, JSON.stringify(JSON.parse(block('jsonl', name)))]);
    await using files = await folder(Object.fromEntries(logs));
    const [, ...args] = block('sh', 'trace').trim().split(' ');
    const { stdout } = await meshgate(args, files.path);
    expect(stdout.trim()).toBe(block('text', 'trace').trim());
  });

  it('reports what is missing, and what it cannot read', async () => {
    await using files = await folder({ 'a.log': '' });
    expect(await meshgate(['trace'])).toMatchObject({
      status: 2,
      stderr: 'expected --log FILE or --admin URL, found neither\n',
    });
    expect(await meshgate(['trace', 'xyz', '--log', 'a.log'], files.path)).toMatchObject({ status: 2 });
    expect(await meshgate(['trace', '--log', 'a.log'], files.path)).toMatchObject({
      status: 1,
      stdout: 'no such connection\n',
    });
    expect((await meshgate(['trace', '--log', '.'], files.path)).stderr).toMatch(/^meshgate: \.: EISDIR/);
    expect((await meshgate(['trace', '--log', 'b.log'], files.path)).stderr).toMatch(/^meshgate: b\.log: ENOENT/);
  });
});
