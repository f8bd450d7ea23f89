/** Where the editor enters. */

import * as vscode from "vscode";

import { launch } from "./languageClient";
import { commandLine, findInterpreter } from "./python";
import type { Connection } from "./server";
import { DOCUMENTS, wire } from "./wiring";

export function activate(context: vscode.ExtensionContext): void {
  wire(context, (log) => () => start(context, log));
}

async function start(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Promise<Connection> {
  // The interpreter may belong to the folder, and what belongs to a folder that is not trusted is not run.
  if (!vscode.workspace.isTrusted) {
    throw new Error("Precision Shaking starts only in a workspace that you trust.");
  }
  const storage = context.globalStorageUri;
  // It is the server's working directory, so it has to be there; and it holds nothing that could be imported.
  await vscode.workspace.fs.createDirectory(storage);
  const interpreter = await findInterpreter(storage.fsPath, (why) => {
    log.warn(why);
  });
  log.info(`starting the server with ${commandLine(interpreter)} (from ${interpreter.source})`);
  return launch(interpreter, storage.fsPath, { startsOn: (document) => vscode.languages.match(DOCUMENTS, document) > 0, log });
}
