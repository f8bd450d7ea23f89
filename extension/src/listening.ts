/** What the server says, on its way to whoever shows it. */

import * as vscode from "vscode";

import { askVerdict } from "./asking";
import type { ByHand } from "./byHand";
import { guarded } from "./commands";
import type { Corrections } from "./corrections";
import { isSessionEvent, type SessionEvent } from "./events";
import { apiKey, proposal, type Proposal, sessionEvent } from "./protocol";
import type { Resuming } from "./resuming";
import type { Review } from "./review";
import type { Server } from "./server";
import type { SessionBook } from "./sessionBook";
import type { SessionCommands } from "./sessionCommands";
import type { SetupCommands } from "./setupCommands";
import type { Transcript } from "./transcript";
import { count } from "./wording";

export interface Audience {
  readonly book: SessionBook;
  readonly review: Review;
  readonly transcript: Transcript;
  readonly sessions: SessionCommands;
  readonly byHand: ByHand;
  readonly corrections: Corrections;
  readonly resuming: Resuming;
  readonly setup: SetupCommands;
  readonly log: Pick<vscode.LogOutputChannel, "info" | "warn">;
}

/** Route everything that the server sends. */
export function listen(server: Server, audience: Audience): void {
  server.onNotification(sessionEvent, ({ session, uri, event }) => {
    if (isSessionEvent(event)) {
      take(session, uri, event, audience);
    } else {
      audience.log.warn(`unknown session event: ${JSON.stringify(event)}`);
    }
  });
  server.onNotification(proposal, (told) => {
    void guarded(() => present(told, audience));
  });
  server.onRequest(apiKey, (params) => audience.setup.apiKey(params));
  server.onConnection((connection) => {
    connection.onGone(() => {
      lose(audience);
    });
  });
}

function take(uid: string, uri: string, event: SessionEvent, audience: Audience): void {
  const { book, review, transcript, byHand, corrections, resuming, setup } = audience;
  book.apply(uid, uri, event);
  transcript.add(event);
  const session = book.get(uid);
  if (event.kind === "help_needed" && session) {
    void guarded(() => byHand.ask(session));
  } else if (event.kind === "feedback_read") {
    void guarded(() => corrections.offer(uid, event));
  } else if (event.kind === "step_accepted") {
    void review.close(uid);
    void guarded(() => setup.refreshDataset());
  } else if (event.kind === "scoring" && event.waiting === 0) {
    void guarded(() => setup.refreshDataset());
  } else if (event.kind === "session_failed") {
    void review.close(uid);
    void guarded(() => resuming.offerAgain(session ? [session] : [], event.message));
  } else if (event.kind === "session_finished") {
    void review.close(uid);
    void guarded(() => setup.refreshDataset());
    if (event.status === "done") {
      void tellDone(event.rows);
    }
  }
}

async function present(told: Proposal, { book, review, sessions }: Audience): Promise<void> {
  book.propose(told);
  await review.show(told);
  if (told.warnings.length > 0) {
    void vscode.window.showWarningMessage(told.warnings.join(" "));
  }
  if (told.unclear) {
    const verdict = await askVerdict();
    if (verdict !== undefined) {
      await sessions.answer(told.session, verdict, () => Promise.resolve(""));
    }
  }
}

/** The server process went away, and its sessions with it. */
function lose({ book, review, resuming, log }: Audience): void {
  const lost = book.abandonAll("The server went away.");
  for (const session of lost) {
    void review.close(session.uid);
  }
  if (lost.length > 0) {
    log.warn(`the server went away during ${count(lost.length, "session")}`);
    const why = "Precision Shaking's server went away in the middle of a session, which can go on where it was.";
    void guarded(() => resuming.offerAgain(lost, why));
  }
}

async function tellDone(rows: number): Promise<void> {
  const show = "Show the Dataset";
  const sentence = `Every step is done; your dataset has ${count(rows, "new row")}.`;
  if ((await vscode.window.showInformationMessage(sentence, show)) === show) {
    await vscode.commands.executeCommand("precisionShaking.showDataset");
  }
}
