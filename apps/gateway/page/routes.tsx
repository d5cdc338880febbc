import type { ComponentChildren, JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { RouteRates } from '../src/admin/traffic-rates.ts';
import { address, bytes, rate, formatCount } from './format.ts';
import type { Live } from './live.ts';
import { Controls } from './controls.tsx';
import { Sparkline } from './sparkline.tsx';
import type { RouteRow, Table } from './table.ts';
import { VirtualList } from './virtual-list.tsx';

const COLUMNS = ['Route', 'Names', 'Healthy', 'Live', 'Per second', 'Last minute', 'Errors'];

const ORDERS = {
  name: 'Name',
  live: 'Live connections',
  rate: 'Connections per second',
  errors: 'Errors',
  health: 'Unhealthy first',
} as const;

type Order = keyof typeof ORDERS;

/** All routes: health, traffic and errors. */
export function Routes({ live, table }: { readonly live: Live; readonly table: Table }): JSX.Element {
  const [search, setSearch] = useState('');
  const [order, setOrder] = useState<Order>('name');
  const [chosen, choose] = useState<string>();
  const found = useMemo(() => matching(table ?? [], search), [table, search]);
  const rows = useMemo(() => sorted(found, order, live), [found, order, order === 'name' ? 0 : live.revision]);
  const selected = rows.find((row) => keyOf(row) === chosen);
  if (table === undefined) return <p class="muted">Loading routes.</p>;
  return (
    <section aria-label="Routes" class="view">
      <Controls<Order>
        search={search}
        onSearch={setSearch}
        orders={ORDERS}
        order={order}
        onOrder={(wanted) => setOrder(wanted)}
        count={`${formatCount(rows.length)} of ${formatCount(table.length)} routes`}
      />
      {selected !== undefined && <Details row={selected} live={live} onClose={() => choose(undefined)} />}
      <VirtualList
        label="Routes"
        columns={COLUMNS}
        rowClass="routes"
        narrowRowPx={92}
        items={rows}
        keyOf={keyOf}
        cells={(row) => cellsOf(row, live, (key) => choose(key === chosen ? undefined : key), chosen)}
      />
    </section>
  );
}

function keyOf({ name, source }: RouteRow): string {
  return `${source}\n${name}`;
}

function matching(table: readonly RouteRow[], search: string): readonly RouteRow[] {
  const wanted = search.trim().toLowerCase();
  if (wanted === '') return table;
  return table.filter(
    ({ name, source, serverNames, backends }) =>
      name.toLowerCase().includes(wanted) ||
      source.toLowerCase().includes(wanted) ||
      serverNames.some((serverName) => serverName.includes(wanted)) ||
      backends.some(({ host, port }) => address(host, port).includes(wanted)),
  );
}

function sorted(rows: readonly RouteRow[], order: Order, { routes }: Live): readonly RouteRow[] {
  const weight: Record<Order, (row: RouteRow) => number> = {
    name: () => 0,
    live: ({ name }) => -(routes.get(name)?.active ?? 0),
    rate: ({ name }) => -(routes.get(name)?.closedPerSecond ?? 0),
    errors: ({ name }) => -errorsOf(routes.get(name)),
    health: ({ backends }) => (backends.length === 0 ? -1 : healthyOf(backends) / backends.length),
  };
  if (order === 'name') return rows.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const weighed = rows.map((row) => [weight[order](row), row] as const);
  return weighed.sort(([one, a], [other, b]) => one - other || (a.name < b.name ? -1 : 1)).map(([, row]) => row);
}

function healthyOf(backends: RouteRow['backends']): number {
  return backends.filter(({ healthy, ejected }) => healthy && ejected !== true).length;
}

function errorsOf(rates: RouteRates | undefined): number {
  return Object.values(rates?.errors ?? {}).reduce((sum, count) => sum + count, 0);
}

function cellsOf(
  row: RouteRow,
  live: Live,
  choose: (key: string) => void,
  chosen: string | undefined,
): ComponentChildren[] {
  const { name, serverNames, backends } = row;
  const rates = live.routes.get(name);
  const healthy = healthyOf(backends);
  const errors = errorsOf(rates);
  const names = serverNames.length === 0 ? 'no name' : serverNames.join(', ');
  return [
    <button type="button" class="name" aria-expanded={keyOf(row) === chosen} onClick={() => choose(keyOf(row))}>
      {name}
    </button>,
    <span title={names}>{names}</span>,
    <span class={healthy === backends.length && healthy > 0 ? 'good' : healthy === 0 ? 'bad' : 'warn'}>
      {healthy} of {backends.length}
    </span>,
    formatCount(rates?.active ?? 0),
    rate(rates?.closedPerSecond ?? 0),
    rates === undefined ? '' : <Sparkline history={live.histories.get(name)} />,
    <span class={errors > 0 ? 'bad' : ''}>{formatCount(errors)}</span>,
  ];
}

interface DetailsProps {
  readonly row: RouteRow;
  readonly live: Live;
  onClose(): void;
}

function Details({ row, live, onClose }: DetailsProps): JSX.Element {
  const rates = live.routes.get(row.name);
  const errors = Object.entries(rates?.errors ?? {}).toSorted(([, one], [, other]) => other - one);
  const kind = row.kind === undefined ? '' : `${row.kind}, `;
  return (
    <section class="card details" aria-label={`Route ${row.name}`}>
      <h2>{row.name}</h2>
      <button type="button" class="close" onClick={onClose}>
        Close details
      </button>
      <p class="muted">
        {kind}of source {row.source}; {bytes(rates?.bytesUpPerSecond ?? 0)}/s to backends,{' '}
        {bytes(rates?.bytesDownPerSecond ?? 0)}/s to clients
      </p>
      <p class="names">{row.serverNames.join(', ')}</p>
      <Backends row={row} />
      <h3>Errors since start</h3>
      {errors.length === 0 && <p class="muted">None.</p>}
      <ul class="plain">
        {errors.map(([code, count]) => (
          <li key={code} class="bad">
            {code}: {formatCount(count)}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Backends({ row: { backends, egress } }: { readonly row: RouteRow }): JSX.Element {
  return (
    <>
      <h3>Backends</h3>
      {egress !== undefined && <p>None: connections go to the server name itself, port {egress.port}.</p>}
      {egress === undefined && backends.length === 0 && <p class="bad">None: every connection is closed.</p>}
      <ul class="plain">
        {backends.slice(0, SHOWN_BACKENDS).map(({ host, port, weight, healthy, ejected, priority, check }) => (
          <li key={address(host, port)} class={ejected === true ? 'warn' : healthy ? 'good' : 'bad'}>
            {address(host, port)}: {healthy ? 'healthy' : 'unhealthy'}
            {ejected === true ? ', ejected after failures' : ''}
            {weight === 1 ? '' : `, weight ${weight}`}
            {priority === undefined ? '' : `, priority ${priority}`}
            {check === undefined ? '' : `, checks: ${checkText(check)}`}
          </li>
        ))}
      </ul>
      {backends.length > SHOWN_BACKENDS && (
        <p class="muted">and {formatCount(backends.length - SHOWN_BACKENDS)} more</p>
      )}
    </>
  );
}

const SHOWN_BACKENDS = 100;

/** State of the health checks, with the first reason of a failure. */
function checkText({ state, addresses }: NonNullable<RouteRow['backends'][number]['check']>): string {
  const failure = addresses.find((one) => one.failure !== undefined)?.failure;
  return failure === undefined ? state : `${state} (${failure})`;
}
