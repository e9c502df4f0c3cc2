// Keeps Plumbline's findings in a file, each event once, and commits what the file holds.
//
// Settings are environment variables, see docs/how-to/consume-findings.md. SIGTERM and Ctrl-C end it after the event.
import { readFileSync } from "node:fs";
import { Consumer, type ConsumerOptions, type Message } from "@platformatic/kafka";
import { Findings, readFinding } from "./findings.ts";

type Record = Message<Buffer, Buffer, Buffer, Buffer>;

function setting(name: string, otherwise?: string): string {
  const value = process.env[name] || otherwise;
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

/** Where the broker is; TLS and SCRAM when a user is named. */
function kafkaOptions(): ConsumerOptions<Buffer, Buffer, Buffer, Buffer> {
  const options = {
    clientId: "findings-file",
    groupId: setting("KAFKA_GROUP", "findings-file"),
    bootstrapBrokers: setting("KAFKA_BOOTSTRAP").split(","),
    sessionTimeout: 10_000,
    heartbeatInterval: 2_000,
  };
  const username = process.env.KAFKA_USER;
  if (!username) return options;
  const ca = process.env.KAFKA_CA_FILE;
  return {
    ...options,
    tls: ca ? { ca: readFileSync(ca) } : {},
    sasl: {
      mechanism: "SCRAM-SHA-512",
      username,
      password: readFileSync(setting("KAFKA_PASSWORD_FILE"), "utf8").trim(),
    },
  };
}

/** What you do with an event stands here. It may be called again for one whose commit was lost. */
function handle(record: Record, findings: Findings): void {
  const finding = readFinding(record.value);
  if (findings.add(finding, record.value)) {
    console.log(`${finding.activity_name} ${finding.severity} ${finding.finding_info.uid}: ${finding.message}`);
  }
}

/** Event by event: handle, make it durable, then commit. Within a partition, and so within a key, order holds. */
async function consume(records: AsyncIterable<Record>, findings: Findings): Promise<void> {
  for await (const record of records) {
    try {
      handle(record, findings);
    } catch (error) {
      throw new Error(`partition ${record.partition}, offset ${record.offset}: ${error}`);
    }
    findings.sync();
    await record.commit();
  }
}

async function main(): Promise<void> {
  const findings = new Findings(setting("FINDINGS_FILE", "findings.ndjson"));
  const consumer = new Consumer(kafkaOptions());
  const stream = await consumer.consume({
    topics: [setting("KAFKA_TOPIC", "plumbline.compliance-findings")],
    mode: "committed",
    fallbackMode: "earliest",
    autocommit: false,
  });
  for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => void stream.close());
  await consume(stream, findings);
  await consumer.close(true);
}

/** What lies behind an error: the library tries several times and tells of each. */
function reasons(error: unknown): string[] {
  const { message, cause, errors } = error as AggregateError;
  const inner: unknown[] = [...(errors ?? []), ...(cause ? [cause] : [])];
  return inner.length > 0 ? [...new Set(inner.flatMap(reasons))] : [message];
}

main().catch((error: unknown) => {
  console.error(`stopped: ${reasons(error).join("; ")}`);
  process.exit(1);
});
