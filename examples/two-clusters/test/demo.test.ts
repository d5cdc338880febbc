import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LOCATIONS } from '../src/clusters.ts';

const EXAMPLE = fileURLToPath(new URL('..', import.meta.url));
// Nine processes start, on a machine of any speed.
const DEMO_MS = 90_000;

describe('npm run demo:peers', () => {
  it(
    'sends requests to a peer in both modes, fails over to it and back, has no route to a service that is not exported, and cleans up',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'meshgate-peers-test-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const child = spawn(process.execPath, [join(EXAMPLE, 'dist/main.js'), '--once', '--free-ports'], {
        env: { ...process.env, TMPDIR: folder },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const status = new Promise((resolve) => child.once('close', resolve));
      const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
      expect({ status: await status, stderr }).toEqual({ status: 0, stderr: '' });
      const shown = /^```text output\n([^]*?)^```$/m.exec(readFileSync(join(EXAMPLE, 'README.md'), 'utf8'))?.[1];
      expect(stdout).toContain(shown);
      expect(readdirSync(folder)).toEqual([]);
    },
    DEMO_MS,
  );
});

it('the files have only ports that the demo knows, and none twice', () => {
  const ports = LOCATIONS.map(({ port }) => port);
  expect(new Set(ports).size).toBe(ports.length);
  const written = ['mesh', 'config']
    .flatMap((part) => readdirSync(join(EXAMPLE, part), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .flatMap((file) => Array.from(file.matchAll(/\b\d{5}\b/g), ([port]) => Number(port)));
  expect(new Set(written)).toEqual(new Set(ports));
});
