import { MAX_LEVELS } from './nesting.ts';
import { type Node, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml';

/**
 * Parses JSON (RFC 8259) into the nodes of the YAML parser, ten times as fast, and in steps, so that the caller can
 * yield in between.
 *
 * @returns `undefined` for anything else, including duplicate keys and deep nesting: the YAML parser then reports the
 * problem
 */
export function* jsonTree(text: string): Generator<void, Node | undefined> {
  const tree = new TreeBuilder();
  let at = 0;
  for (let count = 1; ; count += 1) {
    at = afterSpace(text, at);
    if (at === text.length) return tree.root;
    const end = tree.take(text, at);
    if (end === undefined) return undefined;
    at = end;
    if (count % TOKENS_PER_STEP === 0) yield;
  }
}

/** Work between two checks of the clock: about 0.1 ms. */
const TOKENS_PER_STEP = 200;

function afterSpace(text: string, from: number): number {
  SPACE.lastIndex = from;
  SPACE.test(text);
  return SPACE.lastIndex;
}

const SPACE = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORDS: readonly (readonly [word: string, value: boolean | null])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];

/** A mapping or a list that is not closed yet. */
type Open =
  { readonly map: YAMLMap; readonly keys: Set<string>; key: Scalar<string> | undefined } | { readonly list: YAMLSeq };

/** The tokens that are allowed next. */
type Expected = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'comma' | 'end';

/** Builds the tree, token by token. */
class TreeBuilder {
  readonly #open: Open[] = [];
  #expected: Expected = 'value';
  #root: Node | undefined;

  /** The root node of a complete document. */
  get root(): Node | undefined {
    return this.#expected === 'end' ? this.#root : undefined;
  }

  /** Reads the token at `at`. @returns the end of the token; `undefined` when it is not allowed here */
  take(text: string, at: number): number | undefined {
    const sign = text.charAt(at);
    if (sign === '}' || sign === ']') return this.#close(sign, at);
    if (sign === ',' || sign === ':') return this.#separate(sign) ? at + 1 : undefined;
    if (this.#expected === 'key' || this.#expected === 'first key') return this.#key(text, at);
    if (this.#expected !== 'value' && this.#expected !== 'first value') return undefined;
    if (sign === '{' || sign === '[') return this.#begin(sign, at);
    const scalar = scalarAt(text, at);
    if (scalar === undefined) return undefined;
    this.#add(scalar);
    return scalar.range?.[1];
  }

  #begin(sign: '{' | '[', at: number): number | undefined {
    if (this.#open.length === MAX_LEVELS) return undefined;
    const isMap = sign === '{';
    const node = isMap ? new YAMLMap() : new YAMLSeq();
    node.range = [at, at, at];
    this.#add(node);
    this.#open.push(node instanceof YAMLMap ? { map: node, keys: new Set(), key: undefined } : { list: node });
    this.#expected = isMap ? 'first key' : 'first value';
    return at + 1;
  }

  #close(sign: '}' | ']', at: number): number | undefined {
    const open = this.#open.pop();
    if (open === undefined || 'map' in open !== (sign === '}')) return undefined;
    const isFirst = this.#expected === ('map' in open ? 'first key' : 'first value');
    if (!isFirst && this.#expected !== 'comma') return undefined;
    const node = 'map' in open ? open.map : open.list;
    node.range = [node.range?.[0] ?? 0, at + 1, at + 1];
    this.#expected = this.#open.length === 0 ? 'end' : 'comma';
    return at + 1;
  }

  #separate(sign: ',' | ':'): boolean {
    const open = this.#open.at(-1);
    if (this.#expected !== (sign === ',' ? 'comma' : 'colon') || open === undefined) return false;
    this.#expected = sign === ',' && 'map' in open ? 'key' : 'value';
    return true;
  }

  #key(text: string, at: number): number | undefined {
    const key = scalarAt(text, at);
    const open = this.#open.at(-1);
    if (open === undefined || !('map' in open) || typeof key?.value !== 'string' || open.keys.has(key.value))
      return undefined;
    open.keys.add(key.value);
    open.key = key as Scalar<string>;
    this.#expected = 'colon';
    return key.range?.[1];
  }

  #add(node: Node): void {
    const open = this.#open.at(-1);
    if (open === undefined) this.#root = node;
    else if ('map' in open) open.map.items.push(new Pair<unknown>(open.key, node));
    else open.list.items.push(node);
    this.#expected = open === undefined ? 'end' : 'comma';
  }
}

function scalarAt(text: string, at: number): Scalar<string | number | boolean | null> | undefined {
  if (text.charAt(at) === '"') return stringAt(text, at);
  const word = WORDS.find(([one]) => text.startsWith(one, at));
  if (word !== undefined) return placed(word[1], at, at + word[0].length);
  NUMBER.lastIndex = at;
  const [number] = NUMBER.exec(text) ?? [];
  return number === undefined ? undefined : placed(Number(number), at, at + number.length);
}

function stringAt(text: string, at: number): Scalar<string> | undefined {
  for (let quote = text.indexOf('"', at + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text.charAt(quote - 1 - slashes) === '\\') slashes += 1;
    if (slashes % 2 === 0) return parsedString(text.slice(at, quote + 1), at);
  }
  return undefined;
}

function parsedString(quoted: string, at: number): Scalar<string> | undefined {
  try {
    return placed(JSON.parse(quoted) as string, at, at + quoted.length);
  } catch {
    return undefined;
  }
}

function placed<Value>(value: Value, at: number, end: number): Scalar<Value> {
  const scalar = new Scalar(value);
  scalar.range = [at, end, end];
  return scalar;
}
