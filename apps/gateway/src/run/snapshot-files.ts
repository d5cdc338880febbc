import { createHash } from 'node:crypto';
import { access, constants, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RouteSnapshot } from '@meshgate/core';
import { errorOf, inSlices, readRegularFile } from '@meshgate/core/parts';
import type { StoredSnapshot, ListenerStore, SnapshotStore } from '@meshgate/core/parts';
import * as z from 'zod';
import { makeFolder } from './make-folder.ts';

/**
 * Stores snapshots in `folder`, one file per source, readable only by its owner. Replaces files atomically and durably.
 * Creates the folder on first use.
 */
export function fileSnapshotStore(folder: string): SnapshotStore {
  return {
    load: (source) => load(join(folder, fileNameOf(source))),
    save: (source, snapshot) => save(folder, fileNameOf(source), source, snapshot),
    isKept: (source) => isFile(join(folder, fileNameOf(source))),
  };
}

/** Stores the lists of listener sources in the same folder, as {@link fileSnapshotStore} stores routes. */
export function fileListenerStore(folder: string): ListenerStore {
  const nameOf = (source: string): string => fileNameOf(`listeners ${source}`);
  return {
    load: async (source) => (await read(join(folder, nameOf(source)), listenersSchema))?.listeners,
    save: (source, listeners) =>
      replace(folder, nameOf(source), [JSON.stringify({ format: FORMAT, source, listeners })]),
    isKept: (source) => isFile(join(folder, nameOf(source))),
  };
}

function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
}

async function load(file: string): Promise<StoredSnapshot | undefined> {
  const kept = await read(file, storedSchema);
  // JSON has no `undefined` values, which the schema cannot express.
  return kept && { savedAt: new Date(kept.savedAt), snapshot: kept.snapshot as RouteSnapshot };
}

function save(folder: string, name: string, source: string, snapshot: RouteSnapshot): Promise<void> {
  return replace(folder, name, snapshotText(source, snapshot));
}

/** Yields the text in slices, so that connections need not wait for the JSON of 100,000 routes. */
function* snapshotText(source: string, { version, routes }: RouteSnapshot): Generator<string, void, void> {
  const savedAt = new Date().toISOString();
  const around = JSON.stringify({ format: FORMAT, source, savedAt, snapshot: { version, routes: [] } });
  const end = ']}}';
  yield around.slice(0, -end.length);
  let separator = '';
  for (const share of inSlices(routes)) {
    yield separator + JSON.stringify(share).slice(1, -1);
    separator = ',';
  }
  yield end;
}

/**
 * Reads and validates a file. Returns `undefined` when it does not exist; rejects, naming the file, when it does not
 * match `schema`.
 */
async function read<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readRegularFile(file, { maxBytes: MAX_STORED_BYTES }).catch((reason: unknown) => {
    if (reason instanceof Error && 'code' in reason && reason.code === 'ENOENT') return undefined;
    throw reason;
  });
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (reason) {
    throw new Error(`${file} is damaged: ${firstLine(reason)}`, { cause: reason });
  }
}

async function replace(folder: string, name: string, text: Iterable<string>): Promise<void> {
  await makeStateFolder(folder);
  // Unique per process: two processes that share the folder must not write to the same file.
  const temporary = join(folder, `.${name}.${process.pid}.tmp`);
  try {
    await writeThrough(temporary, text);
    await rename(temporary, join(folder, name));
  } catch (reason) {
    // On a read-only disk the file cannot be removed either, as the first error says.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw inFolder(folder, reason);
  }
}

async function makeStateFolder(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
  } catch (reason) {
    throw (await whyUnwritable(dirname(folder))) ?? reason;
  }
}

/**
 * Returns why a folder cannot be written. When its parent is not writable, Node reports only that the folder is
 * missing.
 */
async function whyUnwritable(folder: string): Promise<Error | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const reason = await access(at, constants.W_OK).then(() => undefined, errorOf);
    const isMissing = reason !== undefined && 'code' in reason && reason.code === 'ENOENT';
    if (!isMissing || at === dirname(at)) return reason;
  }
}

/** Adds the folder to the error, since the system does not report which disk is full. */
function inFolder(folder: string, cause: unknown): Error {
  const { message, code } = Object(cause) as NodeJS.ErrnoException;
  return Object.assign(new Error(message.includes(folder) ? message : `${folder}: ${message}`, { cause }), { code });
}

async function writeThrough(file: string, text: Iterable<string>): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    for (const part of text) await handle.appendFile(part);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Returns a file name that is unique for the source, and readable as far as its name allows. */
function fileNameOf(source: string): string {
  const readable = source.replace(/[^a-z0-9.-]+/gi, '_').slice(0, READABLE_CHARS);
  const digest = createHash('sha256').update(source).digest('hex').slice(0, DIGEST_CHARS);
  return `${readable}-${digest}.json`;
}

const READABLE_CHARS = 64;
const DIGEST_CHARS = 12;

/** Version of the file format; files of another version are ignored. */
const FORMAT = 1;

/** Four times the size of 100,000 routes. */
const MAX_STORED_BYTES = 256 * 1024 * 1024;

const endpointSchema = z.object({ host: z.string(), port: z.int() });

const backendSchema = z.looseObject({
  address: endpointSchema,
  weight: z.int().min(1),
  healthy: z.boolean(),
});

/** An infinite time (`off`) is `null` in JSON. */
const limitsSchema = z
  .record(z.string(), z.unknown())
  .transform((limits) => Object.fromEntries(Object.entries(limits).map(([key, value]) => [key, value ?? Infinity])));

const routeSchema = z.looseObject({
  name: z.string(),
  serverNames: z.array(z.string()),
  backends: z.array(backendSchema),
  limits: limitsSchema.optional(),
});

const listenersSchema = z.object({
  format: z.literal(FORMAT),
  // Loose, to keep all other settings, such as access rules.
  listeners: z.array(z.looseObject({ name: z.string(), endpoint: endpointSchema })),
});

const storedSchema = z.object({
  format: z.literal(FORMAT),
  savedAt: z.iso.datetime(),
  snapshot: z.object({ version: z.string(), routes: z.array(routeSchema) }),
});

function firstLine(reason: unknown): string {
  if (reason instanceof z.ZodError)
    return reason.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)[0] ?? '';
  return reason instanceof Error ? reason.message : String(reason);
}
