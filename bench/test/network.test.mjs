import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { needs } from '../../packages/testkit/dist/index.js';

const NETWORK = fileURLToPath(new URL('../network.mjs', import.meta.url));
const { status, stderr } = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { encoding: 'utf8' });

needs('netns', status === 0 || `unshare --net fails: ${stderr ?? 'not installed'}`.trim())('a benchmark', () => {
  it('runs once, in a network namespace with ten thousands of ports for clients, and passes on its exit status', () => {
    const program = `
      import { readFileSync } from 'node:fs';
      import { ranInOwnNetwork } from ${JSON.stringify(NETWORK)};
      if (!(await ranInOwnNetwork(console.error))) {
        console.log(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim(), process.argv[1]);
        process.exitCode = 3;
      }`;
    const args = ['--input-type=module', '--eval', program, '--', 'argument'];
    const ran = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect({ status: ran.status, output: ran.stdout.trim() }).toEqual({
      status: 3,
      output: expect.stringMatching(/^10000\s+65535 argument$/),
    });
  });
});
