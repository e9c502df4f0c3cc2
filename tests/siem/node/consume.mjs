// Writes every record of a topic as a line of JSON, and commits what it has written.
// node consume.mjs kafkajs|kafkajs-without-codec|platformatic BOOTSTRAP TOPIC GROUP; SIGTERM ends it.
import { writeSync } from "node:fs";

const [client, bootstrap, topic, group] = process.argv.slice(2);
const SESSION_MS = 6000;

function write(key, value, headers, time) {
  writeSync(1, `${JSON.stringify({ key: key.toString(), value: value.toString("base64"), headers, time })}\n`);
}

// To standard error: kafkajs writes its log between the records otherwise.
const logCreator = () => (entry) => console.error(JSON.stringify(entry));

async function consumeWithKafkajs() {
  const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = (await import("kafkajs")).default;
  if (client === "kafkajs") {
    const { default: LZ4 } = await import("@2l/kafkajs-lz4");
    CompressionCodecs[CompressionTypes.LZ4] = new LZ4().codec;
  }
  const consumer = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR, logCreator }).consumer({
    groupId: group,
    sessionTimeout: SESSION_MS,
    heartbeatInterval: 1000,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message: { key, value, headers, timestamp } }) => {
      const told = Object.entries(headers).map(([name, content]) => [name, content.toString()]);
      write(key, value, told, Number(timestamp));
    },
  });
  return () => consumer.disconnect();
}

async function consumeWithPlatformatic() {
  const { Consumer } = await import("@platformatic/kafka");
  const consumer = new Consumer({
    clientId: "siem",
    groupId: group,
    bootstrapBrokers: [bootstrap],
    sessionTimeout: SESSION_MS,
    heartbeatInterval: 1000,
  });
  const stream = await consumer.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest" });
  const reading = (async () => {
    for await (const message of stream) {
      const told = [...message.headers].map(([name, content]) => [name.toString(), content.toString()]);
      write(message.key, message.value, told, Number(message.timestamp));
      await message.commit();
    }
  })();
  reading.catch((error) => {
    console.error(error);
    process.exit(1);
  });
  return () => consumer.close(true);
}

const stop = await (client === "platformatic" ? consumeWithPlatformatic() : consumeWithKafkajs());
process.on("SIGTERM", async () => {
  await stop();
  process.exit(0);
});
