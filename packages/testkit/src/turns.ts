/** Resolves once `holds`, asking again in every turn of the event loop; the test's own time limit bounds it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets loops of earlier tests, which rest a turn after their last descriptor, give back what they have. */
export async function loopsIdle(): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}
