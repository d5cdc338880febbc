/**
 * Returns columns or rows of a terminal; `undefined` when they are not known: a serial console or `docker exec -t`
 * reports 0.
 */
export function reportedSize(size: number | undefined): number | undefined {
  return size === 0 ? undefined : size;
}
