/** The user's own model as the worker: made ready, put before the teachers, and taken back. */

import * as vscode from "vscode";

import { makeWorker } from "./protocol";
import type { Server } from "./server";
import { SECTION } from "./settings";
import { longRequest } from "./workDone";

/** Have sessions ask what a training learned first; of the last training where none is named. */
export async function useAsWorker(server: Server, training: string | null = null): Promise<void> {
  const title = "Making your model ready to work";
  const made = await longRequest(server, title, makeWorker, (workDoneToken) => ({ training, workDoneToken }));
  if (!made) {
    return;
  }
  await vscode.workspace.getConfiguration(SECTION).update("worker", made.worker, vscode.ConfigurationTarget.Global);
  const stop = "Stop Using It";
  const told = "The worker asks your model first from the next session on, and your teachers where it fails. Stop Using My Model takes that back.";
  if ((await vscode.window.showInformationMessage(told, stop)) === stop) {
    await stopUsing();
  }
}

/** Leave the work to the teachers again. */
export async function stopUsing(): Promise<void> {
  const settings = vscode.workspace.getConfiguration(SECTION);
  const set = settings.inspect<string>("worker");
  if (set?.workspaceValue !== undefined) {
    await settings.update("worker", undefined, vscode.ConfigurationTarget.Workspace);
  }
  await settings.update("worker", undefined, vscode.ConfigurationTarget.Global);
  void vscode.window.showInformationMessage("The worker asks your teachers only, from the next session on.");
}
