/** The scripted teacher: the one thing that is not real in these tests. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Child } from "./processes.ts";
import { PYTHON, REPOSITORY } from "./programs.ts";

type Agent = "planner" | "lead" | "worker" | "analyzer";

/** An answer's text, or more about it: `tests/scripted_teacher.py` says what else there is. */
export type Reply =
  | string
  | { readonly content: string; readonly delay?: number; readonly status?: number; readonly headers?: Readonly<Record<string, string>> };

/** What the teacher was asked. */
export interface Asked {
  readonly agent: Agent;
  readonly headers: Readonly<Record<string, string>>;
}

/** What each agent answers, in order; the last answer repeats. */
export type Replies = Readonly<Partial<Record<Agent, readonly Reply[]>>>;

export interface Teacher {
  /** NAME@URL, as in the setting `precisionShaking.teachers`. */
  readonly name: string;
  readonly child: Child;
  /** Everything that it was asked so far, oldest first. */
  asked(): Promise<readonly Asked[]>;
}

export async function startTeacher(folder: string, replies: Replies): Promise<Teacher> {
  const script = join(folder, "replies.json");
  const requests = join(folder, "requests.jsonl");
  await writeFile(requests, "");
  await writeFile(script, JSON.stringify(replies));
  const child = new Child({
    command: PYTHON,
    args: [join(REPOSITORY, "tests", "scripted_teacher.py"), "--script", script, "--requests", requests],
    env: process.env,
  });
  const [, url] = await child.says(/"base_url": "([^"]+)"/);
  const asked = async (): Promise<readonly Asked[]> => {
    const lines = (await readFile(requests, "utf8")).split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Asked);
  };
  return { name: `openai/scripted@${url}`, child, asked };
}

export const plan = (...steps: string[]): string => answer({ steps: JSON.stringify(steps) });

export const instruct = (instruction: string): string => answer({ instruction });

export const work = (reasoning: string, script: string): string => answer({ reasoning, script: script.trimEnd() });

export const judge = (verdict: "accepted" | "redo" | "further_edit"): string => answer({ verdict });

function answer(fields: Readonly<Record<string, string>>): string {
  const parts = Object.entries(fields).map(([name, text]) => `[[ ## ${name} ## ]]\n${text}`);
  return [...parts, "[[ ## completed ## ]]"].join("\n\n");
}
