// node client.mjs URL VERSION CA: MQTT.js goes round once with each QoS; prints "ok". VERSION is 4 or 5.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.PENSTOCK_SERVERS + "/");
const mqtt = require("mqtt");
const [url, version, ca] = process.argv.slice(2);
const topic = `interop/js/${version}`;
const heard = new Map();
const client = mqtt.connect(url, {
  protocolVersion: Number(version),
  ca: ca ? readFileSync(ca) : undefined,
  clientId: `js-${version}-${process.pid}`,
  clean: true,
  reconnectPeriod: 0,
  connectTimeout: 10000,
});
const fail = (why) => { console.error(why); process.exit(1); };
setTimeout(() => fail(`heard only ${[...heard.keys()]}`), 15000);
client.on("error", fail);
client.on("connect", async () => {
  await client.subscribeAsync(topic, { qos: 2 });
  const more = version === "5" ? { properties: { contentType: "text/plain", userProperties: { a: "b" } } } : {};
  for (const qos of [0, 1, 2]) await client.publishAsync(topic, `qos ${qos}`, { qos, ...more });
});
client.on("message", (_, payload, packet) => {
  if (version === "5" && packet.properties?.userProperties?.a !== "b") fail("the user property is gone");
  heard.set(payload.toString(), packet.qos);
  if ([0, 1, 2].every((qos) => heard.get(`qos ${qos}`) === qos)) {
    client.end(false, {}, () => { console.log("ok"); process.exit(0); });
  }
});
