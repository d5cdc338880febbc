import type { Problem } from '@meshgate/core';
import { atOnce } from '@meshgate/core/parts';
import { type OpenedDocument, opened, positionsIn } from '@meshgate/documents';
import { type Node, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml';
import { describeToken, HclError, type Sign, type HclToken, tokenAfter } from './hcl-tokens.ts';

/**
 * Parses HCL 1, the language of Consul's files, into the same {@link Field} as YAML and JSON. Pure: `file` only names
 * the file in problems.
 *
 * A block (`proxy { … }`) is a mapping. Repeated blocks of one name are a list of mappings; a value that is set twice
 * is a problem. A block with a label (`subsets "v1" { … }`) is a mapping with the label as key.
 */
export function openHcl(text: string, file: string): OpenedDocument {
  return atOnce(openingHcl(text, file));
}

/** Like {@link openHcl}, in steps, one per definition of a file, so that the caller can yield in between. */
export function* openingHcl(text: string, file: string): Generator<void, OpenedDocument> {
  const positionOf = positionsIn(text, file);
  const problems: Problem[] = [];
  try {
    const parser = new Parser(text, (at, message) => problems.push({ message, path: [], at: positionOf(at) }));
    const contents = yield* parser.file();
    return opened(contents, { resolve: () => undefined, positionOf, problems, warnings: [] });
  } catch (reason) {
    if (!(reason instanceof HclError)) throw reason;
    return {
      kind: 'broken',
      problems: [{ message: `invalid HCL: ${reason.message}`, path: [], at: positionOf(reason.at) }],
    };
  }
}

/** A key with its value. */
interface Item {
  readonly key: Scalar<string>;
  readonly value: Node;
  /** Written as a block, without `=`. */
  readonly isBlock: boolean;
}

/** More than any definition needs, and well within the stack. */
const MAX_DEPTH = 100;

/** Recursive descent parser with one method per grammar rule. Throws {@link HclError} at the first syntax error. */
class Parser {
  readonly #text: string;
  readonly #note: (at: number, message: string) => void;
  /** Values written as blocks; only blocks may be repeated. */
  readonly #blocks = new Set<Node>();
  #token: HclToken;
  #depth = 0;

  constructor(text: string, note: (at: number, message: string) => void) {
    this.#text = text;
    this.#note = note;
    this.#token = tokenAfter(text, 0);
  }

  *file(): Generator<void, YAMLMap> {
    const map = new YAMLMap();
    const byName = new Map<string, Pair>();
    while (!this.#isAt('end')) {
      const key = this.#key('a name');
      const isBlock = !this.#take('=');
      // A list such as `services = [ … ]` may be most of the file, so it has its own steps.
      const value = !isBlock && this.#isAt('[') ? yield* this.#topList() : this.#valueOf(isBlock);
      this.#add(map, byName, { key, value, isBlock });
      this.#take(',');
      yield;
    }
    map.range = [0, this.#text.length, this.#text.length];
    return map;
  }

  *#topList(): Generator<void, Node> {
    const open = this.#deeper();
    const list = new YAMLSeq();
    while (!this.#isAt(']')) {
      this.#listItem(list);
      yield;
    }
    return this.#closed(list, open);
  }

  /** Parses `key = value` and `key { … }`, with or without commas, up to `}`. */
  #items(): YAMLMap {
    const map = new YAMLMap();
    const byName = new Map<string, Pair>();
    while (!this.#isAt('}')) {
      const key = this.#key('a name');
      const isBlock = !this.#take('=');
      this.#add(map, byName, { key, value: this.#valueOf(isBlock), isBlock });
      this.#take(',');
    }
    return map;
  }

  #valueOf(isBlock: boolean): Node {
    return isBlock ? this.#block() : this.#value();
  }

  /**
   * Adds an item to `map`. A block may occur any number of times.
   *
   * @param byName items of `map`, by key
   */
  #add(map: YAMLMap, byName: Map<string, Pair>, { key, value, isBlock }: Item): void {
    const found = byName.get(key.value);
    if (found === undefined) {
      const pair = new Pair<unknown>(key, value);
      byName.set(key.value, pair);
      map.items.push(pair);
    } else if (isBlock && this.#blocks.has(found.value as Node))
      found.value = this.#appended(found.value as Node, value);
    else this.#note(key.range?.[0] ?? 0, 'this key is already set above');
  }

  /** Parses the rest of a block after its name: labels, then the body. */
  #block(): Node {
    if (this.#isAt('{')) {
      const body = this.#object();
      this.#blocks.add(body);
      return body;
    }
    const { at } = this.#token;
    const label = this.#key('=, { or a label in quotes');
    this.#limitDepth(at);
    const map = new YAMLMap();
    map.range = [...(label.range ?? NO_RANGE)];
    map.items.push(new Pair<unknown>(label, this.#block()));
    this.#depth -= 1;
    this.#blocks.add(map);
    return map;
  }

  /** Collects the blocks of one name in a list. */
  #appended(before: Node, block: Node): Node {
    if (before instanceof YAMLSeq) {
      before.items.push(block);
      return before;
    }
    const list = new YAMLSeq();
    list.range = before.range ?? [...NO_RANGE];
    list.items.push(before, block);
    this.#blocks.add(list);
    return list;
  }

  #key(expected: string): Scalar<string> {
    const token = this.#token;
    if (token.kind !== 'name' && token.kind !== 'text') return this.#expected(expected);
    this.#advance();
    return placed(new Scalar(token.text), token);
  }

  #value(): Node {
    const token = this.#token;
    if (this.#isAt('{')) return this.#object();
    if (this.#isAt('[')) return this.#list();
    if (token.kind === 'text') return this.#scalar(token.text);
    if (token.kind === 'number') return this.#scalar(token.value);
    const isBoolean = token.kind === 'name' && (token.text === 'true' || token.text === 'false');
    if (isBoolean) return this.#scalar(token.text === 'true');
    if (token.kind === 'name') return this.#expected('a value (a string needs quotes)');
    return this.#expected('a value');
  }

  #scalar(value: string | number | boolean): Node {
    const token = this.#token;
    this.#advance();
    return placed(new Scalar(value), token);
  }

  #object(): Node {
    const open = this.#deeper();
    const map = this.#items();
    return this.#closed(map, open);
  }

  #list(): Node {
    const open = this.#deeper();
    const list = new YAMLSeq();
    while (!this.#isAt(']')) this.#listItem(list);
    return this.#closed(list, open);
  }

  #listItem(list: YAMLSeq): void {
    list.items.push(this.#value());
    if (!this.#take(',') && !this.#isAt(']')) this.#expected(', or ]');
  }

  /** Consumes an opening bracket. */
  #deeper(): HclToken {
    const open = this.#token;
    this.#limitDepth(open.at);
    this.#advance();
    return open;
  }

  /** Limits the nesting, since each level, including a label, is a nested call. */
  #limitDepth(at: number): void {
    if ((this.#depth += 1) > MAX_DEPTH)
      throw new HclError(at, `expected at most ${MAX_DEPTH} nested brackets, found more`);
  }

  /** Consumes the closing bracket of `node`. */
  #closed(node: Node, open: HclToken): Node {
    this.#depth -= 1;
    const { end } = this.#token;
    this.#advance();
    node.range = [open.at, end, end];
    return node;
  }

  #isAt(what: Sign | 'end'): boolean {
    const token = this.#token;
    if (what === 'end') return token.kind === 'end';
    return token.kind === 'sign' && token.text === what;
  }

  #take(sign: Sign): boolean {
    const isThere = this.#isAt(sign);
    if (isThere) this.#advance();
    return isThere;
  }

  #advance(): void {
    this.#token = tokenAfter(this.#text, this.#token.end);
  }

  #expected(what: string): never {
    throw new HclError(this.#token.at, `expected ${what}, found ${describeToken(this.#token)}`);
  }
}

const NO_RANGE: readonly [number, number, number] = [0, 0, 0];

function placed<Value>(scalar: Scalar<Value>, { at, end }: HclToken): Scalar<Value> {
  scalar.range = [at, end, end];
  return scalar;
}
