import { ProxyError } from '../errors.ts';
import type { AccessRules, ListenAddress } from '../routes/route.ts';
import { addressSet } from './address-set.ts';
import type { AddressSet } from './address-set.ts';

/** Files with addresses that access rules name, read and followed by somebody. */
export interface AddressLists {
  /** What stands in the file at `path`; `undefined` before it has been read for the first time. */
  get(path: string): AddressSet | undefined;
  /** Follows the file from now on. Resolves when it has been read, or cannot be. Never rejects. */
  read(path: string): Promise<void>;
}

/** Access rules, ready to be asked. */
export class Access {
  readonly #allow: AddressSet | undefined;
  readonly #deny: AddressSet | undefined;
  readonly #rules: AccessRules;
  readonly #lists: AddressLists | undefined;
  // One for each reason: a flood is no time to make errors.
  readonly #denied: ProxyError;
  readonly #notAllowed: ProxyError;
  readonly #unread: ProxyError;

  /**
   * @param of whose rules they are, for error messages: `listener edge`
   * @param lists for the files that the rules name; nobody may connect by rules with a file when it is absent
   * @throws Error for an entry that is no address
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

  /** Resolves when the files have been read, or cannot be; `undefined` when there is nothing to wait for. */
  get ready(): Promise<unknown> | undefined {
    const lists = this.#lists;
    const { allowFile, denyFile } = this.#rules;
    if (lists === undefined || (allowFile === undefined && denyFile === undefined)) return undefined;
    const unread = [allowFile, denyFile].filter((path) => path !== undefined && lists.get(path) === undefined);
    if (unread.length === 0) return undefined;
    return Promise.all(unread.map((path) => (path === undefined ? undefined : lists.read(path))));
  }

  /** Why a client may not connect; `undefined` when it may. */
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
 * The access rules of `listeners`, by name.
 *
 * @throws Error for an entry that is no address
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
