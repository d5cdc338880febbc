import type { Problem } from '@meshgate/core';
import { type Field, openDocument } from '@meshgate/documents';
import { type ConfigEntry, readEntry } from './entries.ts';
import { openHcl } from './hcl.ts';
import { itemsOf, readKeys } from './keys.ts';
import { readService, type Registration } from './registration.ts';

/** What one mesh file says. */
export interface MeshFile {
  readonly file: string;
  readonly registrations: readonly Registration[];
  readonly entries: readonly ConfigEntry[];
  /** Everything that is wrong in the file by itself. */
  readonly problems: readonly Problem[];
}

/** How mesh files end. */
export const MESH_FILE_ENDINGS: readonly string[] = ['.hcl', '.json'];

/**
 * Reads the text of a mesh file: HCL, or JSON when the name of `file` ends in `.json` or the text begins with a brace, as Consul's
 * HCL takes it. It holds service definitions (`service`,
 * `services`), or one configuration entry (`Kind`). Pure; never throws.
 *
 * @param file where problems are said to be; it is not opened
 */
export function parseMeshFile(text: string, file: string): MeshFile {
  const isJson = file.endsWith('.json') || /^\s*\{/.test(text);
  const opened = isJson ? openDocument(text, file, 'json') : openHcl(text, file);
  if (opened.kind === 'broken') return { file, registrations: [], entries: [], problems: opened.problems };
  const content = readContent(opened.root);
  return { file, ...content, problems: opened.problems.map(withPath) };
}

/** A problem with a value, among other definitions or by itself. */
export function problemWith({ path, at }: Field, message: string): Problem {
  return withPath(at === undefined ? { message, path } : { message, path, at });
}

/** Which value it is tells more than its line: the key path goes in front. */
function withPath(problem: Problem): Problem {
  const { path, message } = problem;
  return path.length === 0 ? problem : { ...problem, message: `${path.join('.')}: ${message}` };
}

function readContent(root: Field): Pick<MeshFile, 'registrations' | 'entries'> {
  const isEntry = root.shape === 'mapping' && root.entries()?.some(({ key }) => key.toLowerCase() === 'kind');
  if (isEntry) {
    const entry = readEntry(root);
    return { registrations: [], entries: entry === undefined ? [] : [entry] };
  }
  // It has no kind, but may have been meant to: then the hint should name that key.
  const fields = readKeys(root, { kind: 'ignored', service: 'read', services: 'read' });
  const definitions = [...itemsOf(fields.get('service')), ...itemsOf(fields.get('services'))];
  return { registrations: definitions.flatMap(readService), entries: [] };
}
