/** Trains the student behind a notification whose cancel button cancels the training. */

import { startTraining } from "./protocol";
import type { Server } from "./server";
import { longRequest } from "./workDone";

export interface Trained {
  readonly sentence: string;
  /** The folder of what was learned; undefined where the training was cancelled. */
  readonly output: string | undefined;
}

/** Returns what to show, or undefined when the user cancelled before anything began. */
export async function train(server: Server): Promise<Trained | undefined> {
  const result = await longRequest(server, "Training your small model", startTraining, (workDoneToken) => ({ workDoneToken }));
  return result && { sentence: sentence(result), output: result.status === "finished" ? result.output : undefined };
}

function sentence(result: { status: string; output: string; metrics: Record<string, unknown> }): string {
  const done = result.status === "finished" ? "The small model is trained" : `The training was ${result.status}`;
  // The log has the whole path.
  const folder = result.output.replace(/[\\/]+$/, "").replace(/^.*[\\/]/, "");
  return [`${done}: ${folder}`, ...changes(result.metrics)].join(", ") + ".";
}

/** What was measured before and after, by the trainer's names. */
function changes(metrics: Record<string, unknown>): string[] {
  const after = numbers(metrics.after);
  return [...numbers(metrics.before)].flatMap(([name, value]) => {
    const now = after.get(name);
    const called = NAMES.get(name) ?? name.replaceAll("_", " ");
    return now === undefined ? [] : [`${called} ${rounded(value)} → ${rounded(now)}`];
  });
}

const NAMES = new Map([["kl", "KL to the teacher"]]);

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

function numbers(from: unknown): Map<string, number> {
  const entries = Object.entries(typeof from === "object" && from !== null ? from : {});
  return new Map(entries.filter((entry): entry is [string, number] => typeof entry[1] === "number"));
}
