/** Things that end together, the last one first. */
export class Belongings implements AsyncDisposable {
  readonly #things: AsyncDisposable[] = [];

  add<Thing extends AsyncDisposable>(thing: Thing): Thing {
    this.#things.push(thing);
    return thing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let thing = this.#things.pop(); thing !== undefined; thing = this.#things.pop())
      await thing[Symbol.asyncDispose]();
  }
}
