/** The buttons at the top of a proposal's text, where nobody misses them. */

import * as vscode from "vscode";

import { handUri } from "./files";
import type { SessionBook } from "./sessionBook";
import type { Session } from "./sessions";
import { outcomeText } from "./wording";

export class ProposalLenses implements vscode.CodeLensProvider, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.changes.event;
  private readonly listening: vscode.Disposable;

  constructor(private readonly book: SessionBook) {
    this.listening = book.onDidChange(() => {
      this.changes.fire();
    });
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const session = this.book.behind(document.uri);
    const top = new vscode.Range(0, 0, 0, 0);
    const byHand = session && document.uri.toString() === handUri(session).toString();
    return session ? (byHand ? handButtons(session) : buttons(session)).map((command) => new vscode.CodeLens(top, command)) : [];
  }

  dispose(): void {
    this.listening.dispose();
    this.changes.dispose();
  }
}

/** What can be clicked on a proposal while the session is as it is. */
export function buttons(session: Session): vscode.Command[] {
  const on = [session.uid];
  const stop = stopButton(session);
  if (session.phase === "stuck") {
    const title = "$(question) No teacher could do this step. How to go on?…";
    return [{ title, command: "precisionShaking.showProposal", arguments: on }, stop];
  }
  if (session.phase !== "waiting" || !session.proposal) {
    return [working(session), stop];
  }
  const outcome = session.proposal.outcome;
  return [
    { title: "$(check) Accept", command: "precisionShaking.accept", arguments: on },
    { title: "$(discard) Redo…", command: "precisionShaking.redo", arguments: on },
    { title: "$(edit) Further edit…", command: "precisionShaking.furtherEdit", arguments: on },
    { title: "$(comment) Feedback…", command: "precisionShaking.feedback", arguments: on },
    stop,
    {
      title: `${outcome === "ok" ? "$(pass)" : "$(warning)"} It ${outcomeText(outcome)}`,
      tooltip: session.proposal.output,
      command: "precisionShaking.showAgents",
    },
  ];
}

/** What can be clicked on a step that the user does by hand. */
export function handButtons(session: Session): vscode.Command[] {
  const on = [session.uid];
  if (session.phase !== "stuck") {
    return [working(session), stopButton(session)];
  }
  return [
    { title: "$(check) Use my version", command: "precisionShaking.useMyVersion", arguments: on },
    { title: "$(arrow-left) Back", command: "precisionShaking.backToQuestion", arguments: on },
    stopButton(session),
  ];
}

function working(session: Session): vscode.Command {
  return { title: `$(loading~spin) ${session.doing}…`, command: "precisionShaking.showAgents" };
}

function stopButton(session: Session): vscode.Command {
  return { title: "$(debug-stop) Stop", command: "precisionShaking.stop", arguments: [session.uid] };
}
