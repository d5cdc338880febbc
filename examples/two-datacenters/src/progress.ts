import type { Paint } from './report.ts';

/** Where words for people go. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** What takes a while: said when it begins, on a terminal, and when it is done, with the time it took. */
export class Progress {
  readonly #output: Output;
  readonly #paint: Paint;

  constructor(output: Output, paint: Paint) {
    this.#output = output;
    this.#paint = paint;
  }

  say(text: string): void {
    this.#output.write(`${text}\n`);
  }

  async during<T>(what: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    if (this.#output.isTTY === true) this.#output.write(`${this.#paint('dim', `..  ${what}`)}\r`);
    const result = await work();
    this.say(`${this.#paint('green', 'ok')}  ${what} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
    return result;
  }
}
