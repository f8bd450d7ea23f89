/** What the dataset holds, asked from outside: its command line, and its view through plain SQLite. */

import { join } from "node:path";

import { finish } from "./processes.ts";
import { PYTHON } from "./programs.ts";

export interface Stats {
  readonly rows: number;
  readonly open_rows: number;
  readonly with_rejected: number;
  readonly with_soft_labels: number;
}

export interface Row {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string | null;
  readonly reason: string | null;
  readonly author: string;
  readonly has_soft_labels: 0 | 1;
  /** The tokens of the chosen side's soft labels are, joined, its text. */
  readonly soft_labels_agree: boolean;
}

export async function readStats(database: string): Promise<Stats> {
  return JSON.parse(await python("-m", "dorpo", "stats", "--db", database, "--json")) as Stats;
}

export interface Training {
  readonly status: "running" | "done" | "failed" | "cancelled";
  readonly last_step: number | null;
  readonly output: string;
}

export interface Dataset {
  /** The complete rows, oldest first. */
  readonly rows: readonly Row[];
  readonly trainings: readonly Training[];
}

export async function readDataset(database: string): Promise<Dataset> {
  return JSON.parse(await python(join(import.meta.dirname, "read_dataset.py"), database)) as Dataset;
}

function python(...args: string[]): Promise<string> {
  return finish({ command: PYTHON, args, env: process.env });
}
