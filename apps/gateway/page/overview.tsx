import type { ComponentChildren, JSX } from 'preact';
import type { StatusView } from '../src/admin/status.ts';
import { address, bytes, duration, moment, rate, timeOfDay, formatCount } from './format.ts';
import type { Live, RouteEvent } from './live.ts';
import { Sparkline } from './sparkline.tsx';
import type { Table } from './table.ts';

/** Identity, readiness and activity of the gateway. */
export function Overview({ live, table }: { readonly live: Live; readonly table: Table }): JSX.Element {
  const { status } = live;
  if (status === undefined) return <p class="muted">Waiting for the gateway.</p>;
  return (
    <div class="cards">
      <ReadyCard status={status} />
      <TrafficCard live={live} table={table} />
      {status.drain.state !== 'serving' && <DrainCard status={status} />}
      <NoRouteCard errors={live.routes.get('')?.errors ?? {}} />
      <ListenersCard status={status} />
      <SourcesCard status={status} />
      <ChangesCard changes={live.changes} />
      <IdentityCard status={status} />
    </div>
  );
}

function Card({ title, children }: { readonly title: string; readonly children: ComponentChildren }): JSX.Element {
  return (
    <section class="card" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function Facts({ facts }: { readonly facts: readonly (readonly [string, ComponentChildren])[] }): JSX.Element {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function ReadyCard({ status: { ready, reasons, warnings } }: { readonly status: StatusView }): JSX.Element {
  return (
    <Card title="Readiness">
      <p>{ready ? <strong class="good">Ready</strong> : <strong class="bad">Not ready</strong>}</p>
      <List items={reasons} mark="bad" />
      <List items={warnings} mark="warn" />
      {reasons.length + warnings.length === 0 && <p class="muted">No warnings.</p>}
    </Card>
  );
}

function List({ items, mark }: { readonly items: readonly string[]; readonly mark: string }): JSX.Element | null {
  if (items.length === 0) return null;
  return (
    <ul class="plain">
      {items.map((item) => (
        <li key={item} class={mark}>
          {item}
        </li>
      ))}
    </ul>
  );
}

function TrafficCard({ live, table }: { readonly live: Live; readonly table: Table }): JSX.Element {
  const { traffic, routes, status } = live;
  let [up, down, failed] = [0, 0, 0];
  for (const one of routes.values()) {
    up += one.bytesUpPerSecond;
    down += one.bytesDownPerSecond;
    failed += one.failedPerSecond;
  }
  const backends = table?.flatMap((route) => route.backends) ?? [];
  const healthy = backends.filter((backend) => backend.healthy).length;
  return (
    <Card title="Traffic">
      <Sparkline history={live.total} />
      <Facts
        facts={[
          ['Live connections', formatCount(traffic?.connections ?? 0)],
          ['Accepted', `${rate(traffic?.acceptedPerSecond ?? 0)}/s`],
          ['Failed', <span class={failed > 0 ? 'bad' : ''}>{rate(failed)}/s</span>],
          ['Refused', `${rate(traffic?.refusedPerSecond ?? 0)}/s`],
          ['To backends', `${bytes(up)}/s`],
          ['To clients', `${bytes(down)}/s`],
          ['Routes', formatCount(status?.routes ?? 0)],
          ['Backends healthy', `${formatCount(healthy)} of ${formatCount(backends.length)}`],
          ['Addresses ejected', formatCount(status?.ejected ?? 0)],
        ]}
      />
    </Card>
  );
}

/** Connections without a route are in no row of the routes. */
function NoRouteCard({ errors }: { readonly errors: Readonly<Record<string, number>> }): JSX.Element | null {
  const sorted = Object.entries(errors).toSorted(([, one], [, other]) => other - one);
  if (sorted.length === 0) return null;
  return (
    <Card title="Connections without a route">
      <Facts facts={sorted.map(([code, count]) => [code, formatCount(count)] as const)} />
    </Card>
  );
}

function DrainCard({ status: { drain } }: { readonly status: StatusView }): JSX.Element {
  const all = drain.remaining + drain.finished + drain.cut;
  return (
    <Card title="Drain">
      <progress aria-label="Closed connections" max={Math.max(1, all)} value={all - drain.remaining} />
      <Facts
        facts={[
          ['Phase', drain.state],
          ['Connections remaining', formatCount(drain.remaining)],
          ['Finished', formatCount(drain.finished)],
          ['Cut', formatCount(drain.cut)],
          ['Time left', duration(drain.remainingMs)],
        ]}
      />
    </Card>
  );
}

function ListenersCard({ status: { listeners } }: { readonly status: StatusView }): JSX.Element {
  return (
    <Card title="Listeners">
      <ul class="plain">
        {listeners.map(({ name, host, port, bound }) => (
          <li key={name} class={bound ? 'good' : 'bad'}>
            <strong>{name}</strong> {address(host, port)} {bound ? '' : 'is not bound'}
          </li>
        ))}
      </ul>
    </Card>
  );
}

const SOURCE_MARKS = { current: 'good', restored: 'warn', stale: 'warn', failing: 'bad', waiting: 'warn' } as const;

function SourcesCard({ status: { sources } }: { readonly status: StatusView }): JSX.Element {
  return (
    <Card title="Sources">
      {sources.map(({ name, state, routes, lastSuccess, error, warnings }) => (
        <div key={name} class="source">
          <p>
            <strong>{name}</strong> <span class={`badge ${SOURCE_MARKS[state]}`}>{state}</span>
          </p>
          <p class="muted">
            {formatCount(routes)} routes,{' '}
            {lastSuccess === undefined ? 'no snapshot yet' : `confirmed at ${moment(lastSuccess)}`}
          </p>
          {error !== undefined && !warnings.includes(error) && <p class="bad">{error}</p>}
          <List items={warnings} mark="warn" />
        </div>
      ))}
    </Card>
  );
}

function ChangesCard({ changes }: { readonly changes: readonly RouteEvent[] }): JSX.Element {
  return (
    <Card title="Route changes">
      {changes.length === 0 && <p class="muted">None since this page was opened.</p>}
      <ul class="plain">
        {changes.slice(0, SHOWN_CHANGES).map((change) => (
          <li key={`${change.at.getTime()} ${change.source}`}>
            <span class="muted">{timeOfDay(change.at)}</span> {change.source}: {changeText(change)}
          </li>
        ))}
      </ul>
    </Card>
  );
}

const SHOWN_CHANGES = 10;

function changeText({ appeared, vanished, health }: RouteEvent): string {
  const some = (
    verb: string,
    { count, first }: { readonly count: number; readonly first: readonly string[] },
  ): string => `${verb}: ${first.slice(0, 3).join(', ')}${count > 3 ? ` and ${formatCount(count - 3)} more` : ''}`;
  const asText = health.first.map(
    ({ route, was, is }) => `${route} ${was.healthy}/${was.total} to ${is.healthy}/${is.total}`,
  );
  const parts = [
    ...(appeared.count > 0 ? [some('appeared', appeared)] : []),
    ...(vanished.count > 0 ? [some('vanished', vanished)] : []),
    ...(health.count > 0 ? [some('healthy', { count: health.count, first: asText })] : []),
  ];
  return parts.length === 0 ? 'the same names and health' : parts.join('; ');
}

function IdentityCard({ status }: { readonly status: StatusView }): JSX.Element {
  return (
    <Card title="Process">
      <Facts
        facts={[
          ['Version', status.version],
          ['Running since', moment(status.startedAt)],
          ['Host', status.host],
          ['Process id', String(status.pid)],
          ['Transport', status.transport],
          ['Workers', String(status.workers)],
          ['Node.js', status.node],
          ['Log level', status.logLevel],
        ]}
      />
    </Card>
  );
}
