import { defined } from '@meshgate/core/parts';
import { describePermission, type Intention } from '@meshgate/mesh';
import type { AgentRequest, ResponseFormat } from './agent.ts';
import { type JsonObject, list, object, objects, optionalText, text } from './json.ts';

/** Returns the request for the intentions for connections to `destination`, in Consul's order of precedence. */
export function intentionsAt(destination: string): Pick<AgentRequest, 'query'> & ResponseFormat<readonly Intention[]> {
  return {
    path: 'connect/intentions/match',
    query: { by: 'destination', name: destination },
    expected: 'intentions by destination',
    read: (json) => intentionsOf(json, destination),
  };
}

function intentionsOf(json: unknown, destination: string): readonly Intention[] | undefined {
  const byName = object(json);
  if (byName === undefined) return undefined;
  return objects(byName[destination]).map((intention): Intention => {
    const action = text(intention['Action']);
    const permissions = objects(intention['Permissions']).map(permissionIn);
    return {
      source: text(intention['SourceName']),
      sourceNamespace: text(intention['SourceNS']) || 'default',
      ...defined({
        sourcePeer: optionalText(intention['SourcePeer']),
        sourceGroup: optionalText(intention['SourceSamenessGroup']),
      }),
      destination: text(intention['DestinationName']),
      destinationNamespace: text(intention['DestinationNS']) || 'default',
      // An intention with permissions has no action of its own.
      action: action === 'allow' || action === 'deny' ? action : 'http',
      ...(permissions.length === 0 ? {} : { permissions }),
    };
  });
}

function permissionIn(permission: JsonObject): string {
  const http = object(permission['HTTP']) ?? {};
  return describePermission({
    action: text(permission['Action']),
    methods: list(http['Methods']).map(text),
    path: text(http['PathExact']) || text(http['PathPrefix']) || text(http['PathRegex']),
    headers: objects(http['Header']).map((header) => text(header['Name'])),
  });
}
