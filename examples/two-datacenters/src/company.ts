import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Program } from './program.ts';

/** The programs and other resources of a demonstration. Disposing of it stops them all. */
export class Company implements AsyncDisposable {
  readonly programs: Program[] = [];
  /** Rejects as soon as a program exits unexpectedly. */
  readonly deserted: Promise<never>;
  readonly #logs: string;
  readonly #others: AsyncDisposable[] = [];
  #desert: (reason: Error) => void = () => undefined;
  #isOver = false;

  private constructor(logs: string) {
    this.#logs = logs;
    this.deserted = new Promise((_resolve, reject) => (this.#desert = reject));
    // Handled where it is awaited.
    this.deserted.catch(() => undefined);
  }

  /** @param logs a folder for the programs' output, created here */
  static async gather(logs: string): Promise<Company> {
    await mkdir(logs, { recursive: true });
    return new Company(logs);
  }

  /** @throws Error when the demonstration has ended */
  start(name: string, command: string, args: readonly string[]): Program {
    if (this.#isOver) throw new Error(`expected to start ${name}, found the demonstration ended`);
    const logFile = join(this.#logs, `${name.replaceAll(' ', '-')}.log`);
    const program = new Program({ name, command, args, logFile });
    this.programs.push(program);
    void program.ended.then((end) => {
      if (!this.#isOver) this.#desert(new Error(program.complaint(end)));
    });
    return program;
  }

  /** Disposes of it when the programs have exited, at once when they already have. */
  async keep(other: AsyncDisposable): Promise<void> {
    if (this.#isOver) await other[Symbol.asyncDispose]();
    else this.#others.push(other);
  }

  /** For an immediate exit. */
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
