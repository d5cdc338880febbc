import type { Problem } from '@meshgate/core';
import { Lexer } from 'yaml';
import type { DocumentPosition } from './field.ts';

/**
 * Returns the problem of a YAML or JSON text that is nested too deeply. Looks at tokens only, without recursion: a
 * recursive parser overflows the stack at a few thousand levels, and V8 ends the process when that happens in one of
 * its own compilers. Works in steps.
 *
 * @param positionOf maps an offset into `text` to its position
 */
export function* nestingProblems(
  text: string,
  positionOf: (offset: number) => DocumentPosition,
): Generator<void, readonly Problem[]> {
  const depth = new Depth();
  let offset = 0;
  let count = 0;
  for (const token of new Lexer().lex(text)) {
    if (depth.over(token)) return [{ message: TOO_DEEP, path: [], at: positionOf(offset) }];
    // Markers of the lexer that are not in the text: a document, a plain scalar.
    if (!MARKS.has(token)) offset += token.length;
    if ((count += 1) % TOKENS_PER_STEP === 0) yield;
  }
  return [];
}

/** Work between two checks of the clock: about 0.1 ms. */
const TOKENS_PER_STEP = 200;

/** Tracks the levels of brackets and indentation, token by token. */
class Depth {
  #brackets = 0;
  /** Indentation of the current line, by spaces or list dashes. */
  #column = 0;
  #isIndenting = true;

  /** Whether `token` exceeds the limit. */
  over(token: string): boolean {
    if (token === '[' || token === '{') this.#brackets += 1;
    else if (token === ']' || token === '}') this.#brackets -= 1;
    return this.#brackets > MAX_LEVELS || this.#isIndentedTooFar(token);
  }

  /** A block level takes at least one column, even when several start on one line: `- - -`. */
  #isIndentedTooFar(token: string): boolean {
    if (token.includes('\n')) {
      this.#column = 0;
      this.#isIndenting = true;
      return false;
    }
    if (!this.#isIndenting) return false;
    if (/^[ ?-]*$/.test(token)) this.#column += token.length;
    else this.#isIndenting = MARKS.has(token);
    return this.#column > MAX_LEVELS && !/^ *(#|$)/.test(token);
  }
}

/** A route file has four levels, a Consul definition about twelve. */
export const MAX_LEVELS = 200;

const TOO_DEEP = `expected at most ${MAX_LEVELS} levels, found more`;

const MARKS: ReadonlySet<string> = new Set(['\u0002', '\u0018', '\u001f', '\ufeff']);
