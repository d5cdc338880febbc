import type { Problem } from '@meshgate/core';
import { atOnce } from '@meshgate/core/parts';
import { type Field, type FieldEntry, openingDocument } from '@meshgate/documents';
import { AGENT_KEYS } from './agent-keys.ts';
import { type LooseCheck, readLooseChecks } from './checks.ts';
import { type ConfigEntry, readEntry } from './entries.ts';
import { openingHcl } from './hcl.ts';
import { folded, ignored, itemsOf, read, readKeys } from './keys.ts';
import { payloadOf } from './payload.ts';
import { readService, type ServiceDefinition } from './registration.ts';

/** The contents of one mesh file. */
export interface MeshFile extends Definitions {
  readonly file: string;
  /** Problems of this file alone. */
  readonly problems: readonly Problem[];
  /** Problems of parts without effect. */
  readonly warnings: readonly Problem[];
}

/** The definitions in mesh files. */
interface Definitions {
  readonly registrations: readonly ServiceDefinition[];
  /** Checks outside service definitions. */
  readonly checks: readonly LooseCheck[];
  readonly entries: readonly ConfigEntry[];
}

/** File name extensions of mesh files. */
export const MESH_FILE_ENDINGS: readonly string[] = ['.hcl', '.json'];

/**
 * Parses a mesh file: HCL, or JSON when the name of `file` ends in `.json` or the contents begin with a brace, which
 * Consul's HCL also accepts. The file has one configuration entry (`Kind`), or the contents of a file in an agent's
 * configuration folder: service definitions (`service`, `services`), checks, `config_entries`, and keys that do not
 * concern the mesh. Pure; never throws.
 *
 * @param file name of the file in problems; the file is not opened
 */
export function parseMeshFile(text: string, file: string): MeshFile {
  return atOnce(parsingMeshFile(text, file));
}

/** Like {@link parseMeshFile}, in steps, so that the caller can yield in between. */
export function* parsingMeshFile(text: string, file: string): Generator<void, MeshFile> {
  const isJson = file.endsWith('.json') || /^\s*\{/.test(text);
  const opened = yield* isJson ? openingDocument(text, file, 'json') : openingHcl(text, file);
  if (opened.kind === 'broken') return { file, ...NOTHING, problems: opened.problems, warnings: [] };
  const content = yield* readContent(opened.root);
  return { file, ...content, problems: opened.problems.map(withPath), warnings: opened.warnings.map(withPath) };
}

/** Returns a problem with a value. */
export function problemWith({ path, at }: Field, message: string): Problem {
  return withPath(at === undefined ? { message, path } : { message, path, at });
}

/** Returns the problem of a second definition of the object `key`; none when its contents are those of the first. */
export function contradiction(key: string, second: Field, first: Field): readonly Problem[] {
  if (JSON.stringify(second.plain()) === JSON.stringify(first.plain())) return [];
  return [problemWith(second, `${key} is already defined, with other content, at ${first.position}`)];
}

/** Puts the path before the message, since it identifies the value better than a line number does. */
function withPath(problem: Problem): Problem {
  const { path, message } = problem;
  return path.length === 0 ? problem : { ...problem, message: `${path.join('.')}: ${message}` };
}

const NOTHING: Definitions = { registrations: [], checks: [], entries: [] };

function* readContent(root: Field): Generator<void, Definitions> {
  const payload = payloadOf(root);
  if (payload !== undefined) {
    root.refuse(payload);
    return NOTHING;
  }
  const isEntry = root.shape === 'mapping' && root.entries()?.some(({ key }) => key.toLowerCase() === 'kind');
  if (isEntry) return { ...NOTHING, entries: entriesOf([root]) };
  passOver(root);
  // The file has no kind, but may be meant as an entry: then the hint must name that key.
  const fields = readKeys(root, FILE_KEYS, isAgentKey);
  const bootstrap = itemsOf(fields.get('config_entries')).flatMap((entries) =>
    itemsOf(readKeys(entries, read('bootstrap')).get('bootstrap')),
  );
  const registrations: ServiceDefinition[] = [];
  for (const services of [fields.get('service'), fields.get('services')])
    for (const service of services?.shape === 'list' ? services.items() : itemsOf(services)) {
      registrations.push(...readService(service));
      yield;
    }
  return {
    registrations,
    checks: readLooseChecks([fields.get('check'), fields.get('checks')]),
    entries: entriesOf(bootstrap),
  };
}

const FILE_KEYS = {
  ...ignored('kind'),
  ...read('service', 'services', 'check', 'checks', 'config_entries'),
};

function entriesOf(fields: readonly Field[]): readonly ConfigEntry[] {
  return fields.flatMap((field) => readEntry(field) ?? []);
}

const FOLDED_AGENT_KEYS: ReadonlySet<string> = new Set([...AGENT_KEYS].map(folded));

function isAgentKey({ key }: FieldEntry): boolean {
  return FOLDED_AGENT_KEYS.has(folded(key));
}

/** Adds one warning per file, however many agent settings it has. */
function passOver(root: Field): void {
  const found = root.shape === 'mapping' ? (root.entries() ?? []).filter(isAgentKey) : [];
  const [first] = found;
  if (first === undefined) return;
  const keys = [...new Set(found.map(({ key }) => key))].join(', ');
  root.warn(`settings of Consul's agent have no effect here: ${keys}`, first.at);
}
