/** Work that is done in shares, so that others get their turn between them. */
export interface Task {
  /**
   * Does one share. `true` when there is more to do at once.
   *
   * @param untilMs when the turn is to end, on the monotonic clock, in milliseconds: what takes long looks at it between its steps
   */
  run(untilMs: number): boolean;
}

/**
 * Tasks in the order in which they came. Those that have just been woken go first, since most of them are small; but of those
 * that ask for more, at least one is served in each turn, so that nobody waits for ever.
 */
export class TaskQueue {
  #fresh: Task[] = [];
  #hungry: Task[] = [];

  /** How many wait. */
  get size(): number {
    return this.#fresh.length + this.#hungry.length;
  }

  /** Queues `task`, which is not queued yet. */
  add(task: Task): void {
    this.#fresh.push(task);
  }

  /** Every task at most one share, and none is begun after `untilMs`. */
  run(untilMs: number): void {
    const stillHungry: Task[] = [];
    this.#fresh = this.#share(this.#fresh, stillHungry, untilMs);
    this.#hungry = this.#share(this.#hungry, stillHungry, untilMs).concat(stillHungry);
  }

  /** @returns those for which there was no time */
  #share(tasks: Task[], stillHungry: Task[], untilMs: number): Task[] {
    let done = 0;
    for (const task of tasks) {
      done += 1;
      if (task.run(untilMs)) stillHungry.push(task);
      if (performance.now() >= untilMs) break;
    }
    return tasks.slice(done);
  }
}
