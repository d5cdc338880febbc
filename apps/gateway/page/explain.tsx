import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Explanation, FoundRoute } from '../src/cli/explain.ts';
import { get } from './api.ts';
import { address, formatCount } from './format.ts';
import type { Live } from './live.ts';

type Explained =
  | { readonly kind: 'none' }
  | { readonly kind: 'explained'; readonly explanation: Explanation }
  | { readonly kind: 'refused'; readonly why: string };

/** The path of a server name, as a diagram. */
export function Explain({ live }: { readonly live: Live }): JSX.Element {
  const [name, setName] = useState('');
  const [listener, setListener] = useState('');
  const [response, setResponse] = useState<Explained>({ kind: 'none' });
  const request = (): void => {
    const query = new URLSearchParams({ serverName: name.trim(), ...(listener !== '' && { listener }) });
    void get<Explanation>(`explain?${query.toString()}`).then(
      (explanation) => setResponse({ kind: 'explained', explanation }),
      (reason: unknown) =>
        setResponse({ kind: 'refused', why: reason instanceof Error ? reason.message : String(reason) }),
    );
  };
  return (
    <section aria-label="Explain" class="view">
      <form
        class="controls"
        onSubmit={(event) => {
          event.preventDefault();
          request();
        }}
      >
        <label>
          Server name
          <input
            type="text"
            required
            value={name}
            placeholder="api.example.com"
            autocapitalize="none"
            spellcheck={false}
            onInput={({ currentTarget }) => setName(currentTarget.value)}
          />
        </label>
        <label>
          Listener
          <select value={listener} onChange={({ currentTarget }) => setListener(currentTarget.value)}>
            <option value="">any</option>
            {(live.status?.listeners ?? []).map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
              </option>
            ))}
          </select>
        </label>
        <button type="submit">Explain</button>
      </form>
      <div aria-live="polite">
        {response.kind === 'refused' && <p class="banner bad">{response.why}</p>}
        {response.kind === 'explained' && <PathView explanation={response.explanation} live={live} />}
      </div>
    </section>
  );
}

function PathView({ explanation, live }: { readonly explanation: Explanation; readonly live: Live }): JSX.Element {
  return (
    <>
      <p>
        <strong>{explanation.serverName}</strong>: {explanation.found && `route ${explanation.route}, `}
        {explanation.why}
      </p>
      <ol class="path">
        <Step title="Client">requests {explanation.serverName}</Step>
        <Step title="This gateway">
          {live.status?.host ?? ''}
          {(live.status?.listeners ?? []).map(({ name, host, port }) => (
            <div key={name} class="muted">
              {name} {address(host, port)}
            </div>
          ))}
        </Step>
        {explanation.found ? <FoundSteps found={explanation} /> : <NoRoute nearest={explanation.nearest} />}
      </ol>
      <Exceptions explanation={explanation} />
    </>
  );
}

function Step({
  title,
  mark = '',
  children,
}: {
  readonly title: string;
  readonly mark?: string;
  readonly children: ComponentChildren;
}): JSX.Element {
  return (
    <li class={mark}>
      <h2>{title}</h2>
      <div>{children}</div>
    </li>
  );
}

function NoRoute({ nearest }: { readonly nearest: readonly string[] }): JSX.Element {
  return (
    <Step title="No route" mark="bad">
      closed with ROUTE_NOT_FOUND
      {nearest.length > 0 && <div class="muted">nearest names: {nearest.join(', ')}</div>}
    </Step>
  );
}

/** The location of the backends according to the source, if they are the gateways of a datacenter or peer. */
const LOCATIONS = ['datacenter', 'peer', 'partition', 'region'];

function FoundSteps({ found }: { readonly found: FoundRoute }): JSX.Element {
  const origin = Object.entries(found.origin ?? {});
  const locations = origin.filter(([key]) => LOCATIONS.includes(key));
  return (
    <>
      <Step title="Rule">
        {found.match} match: {found.pattern}
        <div class="muted">of source {found.source}</div>
        {origin
          .filter(([key]) => !LOCATIONS.includes(key))
          .map(([key, value]) => (
            <div key={key} class="muted">
              {key}: {value}
            </div>
          ))}
      </Step>
      <Step title={`Route ${found.route}`}>
        {found.kind ?? 'no kind'}
        {conditionsOf(found).map((text) => (
          <div key={text} class="muted">
            {text}
          </div>
        ))}
      </Step>
      {locations.map(([key, value]) => (
        <Step key={key} title={key === 'peer' ? 'Peer' : key[0]?.toUpperCase() + key.slice(1)}>
          {value}
        </Step>
      ))}
      <Step title={locations.length === 0 ? 'Backends' : 'Reached by'} mark={found.backends.length === 0 ? 'bad' : ''}>
        <ul class="plain">
          {found.backends.slice(0, SHOWN).map(({ host, port, healthy, ejected, check }) => (
            <li
              key={address(host, port)}
              class={ejected ? 'warn' : healthy && check?.state !== 'down' ? 'good' : 'bad'}
            >
              {address(host, port)} {healthy ? 'healthy' : 'unhealthy'}
              {ejected ? ', ejected' : ''}
              {check?.addresses.map(({ state, failure }) =>
                state === 'down' ? `, check failed: ${failure ?? ''}` : '',
              )}
            </li>
          ))}
        </ul>
        {found.backends.length > SHOWN && (
          <div class="muted">and {formatCount(found.backends.length - SHOWN)} more</div>
        )}
        {found.backends.length === 0 && `none: closed with ${found.withoutBackend ?? 'NO_BACKEND'}`}
      </Step>
    </>
  );
}

const SHOWN = 20;

/** Access rules and limits of the route. */
function conditionsOf({ access, listenerAccess = [], limits = {} }: FoundRoute): readonly string[] {
  return [
    ...(access === undefined ? [] : [`clients: ${accessText(access)}`]),
    ...listenerAccess.map((one) => `clients on ${one.listener}: ${accessText(one.access)}`),
    ...Object.entries(limits).map(([name, value]) => `limit ${name}: ${value}`),
  ];
}

function accessText({ allow, deny, allowFile, denyFile }: NonNullable<FoundRoute['access']>): string {
  const list = (word: string, entries: readonly string[] = [], file?: string): readonly string[] => {
    const all = [...entries.slice(0, SHOWN), ...(file === undefined ? [] : [`those of ${file}`])];
    return all.length === 0 ? [] : [`${word} ${all.join(', ')}`];
  };
  return [...list('only', allow, allowFile), ...list('not', deny, denyFile)].join('; ');
}

function Exceptions({ explanation }: { readonly explanation: Explanation }): JSX.Element {
  const { onListeners = [] } = explanation;
  const shadowed = explanation.found ? explanation.shadowed : [];
  return (
    <ul class="plain">
      {onListeners.map(({ listener, route, pattern, source }) => (
        <li key={listener}>
          on listener {listener}: route {route} ({pattern} of {source})
        </li>
      ))}
      {shadowed.map(({ route, pattern, source }) => (
        <li key={`${source} ${route}`} class="muted">
          shadows route {route} ({pattern} of {source})
        </li>
      ))}
    </ul>
  );
}
