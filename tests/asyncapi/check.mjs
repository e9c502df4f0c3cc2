// What the reference parser says of an AsyncAPI document, as JSON: `node check.mjs FILE`.
import { Parser, fromFile } from "@asyncapi/parser";

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const found = {
  version: document?.version() ?? null,
  channels: document?.channels().all().map((channel) => channel.id()) ?? [],
  diagnostics: diagnostics.map(({ code, message, path }) => ({ code, message, path: path.join(".") })),
};
process.stdout.write(JSON.stringify(found));
