// An echo bot for a terminal, made always-on by the lines that end in a plus and by night.ts.
//
//   curl -sH "Authorization: Bearer $VIEWER" $NIGHT_URL/v1/openapi.json > openapi.json
//   npm ci && npm run types && npm run build
//   NIGHT_URL=http://127.0.0.1:8390 NIGHT_TOKEN=nst_… node build/bot.js

import { createInterface } from "node:readline";
import { Night } from "./night.js"; // +

const night = new Night(process.env.NIGHT_URL!, process.env.NIGHT_TOKEN!, "local"); // +
night.connected("echo"); // +
void night.work(async (work) => work.instruction); // +  here a cleverer bot thinks

let heard = 0;
for await (const text of createInterface({ input: process.stdin })) {
  const id = `${process.pid}-${++heard}`;
  await night.observe({ channel: "terminal", id, user_id: "you", text, at: new Date().toISOString() }); // +
  console.log(text);
}
night.close(); // +
