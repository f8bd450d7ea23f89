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

export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks after the machine's start: with the pid it names one process and no later one. */
  readonly started: string;
  readonly command: string;
}

/**
 * The processes whose environment or command line names `marker`, a folder of the test, and all their children:
 * a sandboxed script has an environment of its own.
 */
export function familyOf(marker: string): Process[] {
  const all = processes();
  const family = new Set(all.filter(({ pid, command }) => `${command}\n${environment(pid)}`.includes(marker)));
  const pids = new Set([...family].map(({ pid }) => pid));
  for (let before = -1; before !== pids.size; ) {
    before = pids.size;
    for (const child of all.filter(({ parent }) => pids.has(parent))) {
      family.add(child);
      pids.add(child.pid);
    }
  }
  return [...family];
}

/** Those of the processes that still run. */
export function alive(some: readonly Process[]): Process[] {
  return some.filter(({ pid, started }) => read(pid)?.started === started);
}

/** Ends a process at once; one that has ended already is fine. */
export function kill({ pid }: Process): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function processes(): Process[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .flatMap((pid) => read(pid) ?? []);
}

/** Undefined when there is no such process any more; a zombie, which has no command line, has ended. */
function read(pid: number): Process | undefined {
  const command = content(pid, "cmdline").replaceAll("\0", " ").trim();
  const stat = content(pid, "stat");
  // The name in parentheses may hold anything; the fields after it are numbered from the third.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [parent, started] = [fields[1], fields[19]];
  return command && parent && started ? { pid, parent: Number(parent), started, command } : undefined;
}

function environment(pid: number): string {
  return content(pid, "environ");
}

function content(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}
