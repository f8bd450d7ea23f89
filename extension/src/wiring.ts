/** Wires the parts together. Nothing is started here: the server comes with the first command or script. */

import * as vscode from "vscode";

import { ByHand } from "./byHand";
import { guarded, registerCommands } from "./commands";
import { followContext } from "./contextKeys";
import { Corrections } from "./corrections";
import { Countdown } from "./countdown";
import { DatasetView } from "./datasetView";
import { BASE, PROPOSAL } from "./files";
import { ProposalLenses } from "./lenses";
import { listen } from "./listening";
import { PlanView } from "./planView";
import { datasetStats } from "./protocol";
import { Resuming } from "./resuming";
import { Review } from "./review";
import { type Launch, Server } from "./server";
import { SessionBook } from "./sessionBook";
import { SessionCommands } from "./sessionCommands";
import { LANGUAGES, SECTION, serverSettings } from "./settings";
import { SetupCommands } from "./setupCommands";
import { StatusItem } from "./status";
import { Thinking } from "./thinking";
import { Transcript } from "./transcript";

/** The scripts and texts that sessions work on. The diff's own documents are not among them. */
export const DOCUMENTS = ["file", "untitled"].flatMap((scheme) => LANGUAGES.map((language) => ({ scheme, language })));

/** Put everything into the editor; `launch` starts the server when it is wanted. */
export function wire(context: vscode.ExtensionContext, launch: (log: vscode.LogOutputChannel) => Launch): void {
  const log = vscode.window.createOutputChannel("Precision Shaking", { log: true });
  const agents = vscode.window.createOutputChannel("Precision Shaking: Agents");
  const server = new Server(launch(log), (message) => {
    log.warn(message);
  });
  const book = new SessionBook();
  const review = new Review();
  const dataset = new DatasetView(
    () => server.request(datasetStats, {}),
    (message) => {
      log.warn(message);
    },
  );
  server.onConnection(() => {
    dataset.outdate();
  });
  const lenses = new ProposalLenses(book);
  const plan = new PlanView(book);
  // Before whoever shows it, so that a pause has begun when they look.
  const countdown = new Countdown(book);
  const byHand = new ByHand(server, book, review);
  const sessions = new SessionCommands(server, book, review, byHand);
  const setup = new SetupCommands(context, server, dataset, log);
  const corrections = new Corrections(server, book, () => setup.refreshDataset());
  const resuming = new Resuming(server, book, log);
  const transcript = new Transcript(agents);
  listen(server, { book, review, transcript, sessions, byHand, corrections, resuming, setup, log });
  context.subscriptions.push(
    { dispose: () => server.dispose() },
    ...[log, agents, book, dataset, lenses, plan, resuming, followContext(book)],
    ...[countdown, new StatusItem(book, countdown)],
    new Thinking(book, (uid) => void guarded(() => sessions.stop(uid))),
    vscode.workspace.registerTextDocumentContentProvider(BASE, review.bases),
    vscode.workspace.registerFileSystemProvider(PROPOSAL, review.files, { isCaseSensitive: true }),
    vscode.languages.registerCodeLensProvider({ scheme: PROPOSAL }, lenses),
    vscode.window.registerTreeDataProvider("precisionShaking.plan", plan),
    vscode.window.registerTreeDataProvider("precisionShaking.dataset", dataset),
    ...registerCommands({ sessions, byHand, corrections, resuming, setup }, server, { log, agents }),
    ...followEditor(server),
  );
  void review.closeLeftovers();
}

/** Start the server with the first script, and keep it as the settings say. */
function followEditor(server: Server): vscode.Disposable[] {
  const startFor = (document: vscode.TextDocument): void => {
    // A start that failed is tried again when the user asks for something, not at every script they open.
    if (vscode.workspace.isTrusted && !server.wasStarted && vscode.languages.match(DOCUMENTS, document) > 0) {
      void guarded(() => server.ready(), { asked: false });
    }
  };
  const startForAny = (): void => {
    vscode.workspace.textDocuments.forEach(startFor);
  };
  const soon = setImmediate(startForAny);
  return [
    new vscode.Disposable(() => {
      clearImmediate(soon);
    }),
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
