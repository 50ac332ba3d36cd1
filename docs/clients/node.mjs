// MusterDB from Node, by `redis`: npm install redis; node node.mjs [port]
import { createClient } from "redis";

const muster = createClient({
  socket: { host: "127.0.0.1", port: Number(process.argv[2] ?? 7878) },
  // username: "app", password: "secret", // where the server asks who it is
});
muster.on("error", (error) => console.error("connection:", error.message));
await muster.connect();

// Every word of a request is a text.
const ask = (...words) => muster.sendCommand(words.map(String));

// Members and an audience to ask about.
await ask("SQL", "CREATE TABLE IF NOT EXISTS people (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])");

// Requests that are not waited for go out together: writes share a sync, and each has its own reply.
const writes = [];
for (let key = 1; key <= 2500; key++) {
  writes.push(ask("SET", "people", key, "city", key % 2 ? "Lima" : "Kyoto"));
  writes.push(ask("TAG", "people", key, "new"));
}
const replies = await Promise.allSettled(writes);
const refused = replies.filter((reply) => reply.status === "rejected").length;
console.log("written:", replies.length - refused, "refused:", refused);

await ask("SQL", "CREATE OR REPLACE STATIC AUDIENCE lima AS SELECT id FROM people WHERE city = 'Lima'");
console.log("count:", await ask("COUNT", "lima"));
console.log("contains 1, 2, 9999:", JSON.stringify(await ask("CONTAINS", "lima", 1, 2, 9999)));

// All members, a page at a time: the first value is the cursor of the next page, or null after the last.
const keys = [];
let cursor = null;
do {
  const after = cursor === null ? [] : ["AFTER", cursor];
  const [next, page] = await ask("MEMBERS", "lima", ...after, "LIMIT", 1000);
  keys.push(...page);
  cursor = next;
} while (cursor !== null);
console.log("members:", keys.length);

// The first row has the columns' names.
const question = "SELECT city, count(*) FROM people WHERE id <= $1 GROUP BY city ORDER BY city";
const [header, ...rows] = await ask("SQL", question, 100);
const named = rows.map((row) => Object.fromEntries(row.map((value, i) => [header[i], value])));
console.log("rows:", JSON.stringify(named));

try {
  await ask("COUNT", "nobody");
} catch (error) {
  console.log("refused:", error.message);
}
await muster.close();
