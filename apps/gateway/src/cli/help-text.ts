import type { Command } from 'commander';
import { HANDOVER_MS } from '../run/serve.ts';

/** The help of a command, besides its options. docs/operate/commands.md repeats it. */
interface CommandHelp {
  /** Condition for exit status 0. */
  readonly done: string;
  /** Condition for exit status 1; absent for commands that cannot fail at run time. */
  readonly failed?: string;
  /** Condition for exit status 2; when absent: an invalid command line or configuration. */
  readonly invalid?: string;
  /** Additional notes. */
  readonly note?: string;
  /** Examples of command lines. */
  readonly examples: readonly string[];
}

const REFUSED = 'no gateway responds, or it refuses';

/** The help of both commands that run a proxy. */
const PROXY = {
  done: 'stopped, no connection was cut; with --check: valid',
  failed:
    'it failed to start or at run time, or connections were cut; with --check: no gateway responds (--against), or a check failed (--live)',
};

/** Help texts, by the name of the command. */
export const COMMAND_HELP: Readonly<Record<string, CommandHelp>> = {
  gateway: {
    ...PROXY,
    examples: [
      'meshgate gateway --config /etc/meshgate/meshgate.yaml',
      'meshgate gateway --check --live',
      'meshgate gateway --check --against unix:/run/meshgate/admin.sock',
      'meshgate gateway --register --address 10.0.0.5:8443 --wan-address 203.0.113.5:443',
    ],
  },
  sidecar: {
    ...PROXY,
    examples: [
      'meshgate sidecar --sidecar-for web-1',
      'meshgate sidecar --sidecar-for web-1 --admin-bind 127.0.0.1:19001 --check --live',
      'meshgate sidecar --sidecar-for web-1 --config web.yaml --check --against http://127.0.0.1:19001',
    ],
  },
  routes: {
    done: 'printed, even if there are none',
    failed: REFUSED,
    examples: ['meshgate routes', 'meshgate routes --config meshgate.yaml --json'],
  },
  explain: {
    done: 'there is a route',
    failed: `there is no route, ${REFUSED}`,
    examples: ['meshgate explain api.example.com', 'meshgate explain api.example.com --listener public'],
  },
  reload: {
    done: 'applied, except for what needs a restart',
    failed: `${REFUSED}; nothing changed`,
    note: '`meshgate gateway --check --against` prints beforehand what it would change.',
    examples: ['meshgate reload', 'meshgate reload --admin unix:/run/meshgate/admin.sock'],
  },
  upgrade: {
    done: 'the successor has taken over',
    failed: `no successor was ready within ${HANDOVER_MS / 1_000} s, ${REFUSED}; the gateway continues`,
    note: 'The new version and the new configuration must be on disk: this starts the same command line again.',
    examples: ['meshgate upgrade', 'meshgate upgrade --token-file /etc/meshgate/admin.token'],
  },
  status: {
    done: 'ready',
    failed: `not ready, ${REFUSED}`,
    examples: ['meshgate status', 'meshgate status --json'],
  },
  top: {
    done: 'quit, or one snapshot was printed',
    failed: 'no gateway responds, it refuses, or it exited',
    examples: ['meshgate top --sort failed --filter dc2', 'meshgate top --once'],
  },
  drain: {
    done: 'drained, no connection was cut; with --no-wait: the drain has started',
    failed: `connections were cut, the gateway exited before it said how many, ${REFUSED}`,
    note: 'A drain cannot be undone, and continues when this command is interrupted.',
    examples: ['meshgate drain', 'meshgate drain --no-wait --json'],
  },
  'log-level': {
    done: 'printed, or set',
    failed: REFUSED,
    examples: ['meshgate log-level', 'meshgate log-level debug'],
  },
  completion: {
    done: 'printed',
    examples: ['source <(meshgate completion bash)'],
  },
  connections: {
    done: 'printed, even if there are none',
    failed: REFUSED,
    examples: ['meshgate connections', 'meshgate connections --route api --older 1h'],
  },
  close: {
    done: 'at least one connection was closed',
    failed: `no connection matches, ${REFUSED}`,
    examples: ['meshgate close 1z', 'meshgate close --client 203.0.113.0/24 --older 30s'],
  },
  doctor: {
    done: 'no check failed; warnings may remain',
    failed: 'a check failed, also because of an invalid configuration',
    invalid: 'the command line is invalid',
    examples: ['meshgate doctor', 'meshgate doctor api.example.com', 'meshgate doctor --sidecar-for web-1'],
  },
  trace: {
    done: 'a trace was found',
    failed: 'nothing was found, or a log or an admin API cannot be read',
    examples: [
      'meshgate trace --log /var/log/meshgate.log --name api.example.com',
      'meshgate trace 07c1d9e2b8a46 --admin http://127.0.0.1:19001 --admin http://127.0.0.1:19002',
    ],
  },
  version: { done: 'printed', examples: ['meshgate version'] },
};

/** Adds exit statuses and examples to the help of every command of `program`. */
export function addHelp(program: Command): void {
  program.addHelpText('after', `\n${PROGRAM_STATUSES}`);
  for (const command of program.commands) {
    const help = COMMAND_HELP[command.name()];
    if (help !== undefined) command.addHelpText('after', `\n${helpText(help)}`);
  }
}

const WRONG = 'the command line or the configuration is invalid';

const PROGRAM_STATUSES = `Exit status:
  0  done
  1  failed at run time
  2  ${WRONG}

Commands for a running gateway also work on a running sidecar.`;

function helpText({ done, failed, invalid = WRONG, note, examples }: CommandHelp): string {
  const statuses = [`  0  ${done}`, ...(failed === undefined ? [] : [`  1  ${failed}`]), `  2  ${invalid}`];
  const notes = note === undefined ? [] : [note, ''];
  return [...notes, 'Exit status:', ...statuses, '', 'Examples:', ...examples.map((one) => `  ${one}`)].join('\n');
}
