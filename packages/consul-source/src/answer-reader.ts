import type { Dispatcher } from 'undici';

/**
 * Reads the bodies of answers, all of one agent, within limits: whatever stands at its address can neither fill the memory nor keep a
 * question open for ever.
 */
export class AnswerReader {
  #underWayBytes = 0;

  /**
   * The text of `response`; of one that is not what was asked for, its beginning.
   *
   * @param patienceMs how long it may take to its end
   * @throws Error when it is too long or takes too long; the connection is closed then
   */
  async read({ statusCode, body }: Dispatcher.ResponseData, patienceMs: number): Promise<string> {
    const overdue = setTimeout(() => body.destroy(tooSlow(patienceMs)), patienceMs);
    const decoder = new TextDecoder();
    const isAnswer = statusCode === 200;
    let text = '';
    let bytes = 0;
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        bytes += chunk.length;
        this.#underWayBytes += chunk.length;
        text += decoder.decode(chunk, { stream: true });
        if (!isAnswer && bytes >= COMPLAINT_BYTES) break;
        if (bytes > MAX_ANSWER_BYTES) throw tooLong('an answer', MAX_ANSWER_BYTES);
        if (this.#underWayBytes > MAX_UNDER_WAY_BYTES) throw tooLong('answers under way', MAX_UNDER_WAY_BYTES);
      }
      return text + decoder.decode();
    } finally {
      clearTimeout(overdue);
      this.#underWayBytes -= bytes;
    }
  }
}

const MIB = 1024 * 1024;
// Five times the answer of 5,000 services: whoever sends more is not an agent.
const MAX_ANSWER_BYTES = 64 * MIB;
// Two of the largest at a time: what is read is in the memory of a process that may have little of it.
const MAX_UNDER_WAY_BYTES = 2 * MAX_ANSWER_BYTES;
// Of what is wrong, the agent itself says less.
const COMPLAINT_BYTES = 4096;

function tooLong(what: string, maxBytes: number): Error {
  return new Error(`expected ${what} of at most ${maxBytes / MIB} MiB, found more`);
}

function tooSlow(patienceMs: number): Error {
  return new Error(`expected the whole answer within ${patienceMs} ms, found one that goes on`);
}
