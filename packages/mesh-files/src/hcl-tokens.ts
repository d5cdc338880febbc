/** An HCL token. `at` and `end` are offsets into the source. */
export type HclToken = { readonly at: number; readonly end: number } & (
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'sign'; readonly text: Sign }
  | { readonly kind: 'end' }
);

/** Characters that are tokens by themselves. */
export type Sign = '{' | '}' | '[' | ']' | '=' | ',';

/** A syntax error in the source, at offset `at`. */
export class HclError extends Error {
  override readonly name = 'HclError';
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/**
 * Returns the token that begins at or after `from`, without comments.
 *
 * @throws HclError at a syntax error
 */
export function tokenAfter(text: string, from: number): HclToken {
  const at = afterBlanks(text, from);
  const char = text.charAt(at);
  if (char === '') return { kind: 'end', at, end: at };
  if (isSign(char)) return { kind: 'sign', text: char, at, end: at + 1 };
  if (char === '"') return quotedAt(text, at);
  if (text.startsWith('<<', at)) return heredocAt(text, at);
  return numberAt(text, at) ?? nameAt(text, at) ?? refuse(at, unexpected(text, at));
}

/** Describes a token for messages (`found …`). */
export function describeToken(token: HclToken): string {
  switch (token.kind) {
    case 'end':
      return 'the end of the file';
    case 'number':
      return `the number ${token.value}`;
    case 'text':
      return JSON.stringify(token.text);
    case 'name':
    case 'sign':
      return token.text;
  }
}

const SIGNS: ReadonlySet<string> = new Set<Sign>(['{', '}', '[', ']', '=', ',']);

function isSign(char: string): char is Sign {
  return SIGNS.has(char);
}

function refuse(at: number, message: string): never {
  throw new HclError(at, message);
}

function unexpected(text: string, at: number): string {
  if (text.startsWith('/*', at)) return 'expected */ at the end of this comment, found the end of the file';
  const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
  return `expected a name, a value or a bracket, found ${JSON.stringify(char)}`;
}

/** Returns the match of the sticky `pattern` at offset `at`. */
function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}

const BLANKS = [/\s+/y, /(?:#|\/\/)[^\n]*/y, /\/\*[^]*?\*\//y];

function afterBlanks(text: string, from: number): number {
  for (let at = from; ;) {
    const blank = BLANKS.map((pattern) => matchAt(pattern, text, at)).find((match) => match !== undefined);
    if (blank === undefined) return at;
    at += blank[0].length;
  }
}

/** As in HCL 1, names may contain dots and hyphens. */
const NAME = /[\p{L}_][\p{L}\p{Nd}_.-]*/uy;

function nameAt(text: string, at: number): HclToken | undefined {
  const name = matchAt(NAME, text, at)?.[0];
  return name === undefined ? undefined : { kind: 'name', text: name, at, end: at + name.length };
}

const NUMBER = /-?(?:0[xX][\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y;

function numberAt(text: string, at: number): HclToken | undefined {
  const written = matchAt(NUMBER, text, at)?.[0];
  if (written === undefined) return undefined;
  const end = at + written.length;
  const rest = matchAt(NAME, text, end)?.[0];
  if (rest !== undefined) return refuse(at, `expected a number or a string in quotes, found ${written}${rest}`);
  return { kind: 'number', value: valueOf(written, at), at, end };
}

/** Parses a number as Go does: a leading 0 makes an integer octal, and the number must fit into 64 bits. */
function valueOf(written: string, at: number): number {
  const digits = written.replace(/^-/, '');
  const isOctal = /^0\d+$/.test(digits);
  if (isOctal && /[89]/.test(digits))
    refuse(at, `expected a number, found ${written}, which its leading 0 makes octal`);
  const value = isOctal ? Number.parseInt(digits, 8) : Number(digits);
  const isInteger = /^(?:\d+|0x.*)$/i.test(digits);
  if (!Number.isFinite(value) || (isInteger && BigInt.asIntN(64, BigInt(digits)) !== BigInt(digits)))
    refuse(at, `expected a number that fits 64 bits, found ${written}`);
  return written.startsWith('-') ? -value : value;
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};

/** Escapes with digits: an octal byte, and hexadecimal code points of three lengths. */
const CODE = /([0-3][0-7]{2})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})/y;

/** The next part of a quoted string: an escape, the start of an interpolation, or plain characters. */
const PLAIN = /[^"\\$\n\0]+/y;

function quotedAt(text: string, at: number): HclToken {
  let value = '';
  for (let next = at + 1; ;) {
    const char = text.charAt(next);
    if (char === '"') return { kind: 'text', text: value, at, end: next + 1 };
    if (char === '' || char === '\n')
      return refuse(at, 'expected " at the end of this string, found the end of the line');
    const piece = pieceAt(text, next, char);
    value += piece.text;
    next = piece.end;
  }
}

interface Piece {
  readonly text: string;
  readonly end: number;
}

function pieceAt(text: string, at: number, char: string): Piece {
  if (char === '\\') return escapeAt(text, at);
  if (text.startsWith('${', at)) return interpolationAt(text, at);
  if (char === '\0') return refuse(at, 'expected a string without NUL, found one');
  const plain = matchAt(PLAIN, text, at)?.[0] ?? char;
  return { text: plain, end: at + plain.length };
}

function escapeAt(text: string, at: number): Piece {
  const simple = ESCAPES[text.charAt(at + 1)];
  if (simple !== undefined) return { text: simple, end: at + 2 };
  const code = matchAt(CODE, text, at + 1);
  const [all, octal, ...hexadecimal] = code ?? [];
  const point = octal === undefined ? Number.parseInt(hexadecimal.find(Boolean) ?? '', 16) : Number.parseInt(octal, 8);
  if (all === undefined || !(point <= MAX_CODE_POINT))
    return refuse(at, `expected an escape such as \\n, \\" or \\u00e9, found ${text.slice(at, at + 2)}`);
  return { text: isSurrogate(point) ? '\uFFFD' : String.fromCodePoint(point), end: at + 1 + all.length };
}

/** Whether a code point is a surrogate, which HCL does not allow, not even in pairs. */
function isSurrogate(point: number): boolean {
  return point >= 0xd8_00 && point <= 0xdf_ff;
}

const MAX_CODE_POINT = 0x10_ff_ff;

/** Returns an interpolation verbatim, since Consul does not evaluate it. It may contain quotes and line breaks. */
function interpolationAt(text: string, at: number): Piece {
  let depth = 0;
  for (let next = at + 1; next < text.length; next += 1) {
    if (text.charAt(next) === '{') depth += 1;
    if (text.charAt(next) === '}') depth -= 1;
    if (depth === 0) return { text: text.slice(at, next + 1), end: next + 1 };
  }
  return refuse(at, 'expected } at the end of this ${, found none');
}

const HEREDOC = /<<(-?)([\p{L}\p{Nd}_]+)[ \t]*\r?\n/uy;

/**
 * Returns the lines up to the one that holds only the marker. After `<<-`, the marker's indentation is removed from all
 * lines.
 */
function heredocAt(text: string, at: number): HclToken {
  const [opening, dash, marker = ''] =
    matchAt(HEREDOC, text, at) ?? refuse(at, 'expected << with a marker and a line break, found something else');
  const lines: string[] = [];
  for (let next = at + opening.length; next < text.length;) {
    const lineEnd = text.indexOf('\n', next);
    const end = lineEnd === -1 ? text.length : lineEnd;
    const line = text.slice(next, end).replace(/\r$/, '');
    if (line.trim() === marker)
      return { kind: 'text', text: joined(lines, dash === '-' ? line.slice(0, line.indexOf(marker)) : ''), at, end };
    lines.push(line);
    next = end + 1;
  }
  return refuse(at, `expected a line that holds only ${marker}, found the end of the file`);
}

/** Removes the indentation from all lines, or from none if one line lacks it (as in HCL 1). */
function joined(lines: readonly string[], indent: string): string {
  const isIndented = lines.every((line) => line.startsWith(indent));
  return lines.map((line) => `${isIndented ? line.slice(indent.length) : line}\n`).join('');
}
