// Writes the published JSON Schema, and the expected results of the golden files: `node
// apps/gateway/test/regenerate.mjs`, after a build.
// Review the diff before you commit it: users of the configuration will see it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as z from 'zod';
import { parseConfig } from '../dist/config/config.js';
import { configSchema } from '../dist/config/config-schema.js';

const schema = z.toJSONSchema(configSchema, { io: 'input' });
writeFileSync(new URL('../schema/meshgate.schema.json', import.meta.url), `${JSON.stringify(schema, null, 2)}\n`);

const folder = new URL('config/', import.meta.url);
for (const file of readdirSync(folder)) {
  const [text, name] = readFileSync(new URL(file, folder), 'utf8').split(/^-{10} (.*)\n/m);
  writeFileSync(new URL(file, folder), `${text}${'-'.repeat(10)} ${name}\n${outcomeOf(text, name)}\n`);
}

function outcomeOf(text, name) {
  try {
    return JSON.stringify(parseConfig(text, name), null, 2);
  } catch (reason) {
    return reason.message;
  }
}
