import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Program } from './program.ts';

/** The programs of a demonstration, and what else lives as long. Disposing of it stops them all. */
export class Company implements AsyncDisposable {
  readonly programs: Program[] = [];
  /** Rejects as soon as a program ends before it is told to. */
  readonly deserted: Promise<never>;
  readonly #logs: string;
  readonly #others: AsyncDisposable[] = [];
  #desert: (reason: Error) => void = () => undefined;
  #isOver = false;

  private constructor(logs: string) {
    this.#logs = logs;
    this.deserted = new Promise((_resolve, reject) => (this.#desert = reject));
    // Whoever is interested will hear of it.
    this.deserted.catch(() => undefined);
  }

  /** @param logs a folder for what programs say, made here */
  static async gather(logs: string): Promise<Company> {
    await mkdir(logs, { recursive: true });
    return new Company(logs);
  }

  /** @throws Error when all is over */
  start(name: string, command: string, args: readonly string[]): Program {
    if (this.#isOver) throw new Error(`expected to start ${name}, found that all is over`);
    const logFile = join(this.#logs, `${name.replaceAll(' ', '-')}.log`);
    const program = new Program({ name, command, args, logFile });
    this.programs.push(program);
    void program.ended.then((end) => {
      if (!this.#isOver) this.#desert(new Error(program.complaint(end)));
    });
    return program;
  }

  /** Disposes of it when the programs have gone, at once when they have. */
  async keep(other: AsyncDisposable): Promise<void> {
    if (this.#isOver) await other[Symbol.asyncDispose]();
    else this.#others.push(other);
  }

  /** For when there is no time left at all. */
  kill(): void {
    this.#isOver = true;
    for (const program of this.programs) program.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.programs.map((program) => program.stop()));
    await Promise.all(this.#others.map((other) => other[Symbol.asyncDispose]()));
  }
}
