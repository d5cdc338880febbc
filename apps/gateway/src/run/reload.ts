import { ConfigProblems, formatProblem } from '@meshgate/core';
import { parseConfig } from '../config/config.ts';
import type { Gateway } from './gateway.ts';
import { readConfigText } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { Logger } from '../log/logger.ts';
import { say } from '../log/messages.ts';

/**
 * Has the sources read their files again, and looks whether the configuration itself is still the one in use: a change of that
 * takes a restart, and whoever made it should know. Never rejects.
 */
export async function reload({ file, text }: LoadedConfig, gateway: Gateway, logger: Logger): Promise<void> {
  say(logger, 'reloading');
  gateway.refresh();
  if (file === undefined) return;
  try {
    const now = await readConfigText(file);
    if (now === text) return;
    parseConfig(now, file);
    say(logger, 'configChanged', {}, { file });
  } catch (reason) {
    const lines = reason instanceof ConfigProblems ? reason.problems.map(formatProblem) : [String(reason)];
    for (const problem of lines) say(logger, 'configInvalid', { problem });
  }
}
