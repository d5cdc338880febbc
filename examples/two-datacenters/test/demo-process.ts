// Runs the built demonstration as a process, and reports its result.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** The part of the `--json` output that the tests use. */
export interface Findings {
  readonly form: string;
  readonly consul?: string;
  readonly folder: string;
  readonly requests: readonly RequestFound[];
  readonly processes: readonly { readonly name: string; readonly pid: number }[];
}

interface RequestFound {
  readonly from: string;
  readonly to: string;
  readonly url: string;
  readonly mode: string;
  readonly decidedBy: string;
  readonly gateways: readonly string[];
  readonly hops: readonly { readonly by: string; readonly dialled: string; readonly proved?: string }[];
  readonly response: string;
  readonly asExpected: boolean;
}

/** A running demonstration. Tests can see what it leaves behind in its temporary folder or as a process. */
export interface DemoProcess {
  /** Resolves once `holds` for its output; rejects when it exits before. */
  until(holds: (logged: Logged) => boolean): Promise<Logged>;
  /** The `--json` output, as soon as it is complete. */
  findings(): Promise<Findings>;
  signal(name: NodeJS.Signals): void;
  /** Its exit status and complete output. */
  readonly ended: Promise<Logged & { readonly status: number | null }>;
  /** Files and processes that mention its temporary folder. */
  leftovers(): readonly string[];
}

interface Logged {
  readonly stdout: string;
  readonly stderr: string;
}

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** Starts one, with ports that the system chooses. */
export function startDemo(args: readonly string[], env: Readonly<Record<string, string>> = {}): DemoProcess {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-demo-test-'));
  const child = spawn(process.execPath, [MAIN, '--free-ports', ...args], {
    env: { ...process.env, ...env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const logged = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (chunk: Buffer) => {
      logged[name] += chunk.toString();
      for (const notify of waiting) notify();
    });
  const ended = once(child, 'close').then(([status]: (number | null)[]) => ({ ...logged, status: status ?? null }));
  onTestFinished(async () => {
    // It cleans up after SIGTERM, also when the test fails early.
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  return { until, findings, signal: (name) => void child.kill(name), ended, leftovers };

  async function until(holds: (now: Logged) => boolean): Promise<Logged> {
    const tooEarly = ended.then(({ status }) => {
      throw new Error(`it ended with ${status} before that:\n${logged.stdout}\n${logged.stderr}`);
    });
    tooEarly.catch(() => undefined);
    while (!holds(logged)) {
      const changes = new Promise<void>((resolve) => waiting.add(resolve));
      await Promise.race([changes, tooEarly]);
      waiting.clear();
    }
    return logged;
  }

  async function findings(): Promise<Findings> {
    const { stdout } = await until((now) => now.stdout.endsWith('\n}\n'));
    return JSON.parse(stdout) as Findings;
  }

  function leftovers(): readonly string[] {
    return [...readdirSync(folder), ...commandLines().filter((line) => line.includes(folder))];
  }
}

/** All processes of this machine. */
function commandLines(): readonly string[] {
  if (!existsSync('/proc/self/cmdline')) return execFileSync('ps', ['-A', '-o', 'args']).toString().split('\n');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(commandLine);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    // It has exited meanwhile.
    return '';
  }
}

/** Whether a process with this id runs. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
