import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { jsonStream } from '../src/admin/json-stream.ts';

describe('a JSON stream', () => {
  it.each([
    { value: {} },
    { value: { a: 1, b: 'text', c: null, d: { e: [1] } } },
    { value: { list: [] } },
    { value: { before: true, list: Array.from({ length: 250 }, (_, index) => ({ index })), after: [1, 2] } },
  ])('is the output of JSON.stringify', async ({ value }) => {
    expect(JSON.parse(await text(jsonStream(value)))).toEqual(value);
  });

  it('has no control character, not even those that JSON allows', async () => {
    const value = { '\u009b2J': ['\u007f', '\u001b[2J', '\u202e'], list: new Set(['\u0085']) };
    const written = await text(jsonStream(value));
    expect(written).toMatch(/^[ -~]*\n$/);
    expect(JSON.parse(written)).toEqual({ ...value, list: ['\u0085'] });
  });

  it('iterates only as it is read, with turns for other work in between', async () => {
    let made = 0;
    const items = (function* () {
      for (; made < 100_000; made += 1) yield made;
    })();
    const reading = text(jsonStream({ items }));
    await nextTurn();
    expect(made).toBeLessThan(10_000);
    expect(JSON.parse(await reading)).toMatchObject({ items: { length: 100_000 } });
  });
});
