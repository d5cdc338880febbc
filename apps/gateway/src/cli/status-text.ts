import { formatEndpoint } from '@meshgate/core';
import type { StatusView } from '../admin/status.ts';
import { counted } from '../log/messages.ts';
import { printable } from '../log/printable.ts';
import { ageText } from './amounts.ts';

/** Returns the output of `meshgate status` in text form. */
export function statusText(status: StatusView, now: Date): string {
  const { ready, reasons, warnings, listeners, sources, drain } = status;
  const lines = [
    headline(status, now),
    ...reasons.map((reason) => `  not ready: ${reason}`),
    ...warnings.map((warning) => `  warning: ${warning}`),
    ...listeners.map(
      ({ name, host, port, bound }) =>
        `  listener ${name}: ${formatEndpoint({ host, port })}${bound ? '' : ', not bound'}`,
    ),
    ...sources.map(
      ({ name, state, routes, lastSuccess }) =>
        `  source ${name}: ${state}, ${counted(routes, 'route')}${lastSuccess === undefined ? '' : `, last success ${ageText(now.getTime() - new Date(lastSuccess).getTime())} ago`}`,
    ),
    `  routes: ${status.routes}; ejected backends: ${status.ejected}`,
    ...(ready || drain.state === 'serving'
      ? []
      : [`  drain: ${drain.state}, ${drain.remaining} left, ${drain.finished} finished, ${drain.cut} cut`]),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}

/** Returns role, state and uptime in one line. */
export function headline(status: StatusView, now: Date): string {
  const { role, proxyId, host, version, pid, transport, workers, startedAt, drain } = status;
  const state = drain.state === 'serving' ? (status.ready ? 'ready' : 'not ready') : `draining (${drain.state})`;
  const age = ageText(now.getTime() - new Date(startedAt).getTime());
  const who = proxyId === undefined ? host : `${proxyId} on ${host}`;
  return `${role} ${who}: ${state}, up ${age} (meshgate ${version}, pid ${pid}, transport ${transport}, ${counted(workers, 'worker')})`;
}
