import { readFileSync } from 'node:fs';

/** The version in the package. */
export const VERSION: string = releaseOf(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

function releaseOf(manifest: string): string {
  const { version } = JSON.parse(manifest) as { readonly version: string };
  return version;
}
