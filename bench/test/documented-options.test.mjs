import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SCRIPTS = { bench: 'run.mjs', 'bench:cost': 'cost.mjs', 'bench:soak': 'soak.mjs' };

it.each(Object.entries(SCRIPTS))('the documentation only uses options of pnpm %s that exist', (name, script) => {
  const help = execFileSync(process.execPath, [`${ROOT}/bench/${script}`, '--help'], { encoding: 'utf8' });
  const used = commandsOf(name).flatMap((command) => command.match(/--[\w-]+/g) ?? []);
  expect(used.length).toBeGreaterThan(0);
  expect(used.filter((option) => !help.includes(`  ${option} `) && option !== '--help')).toEqual([]);
});

/** The commands of that name in all pages, up to the end of the line, a comment or a code span. */
function commandsOf(name) {
  return pages().flatMap((page) =>
    Array.from(page.matchAll(/pnpm (bench(?::\w+)?)(?![:\w])([^`\n#]*)/g)).flatMap(([, found, rest]) =>
      found === name ? [rest] : [],
    ),
  );
}

function pages() {
  const docs = readdirSync(`${ROOT}/docs`, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.md'),
  );
  return [...docs.map((file) => `docs/${file}`), 'bench/README.md', 'CONTRIBUTING.md'].map((file) =>
    readFileSync(`${ROOT}/${file}`, 'utf8'),
  );
}
