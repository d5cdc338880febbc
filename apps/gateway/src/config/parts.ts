import type { PluginParts } from '@meshgate/core/parts';
import type { PluginServices } from './plugin-services.ts';

/** What plugins have added, and what they were lent. */
export interface InstalledParts extends PluginParts {
  readonly lent: PluginServices;
}
