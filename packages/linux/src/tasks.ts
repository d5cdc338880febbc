/** Work in slices, so that other work is not delayed. */
export interface Task {
  /**
   * Does one slice. @returns whether more can be done at once
   *
   * @param untilMs end of the turn, on the monotonic clock, in milliseconds: long slices check it between steps
   */
  run(untilMs: number): boolean;
}

/**
 * Tasks in order of arrival. Newly woken ones go first, since most are small; but each turn also runs at least one of
 * those that continue, so that none starves.
 */
export class TaskQueue {
  #fresh: Task[] = [];
  #hungry: Task[] = [];

  /** Number of queued tasks. */
  get size(): number {
    return this.#fresh.length + this.#hungry.length;
  }

  /** Queues `task`, which is not queued yet. */
  add(task: Task): void {
    this.#fresh.push(task);
  }

  /** Runs at most one slice of every task; none starts after `untilMs`. */
  run(untilMs: number): void {
    const stillHungry: Task[] = [];
    this.#fresh = this.#share(this.#fresh, stillHungry, untilMs);
    this.#hungry = this.#share(this.#hungry, stillHungry, untilMs).concat(stillHungry);
  }

  /** @returns the tasks that did not get a slice */
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
