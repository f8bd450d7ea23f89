/** Trains the student behind a notification whose cancel button cancels the training. */

import { randomUUID } from "node:crypto";
import * as vscode from "vscode";

import { startTraining } from "./protocol";
import type { Server } from "./server";

/** Returns the sentence to show, or undefined when the user cancelled before anything began. */
export async function train(server: Server): Promise<string | undefined> {
  const connection = await server.ready();
  const workDoneToken = randomUUID();
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: "Training your small model", cancellable: true },
    async (progress, token) => {
      const increments = new Increments();
      const listening = connection.onWorkDone(workDoneToken, (message, percentage) => {
        progress.report({ message, increment: increments.to(percentage) });
      });
      try {
        return sentence(await server.request(startTraining, { workDoneToken }, token));
      } catch (error) {
        if (token.isCancellationRequested) {
          return undefined;
        }
        throw error;
      } finally {
        listening.dispose();
      }
    },
  );
}

/** The protocol counts percent from the beginning, the editor from the last report. */
export class Increments {
  private reached = 0;

  to(percentage: number | undefined): number | undefined {
    if (percentage === undefined) {
      return undefined;
    }
    const step = Math.max(0, percentage - this.reached);
    this.reached += step;
    return step;
  }
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
