/** The user's words were read as one verdict and meant another: one click puts it right. */

import * as vscode from "vscode";

import type { EventOf, Verdict } from "./events";
import { correct } from "./protocol";
import type { Server } from "./server";
import type { SessionBook } from "./sessionBook";
import { isRunning } from "./sessions";
import type { Target } from "./targets";

const NAMES: Readonly<Record<Verdict, string>> = { accepted: "Accepted", redo: "Redo", further_edit: "Further Edit" };

export class Corrections {
  constructor(
    private readonly server: Server,
    private readonly book: SessionBook,
    private readonly refresh: () => Promise<void>,
  ) {}

  /** Say how the user's words were read, with a button for each of the other verdicts. */
  async offer(session: string, read: EventOf<"feedback_read">): Promise<void> {
    const verdict = others("").find((known) => known === read.verdict);
    if (verdict === undefined || read.decided_by !== "analyzer") {
      return;
    }
    const choices = others(verdict);
    const chosen = await vscode.window.showInformationMessage(`Read as: ${spoken(verdict)}.`, ...choices.map((other) => NAMES[other]));
    await this.send(session, read.attempt, choices.find((other) => NAMES[other] === chosen));
  }

  /** Correct an attempt of the plan, which is called `<session>/<attempt>` there. */
  async choose(line: Target): Promise<void> {
    const [session = "", uid = ""] = typeof line === "object" && "id" in line ? line.id.split("/") : [];
    const attempt = this.book.get(session)?.steps.flatMap((step) => step.attempts).find((known) => known.uid === uid);
    if (!attempt) {
      void vscode.window.showInformationMessage("Choose the attempt in the plan whose verdict is wrong.");
      return;
    }
    const items = others(attempt.fate).map((verdict) => ({ label: NAMES[verdict], verdict }));
    const placeHolder = `What did you mean about attempt ${attempt.cycle}?`;
    const chosen = await vscode.window.showQuickPick(items, { title: "Precision Shaking", placeHolder });
    await this.send(session, uid, chosen?.verdict);
  }

  private async send(session: string, attempt: string, verdict: Verdict | undefined): Promise<void> {
    if (verdict === undefined) {
      return;
    }
    await this.server.request(correct, { session, attempt, verdict });
    this.book.correct(session, attempt, verdict);
    const known = this.book.get(session);
    const goesOn = known && isRunning(known) ? " The session itself goes on as it was read." : "";
    void vscode.window.showInformationMessage(`Noted as ${spoken(verdict)} in your dataset.${goesOn}`);
    await this.refresh();
  }
}

function others(verdict: string): Verdict[] {
  return (Object.keys(NAMES) as Verdict[]).filter((other) => other !== verdict);
}

function spoken(verdict: Verdict): string {
  return NAMES[verdict].toLowerCase();
}
