/** Who is working, in the status bar; there only while a session runs. */

import * as vscode from "vscode";

import type { Countdown } from "./countdown";
import type { SessionBook } from "./sessionBook";
import { isRunning } from "./sessions";
import { fileName, statusText } from "./wording";

export class StatusItem implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem("precisionShaking.status", vscode.StatusBarAlignment.Left, 50);
  private readonly listening: readonly vscode.Disposable[];

  constructor(
    private readonly book: SessionBook,
    private readonly countdown: Countdown,
  ) {
    this.item.name = "Precision Shaking";
    const refresh = (): void => {
      this.refresh();
    };
    this.listening = [book.onDidChange(refresh), countdown.onDidTick(refresh)];
  }

  dispose(): void {
    this.listening.forEach((one) => {
      one.dispose();
    });
    this.item.dispose();
  }

  private refresh(): void {
    const running = this.book.all().filter(isRunning);
    // One that asks something is more urgent than one that works.
    const session = running.findLast(({ phase }) => phase !== "thinking") ?? running.at(-1);
    if (!session) {
      this.item.hide();
      return;
    }
    this.item.text = statusText(session, this.countdown.left(session));
    const why = session.pause?.why ?? session.teacher;
    this.item.tooltip = [fileName(session.uri), session.request, why].filter((part) => part !== "").join("\n");
    const asks = session.phase !== "thinking";
    this.item.command = asks
      ? { title: "Show", command: "precisionShaking.showProposal", arguments: [session.uid] }
      : "precisionShaking.plan.focus";
    this.item.backgroundColor = asks ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
    this.item.show();
  }
}
