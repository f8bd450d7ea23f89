/** Every question the user is asked, and every sentence they are told. */

import * as vscode from "vscode";

import type { HelpChoice, Verdict } from "./events";
import { fileName } from "./wording";

/** What should change in the script? Undefined when the user thought better of it. */
export async function askRequest(file: string): Promise<string | undefined> {
  const words = await vscode.window.showInputBox({
    title: `Precision Shaking: ${file}`,
    prompt: "What should change in this script? It becomes a plan of steps.",
    placeHolder: "for example: read the file names from the command line",
    ignoreFocusOut: true,
    validateInput: (value) => (value.trim() === "" ? "Say what should change." : undefined),
  });
  return words?.trim();
}

/** Words next to a verdict. Undefined when the user pressed Escape. */
export async function askWords(prompt: string, needed: boolean): Promise<string | undefined> {
  const words = await vscode.window.showInputBox({
    title: "Precision Shaking",
    prompt,
    ignoreFocusOut: true,
    validateInput: (value) => (needed && value.trim() === "" ? "Say it in a few words." : undefined),
  });
  return words?.trim();
}

/** Which verdict do the words mean that the analyzer could not read? */
export async function askVerdict(): Promise<Verdict | undefined> {
  const choices: Readonly<Record<string, Verdict>> = {
    Accept: "accepted",
    Redo: "redo",
    "Further Edit": "further_edit",
  };
  const question = "Your words could be read in more than one way. What shall happen with the proposed edit?";
  const chosen = await vscode.window.showInformationMessage(question, ...Object.keys(choices));
  return chosen === undefined ? undefined : choices[chosen];
}

/** A way on after the last teacher failed; a text of the user's own is no choice of the engine's. */
export type WayOn = HelpChoice | "by_hand";

const HELP: Readonly<Record<WayOn, { label: string; detail: string }>> = {
  retry: { label: "$(refresh) Try again", detail: "Ask the first teacher once more." },
  skip: { label: "$(debug-step-over) Skip this step", detail: "Go on with the next step; nothing of this one stays." },
  by_hand: { label: "$(edit) Edit by hand", detail: "Do this step yourself; your text is a row of the dataset, too." },
  stop: { label: "$(debug-stop) Stop", detail: "End the session; what was accepted stays." },
};

/** How to go on when no teacher could do a step? */
export async function askHelp(what: string, choices: readonly HelpChoice[]): Promise<WayOn | undefined> {
  const ways = (Object.keys(HELP) as WayOn[]).filter((way) => way === "by_hand" || choices.includes(way));
  const items = ways.map((choice) => ({ ...HELP[choice], choice }));
  const options = { title: "No teacher could do this step. How to go on?", placeHolder: what, ignoreFocusOut: true };
  return (await vscode.window.showQuickPick(items, options))?.choice;
}

/** Which of several sessions is meant? */
export async function askSession<T extends { uid: string; uri: string; request: string }>(
  sessions: readonly T[],
): Promise<T | undefined> {
  if (sessions.length <= 1) {
    return sessions[0];
  }
  const items = sessions.map((session) => ({ label: fileName(session.uri), description: session.request, session }));
  return (await vscode.window.showQuickPick(items, { placeHolder: "Which session?" }))?.session;
}

/** What shall become of a session that broke off? */
export async function askOffered(question: string, resumable: boolean): Promise<string | undefined> {
  const ways = resumable ? ["Resume", "Abandon", "Later"] : ["Abandon", "Later"];
  return vscode.window.showInformationMessage(question, ...ways);
}

/** Tell why a session broke off; whether to go on with it at once. */
export async function tellBrokenOff(why: string): Promise<boolean> {
  const chosen = await vscode.window.showErrorMessage(why, "Resume", "Show Logs");
  if (chosen === "Show Logs") {
    await vscode.commands.executeCommand("precisionShaking.showLogs");
  }
  return chosen === "Resume";
}

/** Tell what went wrong; the log is a click away. */
export async function tellError(error: unknown): Promise<void> {
  const message = error instanceof Error ? error.message : String(error);
  if ((await vscode.window.showErrorMessage(message, "Show Logs")) === "Show Logs") {
    await vscode.commands.executeCommand("precisionShaking.showLogs");
  }
}

/** Tell that there is no server to start, and offer the two ways out; who asked for nothing has met no error. */
export async function tellNoServer(message: string, asked: boolean): Promise<void> {
  const tell = asked ? vscode.window.showErrorMessage : vscode.window.showInformationMessage;
  const chosen = await tell(message, "Install", "Choose Interpreter");
  if (chosen === "Install") {
    await vscode.commands.executeCommand("precisionShaking.installServer");
  } else if (chosen === "Choose Interpreter") {
    await vscode.commands.executeCommand("precisionShaking.chooseInterpreter");
  }
}
