/** Sessions that broke off, with their editor or without it: offered once, resumed or given up. */

import * as vscode from "vscode";

import { askOffered, askSession, tellBrokenOff } from "./asking";
import { guarded } from "./commands";
import { abandonSession, type OpenSession, openSessions, resumeSession } from "./protocol";
import type { Server } from "./server";
import type { SessionBook } from "./sessionBook";
import type { Session } from "./sessions";
import { fileName } from "./wording";

export class Resuming implements vscode.Disposable {
  private waiting: readonly OpenSession[] = [];
  private readonly offered = new Set<string>();
  private readonly listening: vscode.Disposable;

  constructor(
    private readonly server: Server,
    private readonly book: SessionBook,
    private readonly log: Pick<vscode.LogOutputChannel, "warn">,
  ) {
    this.listening = vscode.workspace.onDidOpenTextDocument(() => {
      this.offerOpen();
    });
    server.onConnection(() => void this.look());
  }

  dispose(): void {
    this.listening.dispose();
  }

  /** Let the user choose among all sessions that wait, whether their documents are open or not. */
  async choose(): Promise<void> {
    const { sessions } = await this.server.request(openSessions, {});
    if (sessions.length === 0) {
      void vscode.window.showInformationMessage("No session waits to be resumed.");
      return;
    }
    const chosen = await askSession(sessions.map((session) => ({ ...session, uid: session.session })));
    if (chosen?.problem) {
      await this.offer(chosen);
    } else if (chosen) {
      await this.resume(chosen.session, chosen.uri);
    }
  }

  /** Say why sessions broke off, and go on with them if the user wants that. */
  async offerAgain(lost: readonly Session[], why: string): Promise<void> {
    if (await tellBrokenOff(why)) {
      for (const session of lost) {
        await this.resume(session.uid, session.uri);
      }
    }
  }

  private async resume(session: string, uri: string): Promise<void> {
    // The server works on open documents only.
    await vscode.workspace.openTextDocument(vscode.Uri.parse(uri));
    await vscode.commands.executeCommand("vscode.open", vscode.Uri.parse(uri));
    await this.server.request(resumeSession, { session });
    await vscode.commands.executeCommand("precisionShaking.plan.focus", { preserveFocus: true });
  }

  /** Find out what waits. Nobody asked for it, so nobody is bothered when it fails. */
  private async look(): Promise<void> {
    try {
      this.waiting = (await this.server.request(openSessions, {})).sessions;
      this.offerOpen();
    } catch (error) {
      this.log.warn(`could not look for sessions that broke off: ${String(error)}`);
    }
  }

  private offerOpen(): void {
    const open = new Set(vscode.workspace.textDocuments.map(({ uri }) => uri.toString()));
    for (const session of this.waiting) {
      if (open.has(session.uri) && !this.offered.has(session.session) && !this.book.of(session.uri)) {
        this.offered.add(session.session);
        void guarded(() => this.offer(session));
      }
    }
  }

  private async offer({ session, uri, step, steps, problem }: OpenSession): Promise<void> {
    const place = steps === 0 ? "its plan" : `step ${step + 1}/${steps}`;
    const chosen = problem
      ? await askOffered(`The session on ${fileName(uri)} broke off. ${problem}`, false)
      : await askOffered(`The session on ${fileName(uri)} stopped at ${place}. Resume?`, true);
    if (chosen === "Resume") {
      await this.resume(session, uri);
    } else if (chosen === "Abandon") {
      await this.server.request(abandonSession, { session });
    }
  }
}
