/** Child processes of the tests: started, read line by line, and gone at the end. */

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

import { until } from "./waiting.ts";

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** A running child whose output is kept, so that a failing test can show it. */
export class Child {
  readonly #process: ChildProcess;
  readonly #name: string;
  #output = "";

  constructor({ command, args, env }: Launch) {
    this.#name = command;
    this.#process = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process.on("error", (error) => (this.#output += `${error.message}\n`));
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding("utf8").on("data", (chunk: string) => (this.#output += chunk));
    }
  }

  get output(): string {
    return this.#output;
  }

  get ended(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null || this.#process.pid === undefined;
  }

  /** The first match of `pattern` in what the child wrote. */
  async says(pattern: RegExp, timeout = 30_000): Promise<RegExpMatchArray> {
    return until(
      `${this.#name} to write ${String(pattern)}`,
      () => {
        const match = this.#output.match(pattern);
        if (!match && this.ended) throw new Error(`${this.#name} ended too early:\n${this.#output}`);
        return match;
      },
      { timeout },
    );
  }

  async stop(): Promise<void> {
    this.#process.kill("SIGTERM");
    await until(`${this.#name} to end`, () => this.ended, { timeout: 15_000 }).catch((error: unknown) => {
      this.#process.kill("SIGKILL");
      throw error;
    });
  }
}

/** Runs a command to its end and returns what it wrote to stdout; a failure carries its output. */
export async function finish(launch: Launch, timeout = 60_000): Promise<string> {
  const { command, args, env } = launch;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, timeout, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${command} ${args.join(" ")} ended with ${code ?? signal}:\n${stdout}${stderr}`));
    });
  });
}

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** The processes, other than this one, whose environment or command line names `marker`, a folder of the test. */
export function processesOf(marker: string): Leftover[] {
  const found: Leftover[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      // A zombie has no command line any more: it has ended.
      if (!command) continue;
      const environment = readFileSync(`/proc/${entry}/environ`, "utf8");
      if (`${command}\n${environment}`.includes(marker)) found.push({ pid: Number(entry), command });
    } catch {
      // It ended while it was looked at.
    }
  }
  return found;
}

/** Ends a process at once; one that has ended already is fine. */
export function kill({ pid }: Leftover): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
