import { dirname, resolve } from 'node:path';

/** Returns the folder for relative paths of a configuration: that of its file, else the working directory. */
export function baseDirOf(file: string | undefined): string {
  return file === undefined ? resolve() : dirname(resolve(file));
}
