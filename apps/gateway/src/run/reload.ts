import { ConfigProblems, formatProblem } from '@meshgate/core';
import { parseConfig } from '../config/config.ts';
import type { Gateway } from './gateway.ts';
import { readConfigText } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { Logger } from '../log/logger.ts';

/**
 * Has the sources read their files again, and looks whether the configuration itself is still the one in use: a change of that
 * takes a restart, and whoever made it should know. Never rejects.
 */
export async function reload({ file, text }: LoadedConfig, gateway: Gateway, logger: Logger): Promise<void> {
  logger.info('the files are read again');
  gateway.refresh();
  if (file === undefined) return;
  try {
    const now = await readConfigText(file);
    if (now === text) return;
    parseConfig(now, file);
    logger.warn({ file }, 'the configuration has changed: that takes a restart; routes are followed without one');
  } catch (reason) {
    const lines = reason instanceof ConfigProblems ? reason.problems.map(formatProblem) : [String(reason)];
    for (const line of lines) logger.error(`the configuration would not start again: ${line}`);
  }
}
