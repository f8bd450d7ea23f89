/** Starts the server process through vscode-languageclient; the only file that knows that library. */

import type * as vscode from "vscode";
import { WorkDoneProgress } from "vscode-languageclient";
import { LanguageClient, RevealOutputChannelOn, State } from "vscode-languageclient/node";

import type { Interpreter } from "./python";
import type { Connection } from "./server";
import { serverSettings } from "./settings";

export interface ClientOptions {
  /** Which documents the server is told of. */
  readonly documentSelector: { scheme: string; language: string }[];
  readonly log: vscode.LogOutputChannel;
}

/** Start `<interpreter> -m precision_shaking serve` in `cwd` and shake hands with it. */
export async function launch(interpreter: Interpreter, cwd: string, options: ClientOptions): Promise<Connection> {
  const client = new LanguageClient(
    "precisionShaking",
    "Precision Shaking",
    {
      command: interpreter.command,
      args: [...interpreter.args, "-m", "precision_shaking", "serve"],
      options: { cwd },
    },
    {
      documentSelector: options.documentSelector,
      outputChannel: options.log,
      traceOutputChannel: options.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      // The server's code actions then name the extension's commands, which can ask for words.
      initializationOptions: { ...serverSettings(), clientCommands: true },
      connectionOptions: { maxRestartCount: 2 },
    },
  );
  await client.start();
  return connect(client);
}

function connect(client: LanguageClient): Connection {
  return {
    // An absent token must not be handed over: the library takes it for a second parameter.
    sendRequest: (method, params, token) =>
      token ? client.sendRequest<unknown>(method, params, token) : client.sendRequest<unknown>(method, params),
    sendNotification: (method, params) => client.sendNotification(method, params),
    onNotification: (method, handler) => client.onNotification(method, handler),
    onRequest: (method, handler) => client.onRequest(method, handler),
    onWorkDone: (token, report) =>
      client.onProgress(WorkDoneProgress.type, token, (value) => {
        if (value.kind !== "end") {
          report(value.message ?? "", value.percentage);
        }
      }),
    onGone: (handler) =>
      void client.onDidChangeState((change) => {
        if (change.oldState === State.Running && change.newState !== State.Running) {
          handler();
        }
      }),
    stop: () => client.dispose(),
  };
}
