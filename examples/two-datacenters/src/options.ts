import { parseArgs } from 'node:util';

/** What describes the mesh to the gateways and sidecars. */
export type Form = 'consul' | 'mesh-files';

/** Parsed command line. */
export interface Options {
  /** `undefined`: Consul where there is a binary, mesh files otherwise. */
  readonly form: Form | undefined;
  /** Sends the requests once and exits. */
  readonly once: boolean;
  /** One JSON object on standard output, and all messages on standard error. */
  readonly json: boolean;
  /** Uses ports that the system chooses, instead of those in the files. */
  readonly freePorts: boolean;
  /** Uses 127.0.0.1 for everything, as on systems where loopback has no other address. */
  readonly oneAddress: boolean;
}

/** Result of parsing a command line. */
export type Command =
  | { readonly kind: 'run'; readonly options: Options }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly message: string };

/** Parses the arguments after the name of the command. */
export function parseCommand(args: readonly string[]): Command {
  try {
    const { values } = parseArgs({ args: [...args], options: FLAGS, strict: true });
    if (values.help) return { kind: 'help' };
    if (values.consul && values['mesh-files'])
      return { kind: 'wrong', message: 'expected --consul or --mesh-files, found both' };
    const chosen = values['mesh-files'] ? 'mesh-files' : undefined;
    return {
      kind: 'run',
      options: {
        form: values.consul ? 'consul' : chosen,
        once: values.once,
        json: values.json,
        freePorts: values['free-ports'],
        oneAddress: values['one-address'],
      },
    };
  } catch (reason) {
    return { kind: 'wrong', message: reason instanceof Error ? reason.message : String(reason) };
  }
}

const OFF = { type: 'boolean', default: false } as const;
const FLAGS = {
  consul: OFF,
  'mesh-files': OFF,
  once: OFF,
  json: OFF,
  'free-ports': OFF,
  'one-address': OFF,
  help: { ...OFF, short: 'h' },
} as const;

export const HELP = `Runs two datacenters with a mesh gateway each on loopback, and shows the path of each request.

  npm run demo -- [flags]

  --consul        with two Consul agents: MESHGATE_CONSUL_BIN, or consul on PATH
  --mesh-files    without Consul, by files alone; without either flag: Consul where there is one
  --once          send the requests once and exit: 0 when each took the expected path, else 1
  --json          one JSON object on standard output (with npm: npm run --silent demo -- --once --json)
  --free-ports    ports that the system chooses, none of those in the files
  --one-address   everything on 127.0.0.1; where loopback has no other address, as on macOS, this is so by itself
  --help          this
`;
