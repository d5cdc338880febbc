import type { PluginParts } from '@meshgate/core/parts';
import type { PluginServices } from './plugin-services.ts';

/** The parts that plugins added, and the services that they received. */
export interface InstalledParts extends PluginParts {
  readonly lent: PluginServices;
}
