/** The seconds until a teacher that could not answer is asked again. */

import * as vscode from "vscode";

import type { SessionBook } from "./sessionBook";
import type { Pause, Session } from "./sessions";

interface Running {
  readonly pause: Pause;
  /** When it is over, in milliseconds since the epoch. */
  readonly end: number;
}

export class Countdown implements vscode.Disposable {
  private readonly running = new Map<string, Running>();
  private readonly ticks = new vscode.EventEmitter<void>();
  private readonly listening: vscode.Disposable;
  private timer: NodeJS.Timeout | undefined;
  /** A second went by in one of the pauses. */
  readonly onDidTick = this.ticks.event;

  constructor(private readonly book: SessionBook) {
    this.listening = book.onDidChange((session) => {
      this.follow(session);
    });
  }

  /** Whole seconds left of the session's pause. */
  left({ uid, pause }: Session): number {
    const known = this.running.get(uid);
    return known && known.pause === pause ? Math.ceil((known.end - Date.now()) / 1000) : (pause?.seconds ?? 0);
  }

  dispose(): void {
    this.listening.dispose();
    clearInterval(this.timer);
    this.ticks.dispose();
  }

  private follow({ uid, pause }: Session): void {
    if (pause && this.running.get(uid)?.pause !== pause) {
      this.running.set(uid, { pause, end: Date.now() + 1000 * pause.seconds });
      this.timer ??= setInterval(() => {
        this.tick();
      }, 1000);
    } else if (!pause && this.running.delete(uid) && this.running.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }

  private tick(): void {
    const over = [...this.running].filter(([, { end }]) => end <= Date.now());
    for (const [uid, { pause }] of over) {
      this.book.endPause(uid, pause);
    }
    this.ticks.fire();
  }
}
