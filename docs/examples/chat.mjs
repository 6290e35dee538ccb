// A chat by Node's own fetch. Needs KEFU_INTAKE, KEFU_NOTIFICATIONS and KEFU_KEY.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const { KEFU_INTAKE, KEFU_NOTIFICATIONS, KEFU_KEY } = process.env;
const auth = { Authorization: `Bearer ${KEFU_KEY}` };
const chat = `chat-${randomUUID()}`;

// Posts the same body until the answer is clear: 429, 5xx and broken connections are not.
async function post(path, id, type, data) {
  const event = { id, type, site: "shop", interaction: chat, occurred_at: new Date().toISOString(), data };
  const body = JSON.stringify(event);
  const headers = { ...auth, "Content-Type": "application/json" };
  for (let wait = 200; ; wait = Math.min(wait * 2, 10_000)) {
    try {
      const url = `${KEFU_INTAKE}/v1/${path}`;
      const answer = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(10_000) });
      if (answer.ok) return answer.json();
      if (answer.status < 500 && answer.status !== 429) throw new Refused(await answer.text());
      wait = Math.max(wait, 1000 * Number(answer.headers.get("Retry-After") ?? 0));
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    await sleep(wait * (0.5 + Math.random() / 2));
  }
}
class Refused extends Error {}

// Gives each instruction, resuming behind the last one after a break.
async function* instructions(onOpen) {
  let mark;
  for (;;) {
    try {
      const headers = mark === undefined ? auth : { ...auth, "Last-Event-ID": mark };
      const answer = await fetch(`${KEFU_NOTIFICATIONS}/v1/stream?feed=outbound`, { headers });
      if (answer.status === 410) mark = undefined; // too old: from now on
      let rest = "", id;
      if (answer.ok) for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + piece).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (line.startsWith(": kefu")) onOpen();
          if (line.startsWith("id: ")) id = line.slice(4);
          if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
          if (line === "") mark = id;
        }
      }
    } catch { /* broken: opened again */ }
    await sleep(500);
  }
}

const done = new Set();
const opened = () => { void ask(); };
let asked = false;
async function ask() {
  if (asked) return;
  asked = true;
  console.log(await post("chats", `${chat}-1`, "chat.started", { page: "https://shop.example/oven" }));
  console.log(await post("chats", `${chat}-2`, "chat.message", { text: "烤箱有货吗？" }));
}

for await (const instruction of instructions(opened)) {
  const { id, type, subject, data } = instruction;
  if (subject !== chat || done.has(id) || new Date(data.expires_at) <= new Date()) continue;
  done.add(id);
  if (type === "kefu.chat.say") {
    console.log(data.text);
    await post("outcomes", `${id}.delivered`, "instruction.delivered", { instruction: id });
    process.exit(0);
  }
}
