// What a bot in TypeScript needs of nightshift, by fetch; the types are generated from the API's description.

import { setTimeout as sleep } from "node:timers/promises";
import type { components } from "./schema.js";

type Schemas = components["schemas"];
export type Work = Schemas["WorkView"];
export type MessageSeen = Partial<Schemas["MessageSeen"]> & Pick<Schemas["MessageSeen"], "channel" | "id">;

const WAIT_S = 30;
const ALIVE_EVERY_MS = 30_000;
/** Pauses between tries, doubling. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

export class Night {
  private readonly closing = new AbortController();

  constructor(
    private readonly url: string,
    private readonly token: string,
    private readonly platform: string,
  ) {}

  /** Say that the bot is connected under this user id, every 30 s from now on. */
  connected(userId: string): void {
    const sign = { platform: this.platform, user_id: userId, connected_since: new Date().toISOString() };
    const tell = () => void this.ask("POST", "/v1/alive", sign).catch(() => undefined);
    tell();
    const telling = setInterval(tell, ALIVE_EVERY_MS);
    this.closing.signal.addEventListener("abort", () => clearInterval(telling));
  }

  /** Tell of a message; telling it again changes nothing. */
  async observe(...messages: MessageSeen[]): Promise<Schemas["Taken"]> {
    return (await this.ask("POST", "/v1/observe", { platform: this.platform, messages })) as Schemas["Taken"];
  }

  /** Do what there is to do, until closed: answer with what `think` says, or decline if it says nothing. */
  async work(think: (work: Work) => Promise<string | undefined>): Promise<void> {
    while (!this.closing.signal.aborted) {
      try {
        const work = (await this.ask("GET", `/v1/work?wait=${WAIT_S}`)) as Work | undefined;
        if (work) await this.answer(work, think).catch((error) => console.error(`${work.run}: ${error}`));
      } catch (error) {
        if (this.closing.signal.aborted) return;
        console.error(`no work is given: ${error}`); // who is not let in now may be later
        await this.pause(LONGEST_PAUSE_MS).catch(() => undefined);
      }
    }
  }

  close(): void {
    this.closing.abort();
  }

  private async answer(work: Work, think: (work: Work) => Promise<string | undefined>): Promise<void> {
    const at = `/v1/work/${encodeURIComponent(work.run)}`;
    const renewing = setInterval(
      () => void this.ask("POST", `${at}/renew`, { token: work.token }).catch(() => undefined),
      (work.lease_s * 1000) / 3,
    );
    try {
      const text = await think(work);
      if (text?.trim()) await this.ask("POST", `${at}/reply`, { token: work.token, text });
      else await this.ask("POST", `${at}/decline`, { token: work.token });
    } finally {
      clearInterval(renewing);
    }
  }

  /** Ask until there is an answer; what is asked is such that asking twice is asking once. */
  private async ask(method: string, path: string, body?: object): Promise<unknown> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      const answer = await fetch(this.url + path, {
        method,
        headers: { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" },
        body: body && JSON.stringify(body),
        redirect: "error",
        signal: this.closing.signal,
      }).catch((error: unknown) => {
        if (this.closing.signal.aborted) throw error;
        return undefined;
      });
      if (answer?.status === 204) return undefined;
      if (answer?.ok) return answer.json();
      if (answer && answer.status < 500 && answer.status !== 429) throw new Error(await answer.text());
      await this.pause(pause);
    }
  }

  /** Wait for about so long, or until closed. */
  private pause(ms: number): Promise<void> {
    return sleep(ms * (0.5 + Math.random()), undefined, { signal: this.closing.signal });
  }
}
