/** Resolves when `holds`, checked in every turn of the event loop; the test's own timeout bounds it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets the loops of earlier tests release their resources, a turn after their last descriptor has closed. */
export async function loopsIdle(): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}
