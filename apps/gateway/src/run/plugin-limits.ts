// What modules of plugins may not do to the process that they are loaded into.
import { Console } from 'node:console';
import { Writable } from 'node:stream';

/** What has been printed, a line or more at once. */
export type PrintListener = (output: string) => void;

/** Nobody but us ends the process: an exit elsewhere would cut every connection without a word. @returns the real one */
export function forbidExit(): (status: number) => never {
  const exit = process.exit.bind(process);
  process.exit = (status) => {
    throw new Error(`process.exit(${status ?? ''}) refused: a plugin cannot end the process`);
  };
  return exit;
}

/** Standard output is a log, or the output of a command: what modules print with `console` goes to `listener`. */
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
