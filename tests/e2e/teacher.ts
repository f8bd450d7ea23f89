/** The scripted teacher: the one thing that is not real in these tests. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Child } from "./processes.ts";
import { PYTHON, REPOSITORY } from "./programs.ts";

type Agent = "planner" | "lead" | "worker" | "analyzer";

/** An answer's text, or more about it: `tests/scripted_teacher.py` says what else there is. */
export type Reply = string | { readonly content: string; readonly delay?: number };

/** What each agent answers, in order; the last answer repeats. */
export type Replies = Readonly<Partial<Record<Agent, readonly Reply[]>>>;

export interface Teacher {
  /** NAME@URL, as in the setting `precisionShaking.teachers`. */
  readonly name: string;
  readonly child: Child;
}

export async function startTeacher(folder: string, replies: Replies): Promise<Teacher> {
  const script = join(folder, "replies.json");
  await writeFile(script, JSON.stringify(replies));
  const child = new Child({
    command: PYTHON,
    args: [join(REPOSITORY, "tests", "scripted_teacher.py"), "--script", script],
    env: process.env,
  });
  const [, url] = await child.says(/"base_url": "([^"]+)"/);
  return { name: `openai/scripted@${url}`, child };
}

export const plan = (...steps: string[]): string => answer({ steps: JSON.stringify(steps) });

export const instruct = (instruction: string): string => answer({ instruction });

export const work = (reasoning: string, script: string): string => answer({ reasoning, script: script.trimEnd() });

export const judge = (verdict: "accepted" | "redo" | "further_edit"): string => answer({ verdict });

function answer(fields: Readonly<Record<string, string>>): string {
  const parts = Object.entries(fields).map(([name, text]) => `[[ ## ${name} ## ]]\n${text}`);
  return [...parts, "[[ ## completed ## ]]"].join("\n\n");
}
