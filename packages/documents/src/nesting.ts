import type { Problem } from '@meshgate/core';
import { Lexer } from 'yaml';
import type { DocumentPosition } from './field.ts';

/**
 * What is nested too deeply in a YAML or JSON text. Judged by its tokens alone, without recursion, since a parser runs out of stack on
 * some thousand levels, and V8 ends the process when that happens in one of its own compilers. In steps.
 *
 * @param placeOf the position of an offset into `text`
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
    // The lexer's own marks, which are not in the text: a document, a plain scalar.
    if (!MARKS.has(token)) offset += token.length;
    if ((count += 1) % TOKENS_PER_STEP === 0) yield;
  }
  return [];
}

/** Between two checks of the clock: a tenth of a millisecond of work. */
const TOKENS_PER_STEP = 200;

/** Levels of brackets and of indentation at the last token. */
class Depth {
  #brackets = 0;
  /** Indentation of its line, by spaces or list dashes. */
  #column = 0;
  #isIndenting = true;

  /** Whether `token` exceeds the limit. */
  over(token: string): boolean {
    if (token === '[' || token === '{') this.#brackets += 1;
    else if (token === ']' || token === '}') this.#brackets -= 1;
    return this.#brackets > MAX_LEVELS || this.#isIndentedTooFar(token);
  }

  /** A block level takes at least one column, also when several start on one line: `- - -`. */
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

/** A route file has four levels, a Consul definition a dozen. */
export const MAX_LEVELS = 200;

const TOO_DEEP = `expected at most ${MAX_LEVELS} levels, found more`;

const MARKS: ReadonlySet<string> = new Set(['\u0002', '\u0018', '\u001f', '\ufeff']);
