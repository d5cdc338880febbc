/** Lets any number of waiters wait, each for its own condition. */
export class Changes {
  readonly #checks = new Set<() => void>();

  /** Makes all waiters check their conditions. */
  announce(): void {
    for (const check of this.#checks) check();
  }

  /** Resolves with the first defined result of `find`, called now and at each change. Rejects with what it throws. */
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
