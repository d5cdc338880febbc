// Two gateways that lead to each other: a connection goes around until a limit ends it, and the metrics say what it was.
import { clientHello, inRecords, rawClient } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { folder, startGateway, TEST_CONFIG } from './daemon.ts';

const LIMIT = 8;

it('a loop through another gateway ends at the limit of a client, and is seen in the metrics', async () => {
  const limits = { perClient: { connections: LIMIT } };
  await using files = await folder({ 'meshgate.yaml': { ...TEST_CONFIG, limits }, 'routes.yaml': { routes: [] } });
  await using one = await startGateway(`${files.path}/meshgate.yaml`);
  const toOne = { serverNames: ['*'], backends: [{ address: '127.0.0.1', port: one.address.port }] };
  await using others = await folder({ 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': { routes: [toOne] } });
  await using other = await startGateway(`${others.path}/meshgate.yaml`);
  const toOther = { serverNames: ['*'], backends: [{ address: '127.0.0.1', port: other.address.port }] };
  await files.write('routes.yaml', { routes: [toOther] });
  await one.line(({ msg, appeared }) => String(msg).startsWith('routes updated') && appeared !== undefined);
  await using client = await rawClient(one.address);
  await client.send(inRecords(clientHello({ serverName: 'around.example.com' })));
  await client.closed;
  const refused = await one.line(({ code }) => code === 'LIMIT_REACHED');
  expect(refused['msg']).toContain('limits.perClient.connections');
  const metrics = await (await fetch(new URL('/metrics', one.admin))).text();
  expect(metrics).toMatch(new RegExp(`meshgate_hellos_repeated_total\\{listener="main"\\} ${LIMIT - 1}\n`));
});
