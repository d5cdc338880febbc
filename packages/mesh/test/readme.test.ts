import { expect, it } from 'vitest';
import { problems, routes } from './example.ts';

it('the example of the README derives what it shows', () => {
  expect(problems).toEqual([]);
  expect(routes).toMatchObject([
    {
      name: 'service:db',
      serverNames: ['db.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul'],
      backends: [{ address: { host: '10.0.0.5', port: 20_000 }, healthy: true }],
    },
  ]);
});
