import type { Paint } from './report.ts';

/** Where messages for people go. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** A step that takes a while: reported at its start, on a terminal, and at its end, with its duration. */
export class Progress {
  readonly #output: Output;
  readonly #paint: Paint;

  constructor(output: Output, paint: Paint) {
    this.#output = output;
    this.#paint = paint;
  }

  print(text: string): void {
    this.#output.write(`${text}\n`);
  }

  async during<T>(what: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    if (this.#output.isTTY === true) this.#output.write(`${this.#paint('dim', `..  ${what}`)}\r`);
    const result = await work();
    this.print(`${this.#paint('green', 'ok')}  ${what} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
    return result;
  }
}
