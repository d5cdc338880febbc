import { addressSet, isAddressOrBlock } from '@meshgate/core/parts';
import type { AddressSet } from '@meshgate/core/parts';

/** A list of addresses and blocks. */
export type AddressList = Pick<AddressSet, 'has'>;

/**
 * Parses addresses and blocks: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`, and `unix` for clients of a unix socket.
 *
 * @throws Error that names the invalid entry
 */
export function addressList(entries: readonly string[]): AddressList {
  return addressSet(entries);
}

export { isAddressOrBlock };
