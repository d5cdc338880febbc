import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { platform } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Part of iproute2. */
const TOOL = 'ip';

/** Prefix of all names; the id of the process that created them follows. */
const PREFIX = 'meshgate-test';

/** A network namespace with its own interfaces, addresses, routes and ports. Its processes end with it. */
export class Namespace implements AsyncDisposable {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Creates one with loopback up; first removes what an earlier run has left after a crash. */
  static async create(label: string): Promise<Namespace> {
    await sweep();
    made += 1;
    const namespace = new Namespace(`${PREFIX}-${process.pid}-${made}-${label}`);
    await ip('netns', 'add', namespace.name);
    await namespace.ip('link', 'set', 'lo', 'up');
    return namespace;
  }

  /** Configures the network inside: `ip ARGS`. */
  async ip(...args: readonly string[]): Promise<void> {
    await ip('-netns', this.name, ...args);
  }

  /** Starts a command inside. */
  spawn(command: readonly string[], stdio: StdioOptions): ChildProcess {
    return spawn(TOOL, ['netns', 'exec', this.name, ...command], { stdio });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await remove(this.name);
  }
}

let made = 0;

/** A veth pair between two namespaces: the interface has the same name at both ends. */
export async function connect(one: Namespace, other: Namespace, name: string): Promise<void> {
  await ip('link', 'add', name, 'netns', one.name, 'type', 'veth', 'peer', 'name', name, 'netns', other.name);
  for (const end of [one, other]) await end.ip('link', 'set', name, 'up');
}

/** Whether this process may create network namespaces: `true`, or why not. */
export function namespacesAvailable(): true | string {
  if (platform() !== 'linux') return 'network namespaces are Linux only';
  const name = `${PREFIX}-${process.pid}-probe`;
  try {
    execFileSync(TOOL, ['netns', 'add', name], { stdio: 'pipe' });
    execFileSync(TOOL, ['netns', 'exec', name, 'true'], { stdio: 'pipe' });
    execFileSync(TOOL, ['netns', 'del', name], { stdio: 'pipe' });
    return true;
  } catch (reason) {
    return `ip netns fails: ${reason instanceof Error ? reason.message.trim().split('\n').join(' ') : String(reason)}`;
  }
}

/** Removes the namespaces of processes that no longer exist. */
async function sweep(): Promise<void> {
  const { stdout } = await run(TOOL, ['netns', 'list']);
  const names = stdout.split('\n').flatMap((line) => line.split(' ')[0] ?? []);
  for (const name of names) {
    const [, owner] = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name) ?? [];
    if (owner !== undefined && !isRunning(Number(owner))) await remove(name).catch(() => undefined);
  }
}

async function remove(name: string): Promise<void> {
  const { stdout } = await run(TOOL, ['netns', 'pids', name]);
  for (const pid of stdout.split('\n').filter(Boolean)) killed(Number(pid));
  await ip('netns', 'del', name);
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has exited by itself.
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function ip(...args: readonly string[]): Promise<void> {
  await run(TOOL, args);
}
