import {
  checkAgent,
  checkRegistration,
  optionsOf,
  parseSettings,
  RIGHTS_OF_READERS,
  rightsOfGateway,
} from '@meshgate/consul-source';
import type { AgentOptions } from '@meshgate/consul-source';
import { baseDirOf } from '../config/base-dir.ts';
import type { PluginUse } from '../config/config-schema.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { withReadyCheck } from '../config/ready-check.ts';
import type { Finding } from './finding.ts';
import { checkNames } from './name-check.ts';
import { checkPorts } from './port-check.ts';
import type { ListenTarget } from './port-check.ts';
import { checkSources, addressesOf } from './source-check.ts';
import { checkStateFolder } from './state-folder-check.ts';

/**
 * Checks the environment that a start needs: the Consul agent, the route sources, DNS, the ports, the state folder.
 * Registers nothing; takes 30 s at most.
 *
 * @param options `withNames`: whether to resolve the names of all backends
 */
export async function checkLive(
  loaded: LoadedConfig,
  { withNames = true }: { readonly withNames?: boolean } = {},
): Promise<readonly Finding[]> {
  const { config, parts } = loaded;
  const [agents, registrations, sources, ports, around] = await Promise.all([
    agentFindings(loaded, gatewayRights),
    registrationFindings(loaded),
    sourceFindings(loaded, withNames),
    addressesOf(parts.listenerSources, LISTENERS_PATIENCE_MS).then((locations) => portFindings(loaded, locations)),
    stateFindings(config.stateDir),
  ]);
  return [...agents, ...registrations, ...sources, ...ports, ...around];
}

/** Like {@link checkLive}, for a sidecar, whose routes and listeners come from its agent. */
export async function checkSidecarLive(loaded: LoadedConfig): Promise<readonly Finding[]> {
  const [agents, ports, around] = await Promise.all([
    agentFindings(loaded, () => RIGHTS_OF_READERS),
    portFindings(loaded, []),
    stateFindings(loaded.config.stateDir),
  ]);
  return [...agents, ...ports, ...around];
}

type Rights = Parameters<typeof checkAgent>[1];

async function agentFindings(
  { file, config }: LoadedConfig,
  rightsOf: (settings: ReturnType<typeof parseSettings>) => Rights,
): Promise<readonly Finding[]> {
  const baseDir = baseDirOf(file);
  const findings = config.sources.filter(isConsul).map(async ({ settings: written }) => {
    const settings = parseSettings(written);
    return checkAgent(optionsOf(settings, baseDir), rightsOf(settings));
  });
  return (await Promise.all(findings)).flat();
}

async function registrationFindings({ file, config }: LoadedConfig): Promise<readonly Finding[]> {
  const baseDir = baseDirOf(file);
  const placed = config.sources.map((use, index) => ({ ...use, list: 'sources', path: ['sources', index] }) as const);
  const findings = withReadyCheck(placed, config.admin)
    .filter(isConsul)
    .map(({ settings }) => checkRegistration(optionsOf(parseSettings(settings), baseDir)));
  return (await Promise.all(findings)).flat();
}

/** Returns the connection options of the agents in a configuration. */
export function agentsOf({ file, config }: LoadedConfig): readonly AgentOptions[] {
  const baseDir = baseDirOf(file);
  return config.sources.filter(isConsul).map(({ settings }) => optionsOf(parseSettings(settings), baseDir));
}

function isConsul({ use }: PluginUse): boolean {
  return use === 'consul';
}

function gatewayRights({ register }: ReturnType<typeof parseSettings>): Rights {
  return rightsOfGateway(register === undefined ? undefined : (register.service ?? 'mesh-gateway'));
}

async function sourceFindings({ parts }: LoadedConfig, withNames: boolean): Promise<readonly Finding[]> {
  const { findings, addresses } = await checkSources(parts.sources);
  return withNames ? [...findings, ...(await checkNames(addresses))] : findings;
}

function portFindings(
  { config: { listeners, admin } }: LoadedConfig,
  found: readonly ListenTarget[],
): Promise<readonly Finding[]> {
  const own = listeners.map(({ name, endpoint }) => ({ what: `listener ${name}`, endpoint }));
  const ofAdmin = admin.map(({ endpoint }) => ({ what: 'admin', endpoint }));
  return checkPorts(
    [...own, ...found, ...ofAdmin],
    admin.map(({ endpoint }) => endpoint),
  );
}

async function stateFindings(stateDir: string | undefined): Promise<readonly Finding[]> {
  return stateDir === undefined ? [] : [await checkStateFolder(stateDir)];
}

/** A working agent has reported the listeners by then. */
const LISTENERS_PATIENCE_MS = 3_000;
