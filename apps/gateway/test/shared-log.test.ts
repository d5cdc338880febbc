import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { folder, MAIN, TEST_CONFIG } from './daemon.ts';

describe('a log in a file that others write to as well', () => {
  it.skipIf(process.platform !== 'linux')(
    'is not overwritten by them, although nobody opened it to append',
    async () => {
      await using files = await folder({
        'routes.yaml': { routes: [] },
        'meshgate.yaml': { ...TEST_CONFIG, admin: { address: '192.0.2.1', port: 1 } },
      });
      const path = join(files.path, 'log');
      // As a shell opens it for `> log 2>&1`.
      const fd = openSync(path, 'w');
      writeSync(fd, 'before\n');
      const args = [MAIN, 'gateway', '--config', join(files.path, 'meshgate.yaml')];
      const child = spawn(process.execPath, args, { stdio: ['ignore', fd, fd] });
      await once(child, 'exit');
      writeSync(fd, 'after\n');
      closeSync(fd);
      const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
      expect([lines.at(0), lines.at(-1)]).toEqual(['before', 'after']);
      const levels = lines.slice(1, -1).map((line) => (JSON.parse(line) as { readonly level: string }).level);
      expect(levels).toContain('fatal');
    },
  );
});
