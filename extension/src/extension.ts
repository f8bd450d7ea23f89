/** Wires the parts together. Nothing is started here: the server comes with the first command or script. */

import * as vscode from "vscode";

import { guarded, registerCommands } from "./commands";
import { followContext } from "./contextKeys";
import { DatasetView } from "./datasetView";
import { BASE, PROPOSAL } from "./files";
import { DOCUMENTS, launch } from "./languageClient";
import { ProposalLenses } from "./lenses";
import { listen } from "./listening";
import { PlanView } from "./planView";
import { commandLine, findInterpreter } from "./python";
import { Review } from "./review";
import { Server } from "./server";
import { SessionBook } from "./sessionBook";
import { SessionCommands } from "./sessionCommands";
import { SECTION, serverSettings } from "./settings";
import { SetupCommands } from "./setupCommands";
import { StatusItem } from "./status";
import { Thinking } from "./thinking";
import { Transcript } from "./transcript";

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("Precision Shaking", { log: true });
  const agents = vscode.window.createOutputChannel("Precision Shaking: Agents");
  const server = newServer(context, log);
  const book = new SessionBook();
  const review = new Review();
  const dataset = new DatasetView();
  const lenses = new ProposalLenses(book);
  const plan = new PlanView(book);
  const sessions = new SessionCommands(server, book, review);
  const setup = new SetupCommands(context, server, dataset, log);
  listen(server, { book, review, transcript: new Transcript(agents), sessions, setup, log });
  context.subscriptions.push(
    { dispose: () => void server.dispose() },
    ...[log, agents, book, dataset, lenses, plan, followContext(book), new StatusItem(book)],
    new Thinking(book, (uid) => void guarded(() => sessions.stop(uid))),
    vscode.workspace.registerTextDocumentContentProvider(BASE, review.bases),
    vscode.workspace.registerFileSystemProvider(PROPOSAL, review.files, { isCaseSensitive: true }),
    vscode.languages.registerCodeLensProvider({ scheme: PROPOSAL }, lenses),
    vscode.window.registerTreeDataProvider("precisionShaking.plan", plan),
    vscode.window.registerTreeDataProvider("precisionShaking.dataset", dataset),
    ...registerCommands(sessions, setup, server, { log, agents }),
    ...followEditor(server),
  );
  void review.closeLeftovers();
}

function newServer(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Server {
  const storage = context.globalStorageUri;
  const start = async (): ReturnType<typeof launch> => {
    // It is the server's working directory, so it has to be there; and it holds nothing that could be imported.
    await vscode.workspace.fs.createDirectory(storage);
    const interpreter = await findInterpreter(storage.fsPath);
    log.info(`starting the server with ${commandLine(interpreter)} (from ${interpreter.source})`);
    return launch(interpreter, storage.fsPath, log);
  };
  return new Server(start, (message) => {
    log.warn(message);
  });
}

/** Start the server with the first script, and keep it as the settings say. */
function followEditor(server: Server): vscode.Disposable[] {
  const startFor = (document: vscode.TextDocument): void => {
    // An environment inside a folder that is not trusted may not be run.
    if (vscode.workspace.isTrusted && !server.wasStarted && vscode.languages.match(DOCUMENTS, document) > 0) {
      void guarded(() => server.ready());
    }
  };
  const startForAny = (): void => {
    vscode.workspace.textDocuments.forEach(startFor);
  };
  setImmediate(startForAny);
  return [
    vscode.workspace.onDidOpenTextDocument(startFor),
    vscode.workspace.onDidGrantWorkspaceTrust(startForAny),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration(`${SECTION}.interpreter`)) {
        void guarded(() => server.restart());
      } else if (change.affectsConfiguration(SECTION)) {
        const settings = { [SECTION]: serverSettings() };
        void guarded(() => server.tell("workspace/didChangeConfiguration", { settings }));
      }
    }),
  ];
}
