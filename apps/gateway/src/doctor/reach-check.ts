import { formatEndpoint, unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { leadsBack } from '@meshgate/core/parts';
import type { RouteTableView } from '../admin/views.ts';
import type { Finding } from '../live-check/finding.ts';
import { probe } from './backend-probe.ts';
import type { Probe } from './backend-probe.ts';

/** A backend of a route, and the name to request from it. */
export interface Target {
  /** Name in messages: `route web`, `datacenter dc2`. */
  readonly what: string;
  readonly address: Endpoint;
  readonly serverName: string;
  /** Why this address is dialled: the mesh gateway mode of a sidecar. */
  readonly modePath?: string;
  /** The same gateway's listener with this address; absent when there is none. */
  readonly ownListener?: string;
  /** No service has the name: the backend is expected to reject it. */
  readonly isMadeUp: boolean;
}

/** A larger number would be a load test. */
const MAX_TARGETS = 64;
const AT_ONCE = 8;

/**
 * Selects the backends to probe, one per address: with an exact name of the route if it has one, else with an unused
 * name below its suffix. Pure.
 */
export function targetsOf({ routes }: Pick<RouteTableView, 'routes'>): readonly Target[] {
  const targets = new Map<string, Target>();
  for (const { name, kind, serverNames, backends } of routes) {
    const suffix = serverNames.find((serverName) => serverName.startsWith('*.'))?.slice(1);
    // Skips the datacenter's own name, which belongs to no service.
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

/** Probes the first 64 of `targets`. Takes about ten seconds when a few of them do not respond. */
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
    untried === 0 ? [] : [{ check: 'backends', outcome: 'warning', found: `${untried} more were not probed` }];
  return [...tried.flatMap((target) => findings.get(target) ?? []), ...rest];
}

const DEADLINE_MS = 10_000;

/** Probes a backend twice: one that responds may still be unreachable for packets as large as those of clients. */
async function checkTarget(target: Target): Promise<Finding> {
  const { address, serverName, ownListener } = target;
  if (ownListener !== undefined) return loopFinding(target, ownListener);
  const usual = reachFinding(target, await probe(address, serverName), new Date());
  if (usual.outcome !== 'ok' || unixPath(address) !== undefined) return usual;
  const large = await probe(address, serverName, 'large');
  if (large.kind !== 'silent' && !(large.kind === 'unreachable' && large.code === 'ETIMEDOUT')) return usual;
  const found = 'responds to a small ClientHello, but not to one of several packets';
  return { check: usual.check, outcome: 'failed', found, advice: MTU };
}

/** Reports a target that is the gateway itself, whose result for the name is already listed. */
function loopFinding({ what, address, serverName }: Target, listener: string): Finding {
  return {
    check: `${what}: backend ${formatEndpoint(address)} for ${serverName}`,
    outcome: 'failed',
    found: `is this gateway itself, its listener ${listener}: connections end with LOOP_DETECTED`,
    advice: 'correct the address of the backend: a copied WAN address, or 0.0.0.0 in the catalog',
  };
}

/** Returns `targets`, and marks those that lead back to one of `listeners`. Pure. */
export function withOwnListeners(targets: readonly Target[], listeners: readonly OwnListener[]): readonly Target[] {
  return targets.map((target) => {
    const own = listeners.find(({ address }) => leadsBack(target.address, address, []));
    return own === undefined ? target : { ...target, ownListener: own.name };
  });
}

/** A listener of the checked gateway. */
export interface OwnListener {
  readonly name: string;
  readonly address: Endpoint;
}

const MTU =
  'large packets are lost on the path: lower the MTU of this machine or of the tunnel in between, or allow ICMP (path MTU discovery)';

/**
 * Reports datacenters and peers without a gateway, which have no address to dial. Pure.
 *
 * @param routes routes in the format of `GET /routes`
 */
export function gapsIn({ routes }: Pick<RouteTableView, 'routes'>): readonly Finding[] {
  return Array.from(routes).flatMap(({ name, kind = '', backends }): readonly Finding[] => {
    if (!LEADS_TO_GATEWAYS.has(kind) || backends.length > 0) return [];
    const advice =
      'no mesh gateway is registered there, or the servers do not know it: check the warnings of the source';
    return [{ check: `route ${name} (${kind})`, outcome: 'failed', found: 'no gateway known', advice }];
  });
}

const LEADS_TO_GATEWAYS: ReadonlySet<string> = new Set(['remote-datacenter', 'imported-service']);

/** Evaluates the result of a probe. Pure. */
export function reachFinding(target: Target, outcome: Probe, now: Date): Finding {
  const { what, address, serverName, isMadeUp, modePath } = target;
  const check = `${what}: backend ${formatEndpoint(address)} for ${serverName}`;
  switch (outcome.kind) {
    case 'tls':
      return tlsFinding({ ...target, check }, outcome, now);
    case 'alert':
      return alertFinding(check, outcome.alert, isMadeUp);
    case 'closed':
      return isMadeUp
        ? { check, outcome: 'ok', found: 'accepts, and closes on an unused name' }
        : {
            check,
            outcome: 'failed',
            found: 'accepts, and closes without a response',
            advice: `the process there does not know ${serverName}: run meshgate doctor ${serverName} on that gateway, or check its log`,
          };
    case 'silent':
      return {
        check,
        outcome: 'failed',
        found: 'accepts, and does not respond within 2 s',
        advice: 'a middlebox accepts in its place, or the process hangs: check it on its own machine',
      };
    case 'not-tls':
      return {
        check,
        outcome: 'failed',
        found: 'responds with something other than TLS',
        advice: 'another service listens at this address: correct the address or the port',
      };
    case 'unreachable':
      return {
        check,
        outcome: 'failed',
        found: `${UNREACHABLE[outcome.code] ?? outcome.code}${modePath === undefined ? '' : `; ${modePath}`}`,
        advice:
          modePath === undefined
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
      found: `TLS of ${outcome.subject}, whose certificate is only valid from ${outcome.validFrom.toISOString()}`,
      advice: 'fix the clock of this machine, or that of the issuer',
    };
  if (outcome.isForOthers && !isMadeUp && outcome.validTo > now)
    return {
      check,
      outcome: 'warning',
      found: `TLS of ${outcome.subject}, whose certificate is not for ${serverName}`,
      advice:
        'another application listens at this address: correct the address of the route; if a line says "shadows route", remove the name from one of the two',
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
  if (alert !== 'unrecognized name') return { check, outcome: 'ok', found: `TLS responds (alert: ${alert})` };
  if (isMadeUp) return { check, outcome: 'ok', found: 'a gateway responds, and has no route for an unused name' };
  return {
    check,
    outcome: 'failed',
    found: 'a gateway responds, and has no route for the name',
    advice: 'run meshgate explain with the name on that gateway: the service is unknown or not exported there',
  };
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
  ETIMEDOUT: 'no response within 2 s',
  EHOSTUNREACH: 'no route to host (EHOSTUNREACH)',
  ENETUNREACH: 'network unreachable (ENETUNREACH)',
  ENOTFOUND: 'the name does not exist (ENOTFOUND)',
  EAI_AGAIN: 'the name servers do not respond (EAI_AGAIN)',
};

function adviceFor(code: string): string {
  if (code === 'ECONNREFUSED') return 'start the process that should listen there, or correct the address';
  if (code === 'ENOTFOUND') return 'correct the name, or add it to the hosts file or DNS';
  if (code === 'EAI_AGAIN') return 'check /etc/resolv.conf and its name servers';
  return 'check firewalls and routes between this machine and that address';
}
