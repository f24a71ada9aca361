// One bot on Node: `node contender.mjs puregram|grammy|telegraf with|without|increments`.
//
// `with` and `without` sessions: for each line of input, handle a hundred updates in a row, and print
// the mean microseconds of one. `increments`: print the counter of one user after 800 concurrent increments.

import { spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { setImmediate } from "node:timers/promises";

// V8 compiles in a thread of its own, and its choices depend on the moment: the same bot of grammY
// took 1 us an update in one process and 8 us in the next. Without the thread it took 1 to 2 us in all.
const FLAG = "--no-concurrent-recompilation";
if (!process.execArgv.includes(FLAG)) {
  const child = spawnSync(process.execPath, [FLAG, ...process.argv.slice(1)], { stdio: "inherit" });
  process.exit(child.status ?? 1);
}

const UPDATES = 100;
// V8 compiles the library and the handler during these updates.
const WARM_UP = 10_000;
const INCREMENTS = 800;

const USER = { id: 5_000_000_000, is_bot: false, first_name: "Ann" };
const UPDATE = {
  update_id: 1,
  message: {
    message_id: 1,
    from: USER,
    chat: { id: USER.id, type: "private", first_name: USER.first_name },
    date: 1_700_000_000,
    text: "hi",
  },
};

async function count({ session }) {
  session.counter = (session.counter ?? 0) + 1;
}

async function nothing() {}

// A handler that asks a database or Telegram between its read and its write waits as this one does.
async function countSlowly({ session }) {
  const before = session.counter ?? 0;
  await setImmediate();
  session.counter = before + 1;
}

async function handleInARow(handle, updates) {
  const begun = performance.now();
  for (let done = 0; done < updates; done += 1) await handle(UPDATE);
  return ((performance.now() - begun) / updates) * 1000;
}

async function measure(handle) {
  await handleInARow(handle, WARM_UP);
  for await (const _ of createInterface({ input: process.stdin })) {
    console.log(await handleInARow(handle, UPDATES));
  }
}

async function countConcurrently(build) {
  let handler = countSlowly;
  let counter;
  const handle = build((context) => handler(context), true);
  await Promise.all(Array.from({ length: INCREMENTS }, () => handle(UPDATE)));
  handler = async ({ session }) => {
    counter = session.counter;
  };
  await handle(UPDATE);
  console.log(counter);
}

const [library, mode] = process.argv.slice(2);
if (
  !["puregram", "grammy", "telegraf"].includes(library) ||
  !["with", "without", "increments"].includes(mode)
) {
  console.error("usage: node contender.mjs puregram|grammy|telegraf with|without|increments");
  process.exit(2);
}
const { build } = await import(`./${library}.mjs`);
if (mode === "increments") await countConcurrently(build);
else await measure(mode === "with" ? build(count, true) : build(nothing, false));
