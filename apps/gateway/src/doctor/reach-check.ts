import { formatEndpoint, unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import type { RouteTableView } from '../admin/views.ts';
import type { Finding } from '../live-check/finding.ts';
import { probe } from './backend-probe.ts';
import type { Probe } from './backend-probe.ts';

/** A backend of a route, and the name with which it is asked. */
export interface Target {
  /** `route web`, `datacenter dc2`: for people. */
  readonly what: string;
  readonly address: Endpoint;
  readonly serverName: string;
  /** Why it is dialled rather than another address: the mesh gateway mode of a sidecar. */
  readonly way?: string;
  /** No service has the name: that whoever answers refuses it is a good sign. */
  readonly isMadeUp: boolean;
}

/** More would be a load test. */
const MAX_TARGETS = 64;
const AT_ONCE = 8;

/**
 * Backends to try: one for each address, with an exact name of the route where it has one, otherwise with a name below its suffix that
 * nobody has. Pure.
 */
export function targetsOf({ routes }: Pick<RouteTableView, 'routes'>): readonly Target[] {
  const targets = new Map<string, Target>();
  for (const { name, kind, serverNames, backends } of routes) {
    const suffix = serverNames.find((serverName) => serverName.startsWith('*.'))?.slice(1);
    // The name of a datacenter itself is no service's.
    const exact = serverNames.find((serverName) => !serverName.startsWith('*') && `.${serverName}` !== suffix);
    const serverName = exact ?? (suffix === undefined ? undefined : `meshgate-doctor${suffix}`);
    if (serverName === undefined) continue;
    const what = kind === undefined ? `route ${name}` : `route ${name} (${kind})`;
    for (const { host, port } of backends) {
      const address = { host, port };
      const key = formatEndpoint(address);
      if (!targets.has(key)) targets.set(key, { what, address, serverName, isMadeUp: exact === undefined });
    }
  }
  return Array.from(targets.values());
}

/** Tries every one of `targets`, the first 64 of them. Takes some ten seconds at most where nobody answers a few of them. */
export async function checkReach(targets: readonly Target[]): Promise<readonly Finding[]> {
  const tried = targets.slice(0, MAX_TARGETS);
  const findings = new Map<Target, Finding>();
  const waiting = [...tried].toReversed();
  const over = performance.now() + DEADLINE_MS;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let target = waiting.pop(); target !== undefined; target = waiting.pop()) {
        findings.set(target, await checkTarget(target));
        if (performance.now() > over) return;
      }
    }),
  );
  const untried = targets.length - findings.size;
  const rest: readonly Finding[] =
    untried === 0 ? [] : [{ check: 'backends', outcome: 'warning', found: `${untried} more were not tried` }];
  return [...tried.flatMap((target) => findings.get(target) ?? []), ...rest];
}

const DEADLINE_MS = 10_000;

/** What answers may still be out of reach for packets as large as those that clients send. */
async function checkTarget(target: Target): Promise<Finding> {
  const { address, serverName } = target;
  const usual = reachFinding(target, await probe(address, serverName), new Date());
  if (usual.outcome !== 'ok' || unixPath(address) !== undefined) return usual;
  const large = await probe(address, serverName, 'large');
  if (large.kind !== 'silent' && !(large.kind === 'unreachable' && large.code === 'ETIMEDOUT')) return usual;
  const found = 'answers a small ClientHello, and none that takes several packets';
  return { check: usual.check, outcome: 'failed', found, advice: MTU };
}

const MTU =
  'large packets are lost on the way: lower the MTU of this machine or of the tunnel in between, or let ICMP through (path MTU discovery)';

/**
 * Datacenters and peers that no gateway leads to: there is nobody to dial. Pure.
 *
 * @param routes as `GET /routes` shows them
 */
export function gapsIn({ routes }: Pick<RouteTableView, 'routes'>): readonly Finding[] {
  return Array.from(routes).flatMap(({ name, kind = '', backends }): readonly Finding[] => {
    if (!LEADS_TO_GATEWAYS.has(kind) || backends.length > 0) return [];
    const advice =
      'no mesh gateway is registered there, or the servers do not know of it: look at the warnings of the source';
    return [{ check: `route ${name} (${kind})`, outcome: 'failed', found: 'no gateway is known', advice }];
  });
}

const LEADS_TO_GATEWAYS: ReadonlySet<string> = new Set(['remote-datacenter', 'imported-service']);

/** What an attempt means. Pure. */
export function reachFinding(target: Target, outcome: Probe, now: Date): Finding {
  const { what, address, serverName, isMadeUp, way } = target;
  const check = `${what}: backend ${formatEndpoint(address)} for ${serverName}`;
  switch (outcome.kind) {
    case 'tls':
      return tlsFinding({ ...target, check }, outcome, now);
    case 'alert':
      return alertFinding(check, outcome.alert, isMadeUp);
    case 'closed':
      return isMadeUp
        ? { check, outcome: 'ok', found: 'accepts, and closes for a name that nobody has' }
        : {
            check,
            outcome: 'failed',
            found: 'accepts, and closes without an answer',
            advice: `what listens there knows no ${serverName}: run meshgate doctor ${serverName} on that gateway, or look at its log`,
          };
    case 'silent':
      return {
        check,
        outcome: 'failed',
        found: 'accepts, and does not answer within 2 s',
        advice: 'something in between accepts for it, or it hangs: look at it on its own machine',
      };
    case 'not-tls':
      return {
        check,
        outcome: 'failed',
        found: 'answers with something other than TLS',
        advice: 'another service listens at this address: correct the address or the port',
      };
    case 'unreachable':
      return {
        check,
        outcome: 'failed',
        found: `${UNREACHABLE[outcome.code] ?? outcome.code}${way === undefined ? '' : `; ${way}`}`,
        advice:
          way === undefined
            ? adviceFor(outcome.code)
            : `correct the mode where it is set, or ${adviceFor(outcome.code)}`,
      };
  }
}

function tlsFinding(
  { check, serverName, isMadeUp }: Target & { readonly check: string },
  outcome: Extract<Probe, { readonly kind: 'tls' }>,
  now: Date,
): Finding {
  if (outcome.validFrom > now)
    return {
      check,
      outcome: 'failed',
      found: `TLS of ${outcome.subject}, whose certificate begins only on ${outcome.validFrom.toISOString()}`,
      advice: 'set the clocks: that of this machine, or that of whoever has issued it',
    };
  if (outcome.isForOthers && !isMadeUp && outcome.validTo > now)
    return {
      check,
      outcome: 'warning',
      found: `TLS of ${outcome.subject}, whose certificate is not for ${serverName}`,
      advice: 'another application listens at this address, or another route takes the name (see the lines above)',
    };
  return outcome.validTo > now
    ? { check, outcome: 'ok', found: `TLS of ${outcome.subject}` }
    : {
        check,
        outcome: 'failed',
        found: `TLS of ${outcome.subject}, whose certificate expired on ${outcome.validTo.toISOString()}`,
        advice: 'renew that certificate',
      };
}

function alertFinding(check: string, alert: string, isMadeUp: boolean): Finding {
  if (alert !== 'unrecognized name') return { check, outcome: 'ok', found: `TLS answers (alert: ${alert})` };
  if (isMadeUp)
    return { check, outcome: 'ok', found: 'a gateway answers, and has no route for a name that nobody has' };
  return {
    check,
    outcome: 'failed',
    found: 'a gateway answers, and has no route for the name',
    advice: 'run meshgate explain with the name on that gateway: the service is not known or not exported there',
  };
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there (ECONNREFUSED)',
  ETIMEDOUT: 'no answer within 2 s',
  EHOSTUNREACH: 'no way there (EHOSTUNREACH)',
  ENETUNREACH: 'no way there (ENETUNREACH)',
  ENOTFOUND: 'the name does not exist (ENOTFOUND)',
  EAI_AGAIN: 'the name system does not answer (EAI_AGAIN)',
};

function adviceFor(code: string): string {
  if (code === 'ECONNREFUSED') return 'start what should listen there, or correct the address';
  if (code === 'ENOTFOUND') return 'correct the name, or add it to the hosts file or the name system';
  if (code === 'EAI_AGAIN') return 'look at /etc/resolv.conf and its name servers';
  return 'look at firewalls and routes between this machine and that address';
}
