/** Lets many wait for something to become so, each for its own. */
export class Changes {
  readonly #checks = new Set<() => void>();

  /** Something has changed: all who wait look again. */
  announce(): void {
    for (const check of this.#checks) check();
  }

  /** What `find` finds, asked now and after each change until it is defined. Rejects with what `find` throws. */
  until<Found>(find: () => Found | undefined): Promise<Found> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        try {
          const found = find();
          if (found === undefined) return;
          resolve(found);
        } catch (reason) {
          reject(reason);
        }
        this.#checks.delete(check);
      };
      this.#checks.add(check);
      check();
    });
  }
}
