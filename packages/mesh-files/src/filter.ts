import { RE2JS } from 're2js';

/** The input of a filter: a node with its service and checks, named as in Consul's API (`Service.Meta.version`). */
export interface Filterable {
  /** `Node` in responses of Consul's health API. */
  readonly Node: Readonly<Record<string, unknown>>;
  /** `Service` in responses of Consul's health API. */
  readonly Service: Readonly<Record<string, unknown>>;
  /** `Checks` in responses of Consul's health API. */
  readonly Checks: readonly Readonly<Record<string, unknown>>[];
}

/** A compiled filter, or why it cannot be compiled. */
export type ParsedFilter =
  | { readonly kind: 'filter'; selects(subject: Filterable): boolean }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * Compiles a filter expression of a service-resolver, for a mesh without Consul: `==`, `!=`, `in`, `not in`,
 * `contains`, `is empty`, `matches`, with `and`, `or`, `not` and parentheses. An empty expression selects all
 * instances.
 *
 * Results are the same as Consul's: for a missing key of a map only `==`, `in`, `contains` and `is not empty` are
 * false, and a field that Consul does not know is rejected. Never throws.
 */
export function parseFilter(text: string): ParsedFilter {
  try {
    const tokens = tokensOf(text);
    if (tokens.length === 0) return { kind: 'filter', selects: () => true };
    const selects = new FilterReader(tokens).completeExpression();
    return { kind: 'filter', selects };
  } catch (reason) {
    if (reason instanceof FilterError) return { kind: 'refused', reason: reason.message };
    throw reason;
  }
}

/** Thrown and caught in this file: parsing stops at the first error. */
class FilterError extends Error {}

type FilterTest = (subject: Filterable) => boolean;

interface FilterToken {
  readonly kind: 'word' | 'text' | 'sign';
  readonly text: string;
  /** Position of the token's first character, from 1. */
  readonly at: number;
}

const TOKEN = /\s*(?:("[^"]*"|`[^`]*`)|(==|!=|[()[\]])|([^\s()[\]"`=!]+))/y;

function tokensOf(text: string): readonly FilterToken[] {
  const tokens: FilterToken[] = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const before = TOKEN.lastIndex;
    const [all, quoted, sign, word] =
      TOKEN.exec(text) ?? refuse(`expected a filter expression, found ${text.slice(before)}`);
    const found = quoted ?? sign ?? word ?? '';
    const at = before + all.length - found.length + 1;
    if (quoted !== undefined) tokens.push({ kind: 'text', text: quoted.slice(1, -1), at });
    else tokens.push({ kind: sign === undefined ? 'word' : 'sign', text: found, at });
  }
  return tokens;
}

/** More than any hand-written filter needs, and well within the stack. */
const MAX_DEPTH = 100;

/**
 * Recursive descent parser with one method per grammar rule: `or` has the lowest precedence, then `and`, then `not`.
 */
class FilterReader {
  readonly #tokens: readonly FilterToken[];
  #next = 0;
  #depth = 0;

  constructor(tokens: readonly FilterToken[]) {
    this.#tokens = tokens;
  }

  completeExpression(): FilterTest {
    const judge = this.#or();
    if (this.#peek() !== undefined) this.#expected('and, or, or the end');
    return judge;
  }

  #or(): FilterTest {
    const parts = [this.#and()];
    while (this.#take('or')) parts.push(this.#and());
    return (subject) => parts.some((part) => part(subject));
  }

  #and(): FilterTest {
    const parts = [this.#not()];
    while (this.#take('and')) parts.push(this.#not());
    return (subject) => parts.every((part) => part(subject));
  }

  #not(): FilterTest {
    if ((this.#depth += 1) > MAX_DEPTH) refuse(`expected at most ${MAX_DEPTH} nested parts, found more`);
    const judge = this.#primary();
    this.#depth -= 1;
    return judge;
  }

  #primary(): FilterTest {
    if (this.#take('not')) {
      const inner = this.#not();
      return (subject) => !inner(subject);
    }
    if (!this.#take('(')) return this.#match();
    const inner = this.#or();
    if (!this.#take(')')) this.#expected(')');
    return inner;
  }

  /** Parses `value in selector`, or `selector operator value`. */
  #match(): FilterTest {
    const start = this.#next;
    const first = this.#value('a field or a value');
    if (this.#take('in')) return comparison('in', this.#selector(), first);
    if (this.#ahead('not', 'in')) return comparison('not in', this.#selector(), first);
    this.#next = start;
    const selector = this.#selector();
    return this.#operation(selector);
  }

  #operation(selector: Selector): FilterTest {
    if (this.#take('==')) return comparison('==', selector, this.#value('a value'));
    if (this.#take('!=')) return comparison('!=', selector, this.#value('a value'));
    if (this.#take('contains')) return comparison('in', selector, this.#value('a value'));
    if (this.#ahead('not', 'contains')) return comparison('not in', selector, this.#value('a value'));
    if (this.#take('matches')) return comparison('matches', selector, this.#value('a regular expression'));
    if (this.#ahead('not', 'matches')) return comparison('not matches', selector, this.#value('a regular expression'));
    if (this.#ahead('is', 'empty')) return comparison('empty', selector, '');
    if (this.#ahead('is', 'not', 'empty')) return comparison('not empty', selector, '');
    return this.#expected('==, !=, in, contains, matches, is empty or one of them with not');
  }

  /** Parses `Service.Meta.version` or `Service.Meta["version"]`. */
  #selector(): Selector {
    const token = this.#peek();
    if (token?.kind !== 'word') return this.#expected('a field such as Service.Meta.version');
    this.#next += 1;
    const path = token.text.split('.');
    if (!path.every((part) => /^[A-Za-z]\w*$/.test(part))) this.#refuseName(token.text);
    while (this.#take('[')) {
      path.push(this.#value('a key'));
      if (!this.#take(']')) this.#expected(']');
    }
    return selectorFor(path, token.text);
  }

  #refuseName(text: string): never {
    this.#next -= 1;
    return this.#expected(
      text.includes('-') ? 'a field (write a key with a hyphen in brackets: Service.Meta["a-b"])' : 'a field',
    );
  }

  #value(what: string): string {
    const token = this.#peek();
    if (token === undefined || token.kind === 'sign') return this.#expected(what);
    this.#next += 1;
    return token.text;
  }

  #take(text: string): boolean {
    return this.#ahead(text);
  }

  /** Consumes all of `words`, or none. */
  #ahead(...words: readonly string[]): boolean {
    const ahead = words.every((word, index) => {
      const token = this.#tokens[this.#next + index];
      return token !== undefined && token.kind !== 'text' && token.text === word;
    });
    if (ahead) this.#next += words.length;
    return ahead;
  }

  #peek(): FilterToken | undefined {
    return this.#tokens[this.#next];
  }

  #expected(what: string): never {
    const token = this.#peek();
    const found = token === undefined ? 'the end' : `${JSON.stringify(token.text)} at character ${token.at}`;
    return refuse(`expected ${what}, found ${found}`);
  }
}

function refuse(reason: string): never {
  throw new FilterError(reason);
}

/** The type of a field, which determines its operators. */
type Shape = 'text' | 'number' | 'boolean' | 'list' | 'map';

interface Selector {
  readonly name: string;
  readonly shape: Shape;
  /** Returns the values of the field: several for a field of checks, none when a key of a map is missing. */
  find(subject: Filterable): readonly unknown[];
  /**
   * Whether the field belongs to a list of checks, any of which may match: the field then always exists, although the
   * list may be empty.
   */
  readonly each: boolean;
}

/** Types of fields by path; `*` stands for any key of a map. */
const SHAPES: Readonly<Record<string, Shape>> = {
  'Node.ID': 'text',
  'Node.Node': 'text',
  'Node.Address': 'text',
  'Node.Datacenter': 'text',
  'Node.Meta': 'map',
  'Node.Meta.*': 'text',
  'Node.TaggedAddresses': 'map',
  'Node.TaggedAddresses.*': 'text',
  'Service.Kind': 'text',
  'Service.ID': 'text',
  'Service.Service': 'text',
  'Service.Tags': 'list',
  'Service.Address': 'text',
  'Service.Port': 'number',
  'Service.Meta': 'map',
  'Service.Meta.*': 'text',
  'Service.TaggedAddresses': 'map',
  'Service.TaggedAddresses.*.Address': 'text',
  'Service.TaggedAddresses.*.Port': 'number',
  'Service.Weights.Passing': 'number',
  'Service.Weights.Warning': 'number',
  'Service.EnableTagOverride': 'boolean',
  'Service.Proxy.DestinationServiceName': 'text',
  'Service.Proxy.DestinationServiceID': 'text',
  'Service.Connect.Native': 'boolean',
  Checks: 'list',
  'Checks.CheckID': 'text',
  'Checks.Name': 'text',
  'Checks.Node': 'text',
  'Checks.Notes': 'text',
  'Checks.Output': 'text',
  'Checks.ServiceID': 'text',
  'Checks.ServiceName': 'text',
  'Checks.ServiceTags': 'list',
  'Checks.Status': 'text',
};

const FIELDS: ReadonlyMap<string, Shape> = new Map(Object.entries(SHAPES));

function selectorFor(path: readonly string[], name: string): Selector {
  const wild = path.slice(0, 2).concat('*', path.slice(3)).join('.');
  const shape = FIELDS.get(path.join('.')) ?? FIELDS.get(wild);
  if (shape === undefined) refuse(`expected a field of an instance, found ${name}`);
  return { name, shape, each: path[0] === 'Checks', find: (subject) => valuesAt([subject], path) };
}

function valuesAt(from: readonly unknown[], [key, ...rest]: readonly string[]): readonly unknown[] {
  if (key === undefined) return from;
  const next = from.flatMap((value) => (Array.isArray(value) ? (value as readonly unknown[]) : [value]));
  return valuesAt(
    next.flatMap((value) => (isRecord(value) && Object.hasOwn(value, key) ? [value[key]] : [])),
    rest,
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

type Operator = '==' | '!=' | 'in' | 'not in' | 'matches' | 'not matches' | 'empty' | 'not empty';

/** Operators by type, as in Consul. */
const OPERATORS: Readonly<Record<Shape, readonly Operator[]>> = {
  text: ['==', '!=', 'in', 'not in', 'matches', 'not matches'],
  number: ['==', '!='],
  boolean: ['==', '!='],
  list: ['in', 'not in', 'empty', 'not empty'],
  map: ['in', 'not in', 'empty', 'not empty'],
};

function comparison(operator: Operator, selector: Selector, operand: string): FilterTest {
  const { name, shape } = selector;
  if (!OPERATORS[shape].includes(operator))
    refuse(`expected another operator for ${name}, found ${operator}: it is a ${shape}`);
  if (shape === 'number' && !/^-?\d+$/.test(operand))
    refuse(`expected a number for ${name}, found ${JSON.stringify(operand)}`);
  const isHit = predicate(operator, shape, operand);
  return (subject) => {
    const values = selector.find(subject);
    if (values.length === 0) return holdsForNothing(operator, selector);
    return values.some(isHit);
  };
}

/** Returns the result for a missing key. As in Consul, `!=`, `not in` and even `matches` are true. */
function holdsForNothing(operator: Operator, { each }: Selector): boolean {
  if (each) return operator === 'empty';
  return operator !== '==' && operator !== 'in' && operator !== 'not empty';
}

function predicate(operator: Operator, shape: Shape, operand: string): (value: unknown) => boolean {
  switch (operator) {
    case '==':
      return (value) => isSame(value, shape, operand);
    case '!=':
      return (value) => !isSame(value, shape, operand);
    case 'in':
      return (value) => holds(value, operand);
    case 'not in':
      return (value) => !holds(value, operand);
    case 'empty':
      return (value) => isEmpty(value);
    case 'not empty':
      return (value) => !isEmpty(value);
    case 'matches':
    case 'not matches': {
      const expression = compiled(operand);
      return (value) => expression.test(String(value)) === (operator === 'matches');
    }
  }
}

function isSame(value: unknown, shape: Shape, operand: string): boolean {
  if (shape === 'number') return Number(value ?? 0) === Number(operand);
  return (typeof value === 'boolean' ? String(value) : (value ?? '')) === operand;
}

/** Whether a list contains an element, a map a key, or a string a substring. */
function holds(value: unknown, operand: string): boolean {
  if (typeof value === 'string') return value.includes(operand);
  if (Array.isArray(value)) return value.includes(operand);
  return isRecord(value) && Object.hasOwn(value, operand);
}

function isEmpty(value: unknown): boolean {
  return !isRecord(value) || Object.keys(value).length === 0;
}

/** Compiles Go's regular expressions, as Consul does: they run in linear time on any input. */
function compiled(expression: string): RE2JS {
  try {
    return RE2JS.compile(expression);
  } catch {
    return refuse(`expected a regular expression, found ${JSON.stringify(expression)}`);
  }
}
