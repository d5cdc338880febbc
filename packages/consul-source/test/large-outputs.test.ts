// A datacenter whose checks have large outputs: together more than the response limit.
import { checkServiceNode, standInAgent } from '@meshgate/testkit';
import type { StandInService } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { shown, Watched } from './watched.ts';

const SERVICES = 5_000;
const PER_NODE = 25;
const OUTPUT_BYTES = 4_096;
/** Contains what would confuse a careless parser. */
const OUTPUT = JSON.stringify(`200 OK Output: {"a":[1,"\\"}]"]}\n${'x'.repeat(OUTPUT_BYTES)}`);
const LIMIT_BYTES = 64 * 1024 * 1024;
// Some seconds of one core, which may be busy.
const TEST_MS = 180_000;

const services = (critical: number): readonly StandInService[] =>
  Array.from({ length: SERVICES }, (_, index): readonly StandInService[] => {
    const [name, node] = [`svc-${index}`, `node-${Math.floor(index / PER_NODE)}`];
    const status = index === critical ? 'critical' : 'passing';
    const proxy = { name: `${name}-proxy`, kind: 'connect-proxy', destination: name, address: '10.0.0.1' };
    return [
      { name, node, port: 80 },
      { ...proxy, node, port: 20_000 + index, status },
    ];
  }).flat();

/** As `internal/ui/nodes` returns it, with two checks per instance. */
function nodesText(all: readonly StandInService[]): string {
  const nodes: string[] = [];
  for (let at = 0; at < all.length; at += PER_NODE * 2) {
    const on = all.slice(at, at + PER_NODE * 2);
    const checks = on.flatMap(({ name, status = 'passing' }) =>
      ['one', 'two'].map((id) => `{"CheckID":"${id}","Status":"${status}","Output":${OUTPUT},"ServiceID":"${name}"}`),
    );
    const registered = on.map(({ name, kind = '', destination = '', port }) =>
      JSON.stringify({
        Kind: kind,
        ID: name,
        Service: name,
        Port: port,
        Proxy: { DestinationServiceName: destination },
        ModifyIndex: 1,
      }),
    );
    nodes.push(
      `{"Node":"${on[0]?.node}","Address":"10.0.0.1","Services":[${registered.join()}],"Checks":[${checks.join()}]}`,
    );
  }
  const consul = '{"Node":"server","Address":"10.0.0.9","Services":[{"ID":"consul","Service":"consul"}],"Checks":[]}';
  return `[${consul},${nodes.join()}]`;
}

/** All endpoints with one service whose check fails. */
function responsesWith(critical: number): Readonly<Record<string, unknown>> {
  const all = services(critical);
  const proxies = all.filter(({ destination }) => destination !== undefined);
  const health = proxies.map((one) => [`health/connect/${one.destination}`, [checkServiceNode(one, 'dc1')]] as const);
  return { 'internal/ui/nodes': nodesText(all), ...Object.fromEntries(health) };
}

it(
  'five thousand services with 4 KiB of output in each check are routed, and a change among them is detected',
  async () => {
    const before = responsesWith(-1);
    expect(String(before['internal/ui/nodes']).length).toBeGreaterThan(LIMIT_BYTES);
    await using agent = await standInAgent({ responses: before });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const first = await routes.until((at) => at.routes.length === SERVICES);
    expect(shown(first, 'service:svc-4999')).toBe('10.0.0.1:24999');
    agent.respond(responsesWith(4_999));
    await routes.until((at) => shown(at, 'service:svc-4999') === '10.0.0.1:24999 unhealthy');
    expect(routes.errors).toEqual([]);
  },
  TEST_MS,
);
