/** Starts a command and waits for it, without a shell. */

import { spawn } from "node:child_process";

export interface Finished {
  readonly code: number;
  readonly output: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly timeoutMs?: number;
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Rejects when the command cannot be started, runs out of time or is aborted; a failing command is a result. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      signal: options.signal,
      timeout: options.timeoutMs,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
    });
    const output: string[] = [];
    const take = (text: string): void => {
      output.push(text);
      for (const line of text.split("\n").filter((piece) => piece.trim() !== "")) {
        options.onLine?.(line);
      }
    };
    for (const stream of [child.stdout, child.stderr]) {
      // A chunk may end in the middle of a character.
      stream.setEncoding("utf8").on("data", take);
    }
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === null) {
        reject(new Error(`${command} was ended by ${signal ?? "a signal"}`));
      } else {
        resolve({ code, output: output.join("") });
      }
    });
  });
}
