/** Lets several waiters wait for a condition, each for its own. */
export class Changes {
  readonly #checks = new Set<() => void>();

  /** Something has changed: all waiters check again. */
  announce(): void {
    for (const check of this.#checks) check();
  }

  /** The result of `find`, called now and after each change until it is defined. Rejects with what `find` throws. */
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
