import type { CertificateStatus } from '@meshgate/connect';
import { formatEndpoint } from '@meshgate/core';
import type { DrainState } from '@meshgate/core';
import type { ListenerStatus, SourceStatus } from '@meshgate/core/parts';
import { certificateTrouble } from '../log/certificate-trouble.ts';
import { oneLine } from '../log/printable.ts';

/** Whether the gateway should receive traffic: the response of `GET /ready`. */
export interface Readiness {
  readonly ready: boolean;
  /** Reasons against readiness; empty when ready. */
  readonly reasons: readonly string[];
  /** Problems that do not affect readiness. */
  readonly warnings: readonly string[];
}

/** The state that determines readiness. */
export interface Vitals {
  readonly sources: readonly SourceStatus[];
  readonly listeners: readonly ListenerStatus[];
  readonly drain: DrainState;
  /** Present for a proxy with its own leaf certificate. */
  readonly certificate?: CertificateStatus;
  /** Why log lines cannot be written at the moment. */
  readonly logTrouble?: string | undefined;
  /** Recent shortages of this machine and failures of name resolution, one sentence each. */
  readonly troubles?: readonly string[];
  /** Warnings of plugins. */
  readonly pluginWarnings?: readonly string[];
}

/**
 * Determines readiness: a listener is bound, every source has a snapshot, the proxy's leaf certificate is valid, and no
 * drain has started. Pure.
 */
export function readinessOf({
  sources,
  listeners,
  drain,
  certificate,
  logTrouble,
  troubles: recent = [],
  pluginWarnings = [],
}: Vitals): Readiness {
  const own = certificate === undefined ? NO_TROUBLE : certificateTroubles(certificate);
  const unbound = listeners.filter(({ address }) => address === undefined);
  const reasons = [
    ...(drain === 'serving' ? [] : [`draining: ${drain}`]),
    ...(unbound.length === listeners.length ? ['no listener is bound'] : []),
    ...sources.filter(({ lastSuccess }) => lastSuccess === undefined).map(noSnapshot),
    ...own.reasons,
  ];
  const warnings = [
    ...(unbound.length < listeners.length ? unbound.map(notBound) : []),
    ...sources.filter(({ lastSuccess }) => lastSuccess !== undefined).flatMap(troubles),
    ...own.warnings,
    ...(logTrouble === undefined ? [] : [`log lines cannot be written: ${logTrouble}`]),
    ...recent,
    ...pluginWarnings,
  ];
  return { ready: reasons.length === 0, reasons, warnings };
}

function noSnapshot({ name, error }: SourceStatus): string {
  return `source ${name}: no snapshot yet${error === undefined ? '' : `: ${oneLine(error.message)}`}`;
}

function notBound({ name, endpoint }: ListenerStatus): string {
  return `listener ${name}: not bound to ${formatEndpoint(endpoint)}`;
}

function troubles({ name, error, warnings }: SourceStatus): readonly string[] {
  const failure = error === undefined ? [] : [`failing, keeping last routes: ${oneLine(error.message)}`];
  return [...failure, ...warnings].map((trouble) => `source ${name}: ${trouble}`);
}

const NO_TROUBLE: Pick<Readiness, 'reasons' | 'warnings'> = { reasons: [], warnings: [] };

function certificateTroubles({ source, certificate, error }: CertificateStatus): typeof NO_TROUBLE {
  const why = error === undefined ? '' : `: ${oneLine(error.message)}`;
  if (certificate === undefined) return { reasons: [`source ${source}: no certificate yet${why}`], warnings: [] };
  const { state } = certificate;
  const aged = state === 'good' ? [] : [certificateTrouble(certificate, state).message];
  const failing = error === undefined ? [] : [`source ${source}: failing, keeping last certificate${why}`];
  return state === 'expired' ? { reasons: aged, warnings: failing } : { reasons: [], warnings: [...aged, ...failing] };
}
