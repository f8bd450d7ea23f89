/** Starts the server process through vscode-languageclient; the only file that knows that library. */

import type * as vscode from "vscode";
import { WorkDoneProgress } from "vscode-languageclient";
import { LanguageClient, RevealOutputChannelOn, State } from "vscode-languageclient/node";

import type { Interpreter } from "./python";
import type { Connection } from "./server";
import { serverSettings } from "./settings";

export interface ClientOptions {
  /** The documents that a session can be started on by a code action. */
  readonly startsOn: (document: vscode.TextDocument) => boolean;
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
      // All of them, because a session may change several files, and unsaved changes count.
      documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
      middleware: {
        provideCodeActions: async (document, range, context, token, next) => {
          const actions = await next(document, range, context, token);
          return options.startsOn(document) ? actions : actions?.filter((action) => !starts(action));
        },
      },
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

function starts({ command }: vscode.Command | vscode.CodeAction): boolean {
  return (typeof command === "string" ? command : command?.command) === "precisionShaking.start";
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
