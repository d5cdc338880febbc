import type { PluginParts } from '@meshgate/core/parts';
import type { PluginServices } from './plugin-services.ts';

/** What plugins added and what they received. */
export interface InstalledParts extends PluginParts {
  readonly lent: PluginServices;
}
