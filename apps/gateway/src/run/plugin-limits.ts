// Restrictions for modules of plugins in this process.
import { Console } from 'node:console';
import { Writable } from 'node:stream';

/** Receives printed output, one or more lines at a time. */
export type PrintListener = (output: string) => void;

/**
 * Prevents plugins from ending the process, which would cut every connection without a log line.
 *
 * @returns the original `process.exit`
 */
export function forbidExit(): (status: number) => never {
  const exit = process.exit.bind(process);
  process.exit = (status) => {
    throw new Error(`process.exit(${status ?? ''}) refused: a plugin cannot end the process`);
  };
  return exit;
}

/** Redirects `console` to `listener`, because standard output is a log or the output of a command. */
export function redirectConsole(listener: PrintListener): void {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      listener(String(chunk).trimEnd());
      done();
    },
  });
  globalThis.console = new Console(stream);
}
