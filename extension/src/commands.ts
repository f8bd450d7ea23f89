/** Every command of the extension, by the name that the manifest gives it. */

import * as vscode from "vscode";

import { tellError, tellNoServer } from "./asking";
import type { ByHand } from "./byHand";
import type { Corrections } from "./corrections";
import { NoServerError } from "./python";
import type { Resuming } from "./resuming";
import type { Server } from "./server";
import type { SessionCommands } from "./sessionCommands";
import type { SetupCommands } from "./setupCommands";
import type { Target } from "./targets";

type Command = (first: unknown, second: unknown) => Promise<void> | void;

export interface Channels {
  readonly log: vscode.LogOutputChannel;
  readonly agents: vscode.OutputChannel;
}

/** Who does what the user commands. */
export interface Commanded {
  readonly sessions: SessionCommands;
  readonly byHand: ByHand;
  readonly corrections: Corrections;
  readonly resuming: Resuming;
  readonly setup: SetupCommands;
}

export function registerCommands(
  { sessions, byHand, corrections, resuming, setup }: Commanded,
  server: Server,
  { log, agents }: Channels,
): vscode.Disposable[] {
  const commands: Readonly<Record<string, Command>> = {
    "precisionShaking.start": (on, request) => sessions.start(target(on), words(request)),
    "precisionShaking.startWith": (on) => sessions.startWith(target(on)),
    "precisionShaking.accept": (on) => sessions.accept(target(on)),
    "precisionShaking.redo": (on, said) => sessions.redo(target(on), words(said)),
    "precisionShaking.furtherEdit": (on, said) => sessions.furtherEdit(target(on), words(said)),
    "precisionShaking.feedback": (on, said) => sessions.feedback(target(on), words(said)),
    "precisionShaking.useMyVersion": (on) => byHand.use(target(on)),
    "precisionShaking.backToQuestion": (on) => byHand.back(target(on)),
    "precisionShaking.stop": (on) => sessions.stop(target(on)),
    "precisionShaking.resume": () => resuming.choose(),
    "precisionShaking.showProposal": (on) => sessions.showProposal(target(on)),
    "precisionShaking.openAttempt": (uid, attempt) => sessions.openAttempt(words(uid) ?? "", words(attempt) ?? ""),
    "precisionShaking.correct": (on) => corrections.choose(target(on)),
    "precisionShaking.train": () => setup.train(),
    "precisionShaking.useMyModel": () => setup.useMyModel(),
    "precisionShaking.stopMyModel": () => setup.stopMyModel(),
    "precisionShaking.showDataset": () => setup.showDataset(),
    "precisionShaking.setApiKey": () => setup.setApiKey(),
    "precisionShaking.installServer": () => setup.installServer(),
    "precisionShaking.chooseInterpreter": () => setup.chooseInterpreter(),
    "precisionShaking.restart": () => server.restart(),
    "precisionShaking.showLogs": () => {
      log.show();
    },
    "precisionShaking.showAgents": () => {
      agents.show(true);
    },
  };
  return Object.entries(commands).map(([name, command]) =>
    vscode.commands.registerCommand(name, (first: unknown, second: unknown) => guarded(() => command(first, second))),
  );
}

/** Run a task; what goes wrong is told in one sentence, with a way out. `asked`: whether the user wanted the task. */
export async function guarded(task: () => unknown, { asked } = { asked: true }): Promise<void> {
  try {
    await task();
  } catch (error) {
    void (error instanceof NoServerError ? tellNoServer(error.message, asked) : tellError(error));
  }
}

/** Menus hand over all sorts of things; only these say which session or document is meant. */
function target(value: unknown): Target {
  if (typeof value === "string" || value instanceof vscode.Uri) {
    return value;
  }
  const id = (value as { id?: unknown } | null | undefined)?.id;
  return typeof id === "string" ? { id } : undefined;
}

function words(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
