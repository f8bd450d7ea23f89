/** Requests that take long: behind a notification with progress, whose cancel button cancels the request. */

import { randomUUID } from "node:crypto";
import * as vscode from "vscode";

import type { RequestMessage } from "./protocol";
import type { Server } from "./server";

/** The answer, or undefined when the user cancelled before there was any. */
export async function longRequest<P, R>(
  server: Server,
  title: string,
  message: RequestMessage<P, R>,
  params: (workDoneToken: string) => P,
): Promise<R | undefined> {
  const connection = await server.ready();
  const workDoneToken = randomUUID();
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (progress, token) => {
      const increments = new Increments();
      const listening = connection.onWorkDone(workDoneToken, (said, percentage) => {
        progress.report({ message: said, increment: increments.to(percentage) });
      });
      try {
        return await server.request(message, params(workDoneToken), token);
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
