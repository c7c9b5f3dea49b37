// A chat backend that uses only HTTP: it receives the messages of a room, welcomes their senders, and answers.
//
// It needs only Node's own fetch. It can be stopped and started at any time: the server stores
// its position, and delivers what came meanwhile.

const url = process.env.CULVERT_URL; // such as http://127.0.0.1:8090/v1/default
const key = process.env.CULVERT_KEY; // an API key: see `culvert serve --help`

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Sends one request as the client "greeter", and repeats it while the server is down or busy. */
async function call(method, path, body) {
  for (;;) {
    let pause = 2;
    try {
      const answer = await fetch(`${url}${path}${path.includes("?") ? "&" : "?"}client=greeter`, {
        method,
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(60_000),
      });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text);
      if (answer.status === 410) return null; // a reply that comes too late
      if (![408, 429, 500, 502, 503, 504].includes(answer.status)) {
        console.error(`${method} ${path}: ${answer.status} ${text}`);
        process.exit(1);
      }
      pause = Number(answer.headers.get("Retry-After") ?? pause);
    } catch {
      // no connection, or a broken one
    }
    await sleep(pause);
  }
}

/** After a crash this may run twice for one event: because of the key, the second welcome is not stored again. */
async function handle(event) {
  if (event.event !== "chat message" || event.from === null || event.from === "greeter") return;
  console.log(`${event.from}: ${event.data.text}`);
  await call("POST", "/emit", {
    room: `@${event.from}`,
    event: "chat message",
    data: { text: `welcome, ${event.from}` },
    key: `welcome-${event.offset}`,
  });
  if (event.reply) await call("POST", "/reply", { offset: event.offset, data: "heard" });
}

await call("GET", "/events?wait=0"); // makes a new client begin at the head
await call("PUT", "/rooms/lobby/clients/greeter");
console.log("ready");
let done = ""; // the cursor up to which all is handled: acknowledged with the next poll
for (;;) {
  const page = await call("GET", `/events?wait=25${done && `&ack=${done}`}`);
  if (page.gap) console.log("missed some events:", page.gap.reason);
  for (const event of page.events) await handle(event);
  done = page.cursor;
  await sleep(page.retry ?? 0);
}
