import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { StatusView } from '../src/admin/status.ts';
import { Connections } from './connections.tsx';
import { Explain } from './explain.tsx';
import { duration, timeOfDay } from './format.ts';
import { useLive } from './live.ts';
import type { Link, Live } from './live.ts';
import { Overview } from './overview.tsx';
import { Routes } from './routes.tsx';
import { useTable } from './table.ts';

const VIEWS = { overview: 'Overview', routes: 'Routes', connections: 'Connections', explain: 'Explain' } as const;

type View = keyof typeof VIEWS;

/** The page. */
export function App(): JSX.Element {
  const live = useLive();
  const view = useView();
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <Header live={live} view={view} />
      <LinkState link={live.link} />
      <main id="main" tabIndex={-1}>
        <Current view={view} live={live} />
      </main>
    </>
  );
}

function Current({ view, live }: { readonly view: View; readonly live: Live }): JSX.Element {
  const table = useTable(live.tableRevision);
  switch (view) {
    case 'overview':
      return <Overview live={live} table={table} />;
    case 'routes':
      return <Routes live={live} table={table} />;
    case 'connections':
      return <Connections live={live} />;
    case 'explain':
      return <Explain live={live} />;
  }
}

function Header({ live, view }: { readonly live: Live; readonly view: View }): JSX.Element {
  const { status } = live;
  return (
    <header>
      <div class="title">
        <h1>
          Meshgate <span class="role">{[status?.role, status?.proxyId].filter(Boolean).join(' ')}</span>
        </h1>
        {status !== undefined && <Readiness status={status} />}
        {status !== undefined && (
          <span class="muted">
            {status.host}, up {duration(performanceSince(status.startedAt))}
          </span>
        )}
      </div>
      <nav aria-label="Views">
        {Object.entries(VIEWS).map(([name, text]) => (
          <a key={name} href={`#${name}`} aria-current={name === view ? 'page' : undefined}>
            {text}
          </a>
        ))}
      </nav>
    </header>
  );
}

function Readiness({ status: { ready, drain } }: { readonly status: StatusView }): JSX.Element {
  if (drain.state !== 'serving') return <strong class="badge warn">draining</strong>;
  return ready ? <strong class="badge good">ready</strong> : <strong class="badge bad">not ready</strong>;
}

/** Announces a lost connection to the gateway, also to screen readers; nothing otherwise. */
function LinkState({ link }: { readonly link: Link }): JSX.Element {
  return (
    <div role="alert" class="link">
      {link.kind === 'lost' && (
        <p class="banner bad">
          No response from the gateway since {timeOfDay(link.since)}
          {link.why === '' ? '' : `: ${link.why}`}. Showing its last state; retrying.
        </p>
      )}
    </div>
  );
}

function performanceSince(startedAt: string): number {
  return Math.max(0, performance.timeOrigin + performance.now() - new Date(startedAt).getTime());
}

function useView(): View {
  const read = (): View => {
    const name = window.location.hash.slice(1).split('?')[0] ?? '';
    return name in VIEWS ? (name as View) : 'overview';
  };
  const [view, setView] = useState(read);
  useEffect(() => {
    const look = (): void => setView(read());
    window.addEventListener('hashchange', look);
    return () => window.removeEventListener('hashchange', look);
  }, []);
  useEffect(() => {
    document.title = `${VIEWS[view]} · Meshgate`;
  }, [view]);
  return view;
}
