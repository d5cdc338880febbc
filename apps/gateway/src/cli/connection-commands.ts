import type { Command } from 'commander';
import { ConfigProblems } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import { parseConnectionQuery } from '../admin/connection-query.ts';
import type { ConnectionView } from '../admin/views.ts';
import { jsonText } from '../log/printable.ts';
import { clientOf, withAdminFlag, withAdminFlags } from './admin-flags.ts';
import type { AdminFlags } from './admin-flags.ts';
import { connectionsText } from './tables.ts';
import { widthOf } from './terminal.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** Adds the commands that list and close live connections. */
export function addConnectionCommands(program: Command, { stdout }: Terminal, end: (status: ExitStatus) => void): void {
  withConnectionFlags(
    withAdminFlag(program.command('connections').description('print live connections of a running gateway')),
  ).action(async (flags: ConnectionsFlags) => {
    const connections = await connectionsOf(clientOf(flags), flags);
    stdout.write(flags.json === true ? jsonText({ connections }) : connectionsText(connections, widthOf(stdout)));
  });
  withConnectionFlags(
    withAdminFlags(program.command('close').description('close live connections of a running gateway')),
  )
    .argument('[id]', 'id of one connection, as `meshgate connections` prints it; without it, a flag that selects')
    .action(async (id: string | undefined, flags: ConnectionsFlags) => {
      const closed = await closeBy(clientOf(flags), id, flags);
      stdout.write(
        flags.json === true ? jsonText({ closed }) : `closed ${closed} connection${closed === 1 ? '' : 's'}\n`,
      );
      end(closed === 0 ? 1 : 0);
    });
}

function withConnectionFlags(command: Command): Command {
  return command
    .option('--route <name>', 'only those of this route')
    .option('--client <cidr>', 'only those of this client address or block, or unix')
    .option('--backend <address>', 'only those to this backend, host:port')
    .option('--older <duration>', 'only those accepted longer ago than this: 30s, 5m, 1h')
    .option('--json', 'print JSON');
}

type ConnectionsFlags = AdminFlags & ConnectionFlags;

/** Selects connections. */
interface ConnectionFlags {
  readonly route?: string;
  readonly client?: string;
  readonly backend?: string;
  readonly older?: string;
}

/** Queries the live connections of a running gateway (`meshgate connections`). */
async function connectionsOf(gateway: AdminClient, flags: ConnectionFlags): Promise<readonly ConnectionView[]> {
  const { connections } = (await gateway.get(`/connections${queryOf(flags)}`)) as {
    readonly connections: readonly ConnectionView[];
  };
  return connections;
}

/**
 * Closes one connection, or those that match `flags` (`meshgate close`).
 *
 * @returns the number of closed connections
 * @throws ConfigProblems without an id or a flag
 */
async function closeBy(gateway: AdminClient, id: string | undefined, flags: ConnectionFlags): Promise<number> {
  const query = queryOf(flags);
  if ((id === undefined) === (query === '')) {
    const found = id === undefined ? 'neither' : 'both';
    const message = `expected the id of a connection, or --route, --client, --backend or --older, found ${found}`;
    throw new ConfigProblems([{ message, path: [] }]);
  }
  const response =
    id === undefined
      ? gateway.change('POST', `/connections/close${query}`, PATIENCE_MS)
      : gateway.change('DELETE', `/connections/${encodeURIComponent(id)}`);
  return ((await response) as { readonly closed: number }).closed;
}

/** Large numbers of connections are closed in slices. */
const PATIENCE_MS = 35_000;

/** Returns the query for these flags. @throws ConfigProblems when a flag is invalid */
function queryOf({ route, client, backend, older }: ConnectionFlags): string {
  const given = Object.entries({ route, client, backend, olderThan: older });
  const parameters = new URLSearchParams();
  for (const [name, value] of given) if (value !== undefined) parameters.set(name, value);
  const query = parseConnectionQuery(parameters);
  if (typeof query === 'string') {
    const message = query.replace(/^expected (client|older)(?:Than)? /, 'expected --$1 ');
    throw new ConfigProblems([{ message, path: [] }]);
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}
