import { ProxyError } from '../errors.ts';
import type { AccessRules, ListenAddress } from '../routes/route.ts';
import { addressSet } from './address-set.ts';
import type { AddressSet } from './address-set.ts';

/** Address list files named by access rules, loaded and followed by the implementer. */
export interface AddressLists {
  /** Returns the addresses in the file at `path`, or `undefined` before its first load. */
  get(path: string): AddressSet | undefined;
  /** Starts to follow the file. Resolves after its first load, whether that succeeded or not. Never rejects. */
  read(path: string): Promise<void>;
}

/** Access rules, compiled for lookup. */
export class Access {
  readonly #allow: AddressSet | undefined;
  readonly #deny: AddressSet | undefined;
  readonly #rules: AccessRules;
  readonly #lists: AddressLists | undefined;
  // One error per reason: creating errors during a flood is too expensive.
  readonly #denied: ProxyError;
  readonly #notAllowed: ProxyError;
  readonly #unread: ProxyError;

  /**
   * @param of owner of the rules, for error messages: `listener edge`
   * @param lists files that the rules name; if absent, rules with a file deny all clients
   * @throws Error for an entry that is not an address or block
   */
  constructor(of: string, rules: AccessRules, lists?: AddressLists) {
    const { allow, deny } = rules;
    this.#rules = rules;
    this.#lists = lists;
    this.#allow = allow === undefined ? undefined : addressSet(allow);
    this.#deny = deny === undefined || deny.length === 0 ? undefined : addressSet(deny);
    this.#denied = new ProxyError('CLIENT_DENIED', `access of ${of}: its address is denied`);
    this.#notAllowed = new ProxyError('CLIENT_DENIED', `access of ${of}: its address is not among those allowed`);
    this.#unread = new ProxyError('CLIENT_DENIED', `access of ${of}: a list of addresses could not be read`);
  }

  /** Resolves when the files have been loaded or have failed to; `undefined` if there is nothing to wait for. */
  get ready(): Promise<unknown> | undefined {
    const lists = this.#lists;
    const { allowFile, denyFile } = this.#rules;
    if (lists === undefined || (allowFile === undefined && denyFile === undefined)) return undefined;
    const unread = [allowFile, denyFile].filter((path) => path !== undefined && lists.get(path) === undefined);
    if (unread.length === 0) return undefined;
    return Promise.all(unread.map((path) => (path === undefined ? undefined : lists.read(path))));
  }

  /** Returns the reason for denying a client, or `undefined` if it may connect. */
  refusal(host: string): ProxyError | undefined {
    if (this.#deny?.has(host) === true) return this.#denied;
    const { allowFile, denyFile } = this.#rules;
    if (denyFile !== undefined) {
      const denied = this.#lists?.get(denyFile);
      if (denied === undefined) return this.#unread;
      if (denied.has(host)) return this.#denied;
    }
    if (this.#allow === undefined && allowFile === undefined) return undefined;
    if (this.#allow?.has(host) === true) return undefined;
    if (allowFile === undefined) return this.#notAllowed;
    const allowed = this.#lists?.get(allowFile);
    if (allowed === undefined) return this.#unread;
    return allowed.has(host) ? undefined : this.#notAllowed;
  }
}

/**
 * Returns a lookup of the access rules of `listeners`, by listener name.
 *
 * @throws Error for an entry that is not an address or block
 */
export function accessByListener(
  listeners: readonly ListenAddress[],
  lists?: AddressLists,
): (listener: string) => Access | undefined {
  const known = new Map<string, Access>();
  for (const { name, access } of listeners)
    if (access !== undefined) known.set(name, new Access(`listener ${name}`, access, lists));
  return (listener) => known.get(listener);
}
