import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { chart } from '../chart.mjs';
import { added, failures, judgements, rows, sharings } from '../comparison.mjs';
import { resultsText, withResults } from '../document.mjs';
import { goalLines, sharingLines } from '../findings.mjs';
import { parseOptions } from '../options.mjs';
import { cellsOf, columns, markdown } from '../table.mjs';
import { fill } from '../template.mjs';
import { resultsWithPaths, resultsWithWorkers, someResults } from './results.mjs';

describe('rows', () => {
  it('compare ours with the best peer in its usual configuration', () => {
    const [rate] = rows(someResults());
    const ours = rate.cells.find(({ contestant }) => contestant.id === 'core-uring');
    expect(rate.bestPeer).toBe('haproxy');
    expect(ours.toBestPeer.median).toBeCloseTo(1.1);
  });

  it('have no ratio where no peer was measured', () => {
    const down = rows(someResults()).find(({ figure }) => figure.id === 'down-8.gigabytesPerSecond');
    expect(down.cells.map(({ toBestPeer }) => toBestPeer)).toEqual([undefined]);
  });

  it('omit figures that nobody has', () => {
    const ids = rows(someResults()).map(({ figure }) => figure.id);
    expect(ids).toEqual(['rate.perSecond', 'down-8.gigabytesPerSecond']);
  });
});

describe('judgements', () => {
  it('report for each goal whether it was reached, and by what, and otherwise that it was not measured', () => {
    const all = judgements(someResults());
    const measured = all.filter(({ ratio }) => ratio !== undefined);
    expect(measured.map(({ ours, against, ratio, reached }) => [ours, against, ratio.median, reached])).toEqual([
      ['Meshgate core, uring', 'HAProxy', expect.closeTo(1.1), true],
      ['Meshgate core, node', 'bare node pipe', 0.75, false],
    ]);
    expect(all.length).toBeGreaterThan(measured.length);
    const [heading, reached, ...rest] = goalLines(someResults()).map((line) => line.at(-1));
    expect([heading, reached]).toEqual(['', 'reached']);
    expect(new Set(rest)).toEqual(new Set(['not reached', 'not measured']));
  });

  it('are omitted when nothing of them was measured', () => {
    expect(judgements({ ...someResults(), samples: {} })).toEqual([]);
  });

  it('compare connections during reloads with those without', () => {
    const calm = (p99Ms) => ({ perSecond: 1, p99Ms, p999Ms: 1, maxMs: 1, failed: 0 });
    const reload = { 'gateway-uring': { reloads: 5, quiet: calm(4), reloading: calm(5) } };
    const found = judgements({ ...someResults(), reload }).find(({ against }) => against === 'itself without');
    expect([found.ratio.median, found.reached]).toEqual([1.25, true]);
  });
});

describe('the ratio to the best peer', () => {
  it('shows the spread of the rounds', () => {
    const results = someResults();
    results.samples.rate['core-uring'][0] = { perSecond: 9_000, failed: 0 };
    const lines = cellsOf(rows(results), results.contestants);
    expect(lines[1][5]).toMatch(/ \(1\.10×, 0\.90–1\.10\)$/);
  });
});

describe('several workers', () => {
  it('are compared with one, and with the available cores', () => {
    const [sharing] = sharings(resultsWithWorkers({ two: 10_500, allCores: 1.9 }));
    expect([sharing.many.id, sharing.one.id, sharing.ratio.median]).toEqual([
      'gateway-uring-2w',
      'gateway-uring',
      1.05,
    ]);
    expect(sharing.atMost).toBeCloseTo(2 / 1.9);
    expect(sharing.otherCores).toBeCloseTo(0.9);
  });

  it('have no ratio where others use the machine', () => {
    const [sharing] = sharings(resultsWithWorkers({ two: 10_500, allCores: 1, othersShare: 0.4 }));
    expect(sharing.atMost).toBeCloseTo(1.2);
  });

  it.each([
    [10_500, 'that is what is missing'],
    [8_000, 'the rest goes into sharing them'],
    [15_000, 'each one takes less'],
  ])('with %d a second: the reason is reported', (two, reason) => {
    expect(sharingLines(resultsWithWorkers({ two, allCores: 1.9 }))).toEqual([expect.stringContaining(reason)]);
  });

  it('are in no column beside those with one thread', () => {
    const [rate] = rows(resultsWithWorkers({ two: 15_000, allCores: 1.9 }));
    expect(rate.cells.map(({ contestant }) => contestant.id)).not.toContain('gateway-uring-2w');
  });

  it('are reported beside the goals', () => {
    const text = resultsText(resultsWithWorkers({ two: 10_500, allCores: 1.9 }));
    expect(text).toMatch(/\| Meshgate, uring, 2 workers \|\s+Meshgate, uring \| reported \| 1\.05× \|/);
  });
});

describe('a path through the mesh', () => {
  it('adds the extra time over the direct one, round by round', () => {
    const [pair] = added(resultsWithPaths().sidecar);
    expect(pair.path.id).toBe('pair');
    expect([pair.p50Ms, pair.p99Ms]).toEqual([expect.closeTo(0.1), expect.closeTo(0.3)]);
  });

  it('is on the page, with its ratio', () => {
    const text = resultsText(resultsWithPaths());
    expect(text).toContain('Added to 1 KiB there and back by two sidecars: 0.100 ms at p50, 0.300 ms at p99.');
    expect(text).toContain('0.175 (2.50×, 2.00–3.00)');
  });

  it('counts among the failures, too', () => {
    expect(failures(resultsWithPaths())).toContainEqual({
      contestant: 'pair',
      load: 'way-latency',
      failed: 1,
      stalled: 0,
    });
  });
});

describe('failures', () => {
  it('are added up over the rounds', () => {
    expect(failures(someResults())).toEqual([{ contestant: 'core-node', load: 'rate', failed: 2, stalled: 0 }]);
  });
});

describe('a table', () => {
  const results = someResults();
  const lines = cellsOf(rows(results), results.contestants);

  it('has a column for each contestant, and a dash for what it does not have', () => {
    expect(lines[0]).toEqual(['', ...results.contestants.map(({ label }) => label)]);
    expect(lines[1].slice(0, 3)).toEqual(['Connections a second (/s)', '10,000', '–']);
    expect(lines[1][5]).toBe('11,000 (1.10×)');
  });

  it('is aligned on a terminal', () => {
    const ends = columns(lines)
      .split('\n')
      .map((line) => line.length);
    expect(new Set(ends).size).toBe(1);
  });

  it('has a rule under its heading in Markdown', () => {
    expect(
      markdown([
        ['', 'a'],
        ['x', '1'],
      ]).split('\n'),
    ).toEqual(['|  | a |', '| --- | ---: |', '| x | 1 |']);
  });
});

describe('a chart', () => {
  const results = someResults();
  const svg = chart(results, rows(results));

  it('has a bar for each contestant that has a figure', () => {
    expect(svg.match(/height="15" rx="2"/g)).toHaveLength(6);
  });

  it('names the machine and the date', () => {
    expect(svg).toContain('Test CPU, 2 cores · Linux 6.0 · Node v20.19.0 · 2030-01-02');
  });

  it('escapes labels', () => {
    expect(svg).toContain('nginx &lt;stream>');
    expect(svg).not.toContain('nginx <');
  });

  it('contains no invalid number', () => {
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });
});

describe('the results of docs/performance.md', () => {
  it('name who was compared, who was not and why, and who failed', () => {
    const text = resultsText(someResults());
    expect(text).toContain('Not compared: Envoy (envoy is not installed).');
    expect(text).toContain('| core-node | rate | 2 | 0 |');
  });

  it('replace those of the last run, and nothing else', () => {
    const page = readFileSync(new URL('../../docs/performance.md', import.meta.url), 'utf8');
    const once = withResults(page, someResults());
    expect(withResults(once, someResults())).toBe(once);
    expect(once.split('<!-- results')[0]).toBe(page.split('<!-- results')[0]);
    expect(once.split('<!-- /results -->')[1]).toBe(page.split('<!-- /results -->')[1]);
  });

  it('of another machine are kept beside them, with the differences', () => {
    const page = readFileSync(new URL('../../docs/performance.md', import.meta.url), 'utf8');
    const other = { ...someResults(), machine: { ...someResults().machine, cpu: 'Other CPU' } };
    const both = withResults(page, someResults(), [other]);
    expect(both).toContain('### On Other CPU, 2 cores');
    expect(both).toMatch(/\| figure \| ours \| goal \| Test CPU.* \| Other CPU/);
    expect(both).toMatch(/Connections a second \| Meshgate core, uring \| ≥ 1\.1 \| 1\.10× \| 1\.10×/);
    expect(withResults(both, someResults(), [other])).toBe(both);
  });

  it('are rejected by a page without a section for them', () => {
    expect(() => withResults('# other', someResults())).toThrow('found none');
  });
});

describe('a template', () => {
  it('inserts the values, and its block once for each backend', () => {
    const template = 'listen {{port}}\n{{#backends}}\nto {{name}} {{port}}\n{{/backends}}\nend\n';
    const filled = fill(template, { port: 1 }, [
      { name: 'a', port: 2 },
      { name: 'b', port: 3 },
    ]);
    expect(filled).toBe('listen 1\nto a 2\nto b 3\nend\n');
  });

  it('is rejected when a value is missing', () => {
    expect(() => fill('{{port}}', {}, [])).toThrow('{{port}}');
  });
});

describe('the options', () => {
  it('select loads by the beginnings of their names', () => {
    expect(parseOptions(['--only', 'rate,up'])).toMatchObject({
      loads: ['rate', 'up-1', 'up-8', 'up-64'],
      micro: false,
    });
  });

  it('of the goals are the loads that they need', () => {
    expect(parseOptions(['--goals'])).toMatchObject({
      loads: ['rate', 'down-8', 'up-8', 'pingpong-1024', 'idle', 'reload'],
      micro: false,
    });
  });

  it('are rejected for an unknown load, with the known ones', () => {
    expect(() => parseOptions(['--only', 'speed'])).toThrow(/rate, .* found speed/);
  });

  it.each(['0', '-1', 'many'])('reject %j rounds', (rounds) => {
    expect(() => parseOptions(['--rounds', rounds])).toThrow('--rounds');
  });

  it('of a quick run are one round of one second', () => {
    expect(parseOptions(['--quick'])).toMatchObject({ settings: { rounds: 1, seconds: 1 } });
  });
});
