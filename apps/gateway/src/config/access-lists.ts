import { resolve } from 'node:path';
import { addressListProblems } from '@meshgate/documents';
import type { AccessRules, Problem, Route } from '@meshgate/core';
import type { ListenerSettings } from './config-schema.ts';

/** Returns `listener` with absolute paths of address lists. */
export function withAbsoluteLists(listener: ListenerSettings, baseDir: string): ListenerSettings {
  const { access } = listener;
  if (access === undefined) return listener;
  const { allowFile, denyFile } = access;
  return {
    ...listener,
    access: {
      ...access,
      ...(allowFile !== undefined && { allowFile: resolve(baseDir, allowFile) }),
      ...(denyFile !== undefined && { denyFile: resolve(baseDir, denyFile) }),
    },
  };
}

/** Returns the files that access rules name, without duplicates. */
export function listFilesOf(all: readonly { readonly access?: AccessRules }[]): readonly string[] {
  const named = all.flatMap(({ access = {} }) => [access.allowFile, access.denyFile]);
  return [...new Set(named.filter((path) => path !== undefined))];
}

/** Returns every problem of the files that access rules name, with its position in the file. */
export async function accessListProblems(
  listeners: readonly ListenerSettings[],
  routes: readonly Route[],
  baseDir: string,
): Promise<readonly Problem[]> {
  const paths = listFilesOf([...listeners.map((listener) => withAbsoluteLists(listener, baseDir)), ...routes]);
  const problems = await Promise.all(paths.map((path) => addressListProblems(path)));
  return problems.flat();
}
