/** A notification with a cancel button for as long as a session's agents work. */

import * as vscode from "vscode";

import type { SessionBook } from "./sessionBook";
import type { Session } from "./sessions";
import { fileName, stepOf } from "./wording";

/** The editor keeps a notification up for some time, so that a short thought's would lie beside its proposal. */
export const WORTH_SAYING_MS = 700;

interface Shown {
  readonly report: (message: string) => void;
  readonly close: () => void;
}

export class Thinking implements vscode.Disposable {
  private readonly shown = new Map<string, Shown>();
  private readonly listening: vscode.Disposable;

  /** @param cancel Is called when the user presses the notification's cancel. */
  constructor(
    book: SessionBook,
    private readonly cancel: (session: string) => void,
  ) {
    this.listening = book.onDidChange((session) => {
      this.follow(session);
    });
  }

  dispose(): void {
    this.listening.dispose();
    for (const { close } of this.shown.values()) {
      close();
    }
    this.shown.clear();
  }

  private follow(session: Session): void {
    if (session.phase !== "thinking") {
      this.shown.get(session.uid)?.close();
      this.shown.delete(session.uid);
      return;
    }
    const shown = this.shown.get(session.uid) ?? this.open(session);
    // Why a teacher is waited for is a sentence of its own.
    shown.report(session.pause?.why ?? [session.doing, stepOf(session)].filter((part) => part !== "").join("… "));
  }

  private open(session: Session): Shown {
    let last = "";
    let report = (message: string): void => {
      last = message;
    };
    let close: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    const soon = setTimeout(() => {
      void vscode.window.withProgress(
        { location: vscode.ProgressLocation.Notification, title: fileName(session.uri), cancellable: true },
        (progress, token) => {
          report = (message) => {
            progress.report({ message });
          };
          report(last);
          token.onCancellationRequested(() => {
            this.cancel(session.uid);
          });
          return closed;
        },
      );
    }, WORTH_SAYING_MS);
    const shown = {
      close: (): void => {
        clearTimeout(soon);
        close();
      },
      report: (message: string): void => {
        report(message);
      },
    };
    this.shown.set(session.uid, shown);
    return shown;
  }
}
