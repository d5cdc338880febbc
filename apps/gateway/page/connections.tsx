import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { ConnectionView } from '../src/admin/views.ts';
import { change, get, Refused } from './api.ts';
import { Controls } from './controls.tsx';
import { bytes, duration, formatCount } from './format.ts';
import type { Live } from './live.ts';
import { VirtualList } from './virtual-list.tsx';

const COLUMNS = ['Client', 'Server name', 'Route', 'Backend', 'State', 'Up', 'Down', 'Age', 'Idle', 'Action'];

const ORDERS = { age: 'Oldest first', young: 'Newest first', bytes: 'Most bytes', idle: 'Longest idle' } as const;

type Order = keyof typeof ORDERS;

/** Live connections, with search and a way to close them. */
export function Connections({ live }: { readonly live: Live }): JSX.Element {
  const [search, setSearch] = useState('');
  const [order, setOrder] = useState<Order>('age');
  const all = useConnections(live.revision);
  const closing = useClosing();
  const found = useMemo(() => sorted(matching(all ?? [], search), order), [all, search, order]);
  if (all === undefined) return <p class="muted">Loading connections.</p>;
  return (
    <section aria-label="Connections" class="view">
      <Controls<Order>
        search={search}
        onSearch={setSearch}
        orders={ORDERS}
        order={order}
        onOrder={(chosen) => setOrder(chosen)}
        count={`${formatCount(found.length)} of ${formatCount(all.length)} connections`}
      />
      {closing.dialog}
      <VirtualList
        label="Connections"
        columns={closing.isOffered ? COLUMNS : COLUMNS.slice(0, -1)}
        rowClass={closing.isOffered ? 'connections closable' : 'connections'}
        narrowRowPx={124}
        items={found}
        keyOf={({ id }) => id}
        cells={(one) => [...cellsOf(one), ...(closing.isOffered ? [closing.button(one)] : [])]}
      />
    </section>
  );
}

function cellsOf(one: ConnectionView): ComponentChildren[] {
  return [
    one.remote,
    <span title={one.serverName}>{one.serverName ?? ''}</span>,
    <span title={one.route}>{one.route ?? ''}</span>,
    one.backend ?? '',
    one.state,
    bytes(one.bytesUp),
    bytes(one.bytesDown),
    duration(one.ageMs),
    duration(one.idleMs),
  ];
}

function matching(all: readonly ConnectionView[], search: string): readonly ConnectionView[] {
  const wanted = search.trim().toLowerCase();
  if (wanted === '') return all;
  return all.filter(({ id, remote, serverName = '', route = '', backend = '', listener }) =>
    [id, remote, serverName, route, backend, listener].some((text) => text.toLowerCase().includes(wanted)),
  );
}

function sorted(all: readonly ConnectionView[], order: Order): readonly ConnectionView[] {
  const weight: Record<Order, (one: ConnectionView) => number> = {
    age: ({ ageMs }) => -ageMs,
    young: ({ ageMs }) => ageMs,
    bytes: ({ bytesUp, bytesDown }) => -bytesUp - bytesDown,
    idle: ({ idleMs }) => -idleMs,
  };
  return all.toSorted((one, other) => weight[order](one) - weight[order](other));
}

/** Refreshed while it is shown, with pauses ten times as long as a request takes. */
function useConnections(revision: number): readonly ConnectionView[] | undefined {
  const [all, setAll] = useState<readonly ConnectionView[]>();
  const next = useRef(0);
  useEffect(() => {
    const begunAt = performance.now();
    if (begunAt < next.current) return;
    next.current = Infinity;
    const end = (): void => {
      const tookMs = performance.now() - begunAt;
      next.current = begunAt + Math.max(PAUSE_MS, tookMs * 10);
    };
    void get<{ readonly connections: readonly ConnectionView[] }>('connections')
      .then(({ connections }) => setAll(connections))
      .then(end, end);
  }, [revision]);
  return all;
}

/** Slightly less than two samples. */
const PAUSE_MS = 1_800;

interface Closing {
  /** Whether this gateway can close connections. */
  readonly isOffered: boolean;
  /** The result of the last request, or the token that it requires. */
  readonly dialog: JSX.Element;
  button(one: ConnectionView): JSX.Element;
}

type ClosingState =
  | { readonly kind: 'none' }
  | { readonly kind: 'sure'; readonly id: string }
  | { readonly kind: 'token'; readonly id: string; readonly why: string }
  | { readonly kind: 'done'; readonly text: string }
  | { readonly kind: 'failed'; readonly text: string };

function useClosing(): Closing {
  const [isOffered, setOffered] = useState(false);
  const [state, setState] = useState<ClosingState>({ kind: 'none' });
  // Never stored: it is lost when the page is closed.
  const [token, setToken] = useState('');
  useEffect(() => {
    void get<{ readonly paths: Readonly<Record<string, object>> }>('openapi.json').then(
      ({ paths }) => setOffered('delete' in (paths[CLOSE_PATH] ?? {})),
      () => undefined,
    );
  }, []);
  const close = (id: string, withToken: string): void => {
    void change('DELETE', `connections/${encodeURIComponent(id)}`, withToken).then(
      () => setState({ kind: 'done', text: `Connection ${id} is closed.` }),
      (reason: unknown) => setState(failureOf(id, reason)),
    );
  };
  const submit = (id: string, given: string): void => {
    setToken(given);
    close(id, given);
  };
  const button = ({ id }: ConnectionView): JSX.Element => {
    const isSure = state.kind === 'sure' && state.id === id;
    return (
      <button
        type="button"
        class={isSure ? 'danger' : ''}
        aria-label={isSure ? `Yes, close connection ${id}` : `Close connection ${id}`}
        onClick={() => (isSure ? close(id, token) : setState({ kind: 'sure', id }))}
      >
        {isSure ? 'Sure?' : 'Close'}
      </button>
    );
  };
  return { isOffered, dialog: <ClosingDialog state={state} onToken={submit} />, button };
}

const CLOSE_PATH = '/connections/{id}';

function failureOf(id: string, reason: unknown): ClosingState {
  const why = reason instanceof Error ? reason.message : String(reason);
  if (reason instanceof Refused && reason.status === 401) return { kind: 'token', id, why };
  return { kind: 'failed', text: `Connection ${id} is not closed: ${why}` };
}

interface ClosingDialogProps {
  readonly state: ClosingState;
  onToken(id: string, token: string): void;
}

function ClosingDialog({ state, onToken }: ClosingDialogProps): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  return (
    <div role="status">
      {state.kind === 'done' && <p class="banner good">{state.text}</p>}
      {state.kind === 'failed' && <p class="banner bad">{state.text}</p>}
      {state.kind === 'token' && (
        <form
          class="controls"
          onSubmit={(event) => {
            event.preventDefault();
            onToken(state.id, field.current?.value ?? '');
          }}
        >
          <p>{state.why}</p>
          <label>
            Token
            <input type="password" ref={field} autocomplete="off" />
          </label>
          <button type="submit">Close connection {state.id}</button>
        </form>
      )}
    </div>
  );
}
