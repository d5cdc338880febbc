import type { Problem } from '@meshgate/core';
import { closestMatch } from 'leven';
import { type Alias, isAlias, isMap, isScalar, isSeq, type Node, type Pair, type Scalar, type YAMLMap } from 'yaml';

/** A position in a file. Lines and columns count from 1. */
export type DocumentPosition = NonNullable<Problem['at']>;

/** The result of parsing a string. */
export type Parsed<Value> =
  | { readonly kind: 'value'; readonly value: Value }
  /** The expected format: the message continues with `, found …`. */
  | { readonly kind: 'refused'; readonly expected: string };

/** State that all fields of a document share. */
export interface FieldContext {
  /** Returns the node to which an alias refers; `undefined` when there is none. */
  resolve(alias: Alias): Node | undefined;
  /** Returns the position of an offset into the text; `undefined` when the document was not parsed from text. */
  positionOf(offset: number): DocumentPosition | undefined;
  /** Problems found so far; grows while fields are read. */
  readonly problems: Problem[];
  /** Settings without effect found so far; grows while fields are read. */
  readonly warnings: Problem[];
}

/**
 * An untrusted value in a document. Each method that reads it returns a valid value, or records a problem with its
 * position and returns `undefined`: so one pass finds all problems of a file.
 */
export class Field {
  /** Keys and indexes from the root of the document. */
  readonly path: readonly (string | number)[];
  /** Position of the value; `undefined` when the document was not parsed from text. */
  readonly at: DocumentPosition | undefined;
  #byKey: Map<string, FieldEntry> | undefined;
  readonly #node: Node | null;
  readonly #context: FieldContext;

  /** @param at fallback position, for a `node` without its own */
  constructor(node: Node | null, path: readonly (string | number)[], context: FieldContext, at?: DocumentPosition) {
    this.path = path;
    this.at = node?.range ? context.positionOf(node.range[0]) : (at ?? context.positionOf(0));
    this.#node = isAlias(node) ? (context.resolve(node) ?? node) : node;
    this.#context = context;
  }

  /** Reads a non-empty string. */
  text(): string | undefined {
    const value = this.#scalar();
    return typeof value === 'string' && value !== '' ? value : this.expected('a string');
  }

  /** Reads a string, which may be empty. */
  string(): string | undefined {
    const value = this.#scalar();
    return typeof value === 'string' ? value : this.expected('a string');
  }

  /** Reads a string that `parse` accepts. */
  parsed<Value>(parse: (text: string) => Parsed<Value>): Value | undefined {
    const value = this.#scalar();
    const parsed = parse(typeof value === 'string' ? value : '');
    return parsed.kind === 'value' ? parsed.value : this.expected(parsed.expected);
  }

  /** Reads an integer from `min` to `max`, inclusive. */
  integer(min: number, max: number): number | undefined {
    const value = this.#scalar();
    const inRange = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
    return inRange ? value : this.expected(`an integer from ${min} to ${max}`);
  }

  /** Reads one of `values`. */
  oneOf<Value extends string>(values: readonly Value[]): Value | undefined {
    const value = this.#scalar();
    return values.find((allowed) => allowed === value) ?? this.expected(`one of ${values.join(', ')}`);
  }

  /** Reads a list, which may be empty. */
  list(): readonly Field[] | undefined {
    return isSeq(this.#node) ? Array.from(this.items()) : this.expected('a list');
  }

  /** Yields the items of a list one by one: there may be thousands. None when the value is not a list. */
  *items(): Generator<Field> {
    if (!isSeq<Node | null>(this.#node)) return;
    for (const [index, item] of this.#node.items.entries())
      yield new Field(item, [...this.path, index], this.#context, this.at);
  }

  /** Reads a mapping without keys other than `keys`. The result omits keys that are absent in the text. */
  record<Key extends string>(
    keys: Readonly<Record<Key, 'required' | 'optional'>>,
  ): ReadonlyMap<Key, Field> | undefined {
    const entries = this.entries();
    if (entries === undefined) return undefined;
    const isKnown = (key: string): key is Key => Object.hasOwn(keys, key);
    const fields = new Map<Key, Field>();
    const missing = new Set(Object.keys(keys).filter((key) => isKnown(key) && keys[key] === 'required'));
    for (const entry of entries) {
      if (isKnown(entry.key)) fields.set(entry.key, entry.value);
      missing.delete(isKnown(entry.key) ? entry.key : (this.unknown(entry, Object.keys(keys)) ?? ''));
    }
    for (const key of missing) this.refuse(`expected the key ${JSON.stringify(key)}, found none`);
    return fields;
  }

  /** Reads a mapping with arbitrary keys, in the order of the text; merged keys (`<<`) come last. */
  entries(): readonly FieldEntry[] | undefined {
    const node = this.#node;
    if (!isMapping(node)) return this.expected('a mapping');
    const own = node.items.filter((pair) => !isMerge(pair)).map((pair) => this.#entry(pair));
    const merges = node.items.filter(isMerge).map((pair) => this.#entry(pair).value);
    if (merges.length === 0) return own;
    const entries = new Map(
      [...own, ...merges.flatMap((field) => field.#merged())].toReversed().map((one) => [one.key, one]),
    );
    return [...entries.values()].toReversed();
  }

  #entry({ key, value }: Pair<Scalar<string>, Node | null>): FieldEntry {
    const at = key.range ? this.#context.positionOf(key.range[0]) : undefined;
    return { key: key.value, at, value: new Field(value, [...this.path, key.value], this.#context, at) };
  }

  /** Returns the contents of a merge key: one mapping, or several in order of precedence. */
  #merged(): readonly FieldEntry[] {
    const parts = this.shape === 'list' ? (this.list() ?? []) : [this];
    return parts.flatMap((part) => part.entries() ?? []);
  }

  /** The position for messages: that in the file, or else the path. */
  get position(): string {
    const { at, path } = this;
    return at === undefined ? path.join('.') : `${at.file}:${at.line}:${at.column}`;
  }

  /** The type of the value, for callers that accept several. */
  get shape(): 'mapping' | 'list' | 'scalar' | 'nothing' {
    if (isMap(this.#node)) return 'mapping';
    if (isSeq(this.#node)) return 'list';
    return this.#scalar() === null || this.#scalar() === undefined ? 'nothing' : 'scalar';
  }

  /** Reads `true` or `false`. */
  boolean(): boolean | undefined {
    const value = this.#scalar();
    return typeof value === 'boolean' ? value : this.expected('true or false');
  }

  /** Cached, because thousands of problems look up thousands of positions. */
  #entryAt(key: string | number | undefined): FieldEntry | undefined {
    if (this.#byKey === undefined) {
      this.#byKey = new Map();
      for (const entry of this.entries() ?? []) if (!this.#byKey.has(entry.key)) this.#byKey.set(entry.key, entry);
    }
    return this.#byKey.get(String(key));
  }

  /** Reads only this item, because thousands of problems look up thousands of positions. */
  #itemAt(index: number): Field | undefined {
    const item = isSeq<Node | null>(this.#node) ? this.#node.items[index] : undefined;
    return item === undefined ? undefined : new Field(item, [...this.path, index], this.#context, this.at);
  }

  /**
   * Returns the position of the key at the end of `path`, relative to this value, or of its nearest existing ancestor.
   */
  positionOf(path: Problem['path']): DocumentPosition | undefined {
    const [head, ...rest] = path;
    const entry = this.shape === 'mapping' ? this.#entryAt(head) : undefined;
    const item = entry?.value ?? this.#itemAt(Number(head));
    if (item === undefined) return this.at;
    return rest.length === 0 ? (entry?.at ?? item.at) : item.positionOf(rest);
  }

  /** Returns the value as `JSON.parse` would: for settings that are passed through. */
  plain(): unknown {
    switch (this.shape) {
      case 'mapping':
        return Object.fromEntries((this.entries() ?? []).map(({ key, value }) => [key, value.plain()]));
      case 'list':
        return (this.list() ?? []).map((item) => item.plain());
      default:
        return this.#scalar();
    }
  }

  /** Records that `what` was expected here, with the value found instead. */
  expected(what: string): undefined {
    return this.refuse(`expected ${what}, found ${describe(this.#node)}`);
  }

  /** Records a problem with this value and its position. */
  refuse(message: string): undefined {
    return this.#note({ message, path: this.path }, this.at);
  }

  /** Records a warning about this value, or the one at `at`: it is valid but has no effect. */
  warn(message: string, at: DocumentPosition | undefined = this.at): undefined {
    this.#context.warnings.push(placed({ message, path: this.path }, at));
    return undefined;
  }

  /**
   * Records that the key of `entry` is not one of `known`.
   *
   * @returns the key that was probably intended, if any
   */
  unknown({ key, at, value: { path } }: FieldEntry, known: readonly string[]): string | undefined {
    // At most half the letters may differ: beyond that it is another word, not a typing error.
    const maxDistance = Math.max(1, Math.floor(key.length / 2));
    const nearest = closestMatch(key, known, { maxDistance });
    const hint =
      nearest === undefined ? `known keys are ${known.join(', ')}` : `did you mean ${JSON.stringify(nearest)}?`;
    this.#note({ message: `unknown key ${JSON.stringify(key)}: ${hint}`, path }, at);
    return nearest;
  }

  #scalar(): unknown {
    return isScalar(this.#node) ? this.#node.value : undefined;
  }

  #note(problem: Problem, at: DocumentPosition | undefined): undefined {
    this.#context.problems.push(placed(problem, at));
    return undefined;
  }
}

function isMapping(node: Node | null): node is YAMLMap<Scalar<string>, Node | null> {
  return isMap(node);
}

/**
 * Whether a key is a merge key: a feature of YAML 1.1 that is supported because `<<` is never intended as an ordinary
 * key. A quoted `<<` is an ordinary key.
 */
function isMerge({ key }: Pair<Scalar<string>, Node | null>): boolean {
  return key.value === '<<' && key.type === 'PLAIN';
}

function placed(problem: Problem, at: DocumentPosition | undefined): Problem {
  return at === undefined ? problem : { ...problem, at };
}

/** A key of a mapping, with its value. */
export interface FieldEntry {
  /** As written. */
  readonly key: string;
  /** Position of the key; `undefined` when the document was not parsed from text. */
  readonly at: DocumentPosition | undefined;
  /** The value of the key. */
  readonly value: Field;
}

function describe(node: Node | null): string {
  if (isMap(node)) return 'a mapping';
  if (isSeq(node)) return 'a list';
  if (isAlias(node)) return `the undefined YAML alias *${node.source}: a string that begins with * needs quotes`;
  return isScalar(node) ? describeScalar(node.value) : 'nothing';
}

/** Longest part of a wrong value that messages quote. */
const SHOWN_CHARS = 80;

function describeScalar(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'number') return `the number ${value}`;
  const text = JSON.stringify(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}
