import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";

/** Event ids that are kept to tell a duplicate. One comes soon after the first, or when offsets are set back. */
const REMEMBERED = 100_000;
const NEWLINE = 10;

/** What this program uses of an event. All else may be there or not, and may grow. */
export interface Finding {
  readonly activity_name: string;
  readonly severity: string;
  readonly message: string;
  readonly metadata: { readonly uid: string };
  readonly finding_info: { readonly uid: string };
}

/**
 * Throws when something that is promised is missing. The contract has no such record: stop, look at it, and do not pass
 * over it.
 */
export function readFinding(value: Buffer | null | undefined): Finding {
  const event: unknown = JSON.parse(String(value));
  const finding = event as Partial<Finding> | null;
  if (typeof finding?.metadata?.uid !== "string" || typeof finding.finding_info?.uid !== "string") {
    throw new Error("not a finding: metadata.uid or finding_info.uid is missing");
  }
  return finding as Finding;
}

/** A file with one event per line, as it came. What stands in it is remembered at the next start. */
export class Findings {
  readonly #file: number;
  readonly #seen = new Set<string>();

  constructor(path: string) {
    this.#file = openSync(path, "a+", 0o600);
    let end = 0;
    for (const line of wholeLines(this.#file)) {
      this.#remember(readFinding(line).metadata.uid);
      end += line.length;
    }
    ftruncateSync(this.#file, end); // a line that was not written to its end comes again
  }

  /** Whether it was new. */
  add(finding: Finding, value: Buffer): boolean {
    if (this.#seen.has(finding.metadata.uid)) return false;
    const line = Buffer.concat([value, Buffer.of(NEWLINE)]);
    for (let written = 0; written < line.length; ) written += writeSync(this.#file, line, written);
    this.#remember(finding.metadata.uid);
    return true;
  }

  /** Returns once all is on the disk. */
  sync(): void {
    fsyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }

  #remember(uid: string): void {
    this.#seen.add(uid);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value!);
  }
}

/** The lines of a file with their ends, without one that has none. `node:readline` would also cut at U+2028. */
function* wholeLines(file: number): Generator<Buffer> {
  const chunk = Buffer.alloc(1 << 16);
  let rest = Buffer.alloc(0);
  for (let at = 0, size = 0; (size = readSync(file, chunk, 0, chunk.length, at)) > 0; at += size) {
    rest = Buffer.concat([rest, chunk.subarray(0, size)]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      yield rest.subarray(0, end + 1);
      rest = rest.subarray(end + 1);
    }
  }
}
