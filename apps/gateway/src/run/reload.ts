import { ConfigProblems } from '@meshgate/core';
import type { LoadedConfig } from '../config/load-config.ts';
import { partsOf } from '../config/plugins.ts';
import { problemLines } from '../config/shown-problems.ts';
import type { Logger } from '../log/logger.ts';
import { logMessage } from '../log/messages.ts';
import { sharesOf } from '../workers/shares.ts';
import { bindFailure } from './bind-failure.ts';
import type { Gateway } from './gateway.ts';
import { thisMachine } from './machine.ts';
import type { ReloadOutcome } from './process-control.ts';
import { changeText, planReload, settingsOf } from './reload-plan.ts';
import type { FlatSettings, SettingChange } from './reload-plan.ts';
import { reloaded } from './setting-effects.ts';
import type { LiveSetting } from './setting-effects.ts';

/** Dependencies of a {@link Reloader}. */
export interface ReloaderOptions {
  /** The configuration in use at the start. */
  readonly loaded: LoadedConfig;
  readonly gateway: Pick<Gateway, 'live' | 'refresh' | 'prepare'>;
  readonly logger: Logger;
  /** Reads the configuration again. Rejects with `ConfigProblems` when it is invalid. */
  loadAgain(earlier: LoadedConfig): Promise<LoadedConfig>;
}

/** Applies changed configurations, one reload after the other. An invalid configuration changes nothing. */
export class Reloader {
  readonly #options: ReloaderOptions;
  #current: LoadedConfig;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#current = options.loaded;
  }

  /** The configuration in use. */
  get settings(): FlatSettings {
    return settingsOf(this.#current);
  }

  /** Reads the configuration and the route files again. Never rejects. */
  reload(): Promise<ReloadOutcome> {
    const outcome = this.#last.then(() => this.#reload());
    this.#last = outcome;
    return outcome;
  }

  async #reload(): Promise<ReloadOutcome> {
    const { gateway, logger } = this.#options;
    logMessage(logger, 'reloading');
    gateway.refresh();
    const outcome = await this.#apply();
    const { uses, parts } = this.#current;
    parts.lent.keepOnly(new Set(uses.flatMap(({ lease }) => lease ?? [])));
    if (outcome.kind === 'refused')
      for (const problem of outcome.problems) logMessage(logger, 'reloadRefused', { problem });
    else this.#report(outcome.changes);
    return outcome;
  }

  async #apply(): Promise<ReloadOutcome> {
    const { gateway, loadAgain } = this.#options;
    const before = this.#current;
    let { config: latest } = before;
    try {
      const wanted = await loadAgain(before);
      latest = wanted.config;
      const changes = planReload(this.settings, settingsOf(wanted), gateway.live);
      const next = continuing(before, wanted, { changes, live: gateway.live });
      if (changes.some(({ effect }) => effect !== 'restart')) {
        const { config, parts } = next;
        const change = await gateway.prepare({ config, parts, limits: sharesOf(config, thisMachine()).each });
        await change.commit();
      }
      this.#current = next;
      return { kind: 'reloaded', changes };
    } catch (reason) {
      if (reason instanceof ConfigProblems)
        return { kind: 'refused', problems: problemLines(reason.problems), isConfigWrong: true };
      const message = reason instanceof Error ? reason.message : String(reason);
      return { kind: 'refused', problems: [bindFailure(reason, latest) ?? message], isConfigWrong: false };
    }
  }

  #report(changes: readonly SettingChange[]): void {
    const { logger } = this.#options;
    const done = changes.filter(({ effect }) => effect !== 'restart');
    const pending = changes.filter(({ effect }) => effect === 'restart');
    const text = done.length === 0 ? 'nothing changed' : done.map(changeText).join('; ');
    if (done.length > 0 || pending.length === 0) logMessage(logger, 'reloaded', { changes: text });
    if (pending.length > 0)
      logMessage(logger, 'restartNeeded', { settings: pending.map(({ setting }) => setting).join(', ') });
  }
}

/** The settings that can be changed, and their new values. */
interface Possible {
  readonly changes: readonly SettingChange[];
  readonly live: readonly LiveSetting[];
}

/** Returns `wanted`, with the values of `before` for settings that need a restart. */
function continuing(before: LoadedConfig, wanted: LoadedConfig, { changes, live }: Possible): LoadedConfig {
  const keepsSources = changes.some(({ setting, effect }) => setting.startsWith('sources') && effect === 'restart');
  const from = keepsSources ? before : wanted;
  const uses = [
    ...from.uses.filter(({ use }) => use.list === 'sources'),
    ...before.uses.filter(({ use }) => use.list === 'plugins'),
  ];
  const config = { ...reloaded(before.config, wanted.config, live), sources: from.config.sources };
  return { ...before, config, uses, parts: partsOf(uses, before.parts.lent) };
}
