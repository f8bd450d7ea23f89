/** What the user can do with a session: start it, answer its proposals, stop it. */

import * as vscode from "vscode";

import { askRequest, askWords } from "./asking";
import type { ByHand } from "./byHand";
import { choose, type Choice, DEFAULT_CHOICE } from "./choosing";
import type { Verdict } from "./events";
import { answer, type Proposal, startSession, stopSession } from "./protocol";
import type { Review } from "./review";
import type { Server } from "./server";
import type { SessionBook } from "./sessionBook";
import { isRunning, type Session } from "./sessions";
import { LANGUAGES } from "./settings";
import { pick, type Target } from "./targets";
import { fileName } from "./wording";

export class SessionCommands {
  constructor(
    private readonly server: Server,
    private readonly book: SessionBook,
    private readonly review: Review,
    private readonly byHand: ByHand,
  ) {}

  /** Begin a session on a document. `request` is asked for when it is not given. */
  start(target?: Target, request?: string): Promise<void> {
    return this.ask(target, LANGUAGES, () => Promise.resolve(DEFAULT_CHOICE), request);
  }

  /** The same, of an instance and on files that the user chooses first. */
  startWith(target?: Target): Promise<void> {
    return this.ask(target, undefined, (document) => choose(this.server, document));
  }

  private async ask(
    target: Target,
    languages: readonly string[] | undefined,
    choosing: (document: vscode.TextDocument) => Promise<Choice | undefined>,
    request?: string,
  ): Promise<void> {
    if (!vscode.workspace.isTrusted) {
      await offerTrust();
      return;
    }
    const document = await scriptOf(target, languages);
    if (!document) {
      void vscode.window.showInformationMessage("Open the Python script or the text that should change, then ask again.");
      return;
    }
    const uri = document.uri.toString();
    const running = this.book.of(uri);
    if (running) {
      await this.offerRunning(running);
      return;
    }
    // Without a server nobody shall write a request that is lost.
    await this.server.ready();
    const choice = await choosing(document);
    const words = choice && (request?.trim() ?? (await askRequest(fileName(uri))));
    if (words) {
      await this.begin(uri, words, choice);
    }
  }

  accept(target?: Target): Promise<void> {
    return this.answer(target, "accepted", () => Promise.resolve(""));
  }

  redo(target?: Target, words?: string): Promise<void> {
    const prompt = "What was wrong with it? Nothing of it stays. (Enter without words is fine.)";
    return this.answer(target, "redo", () => given(words) ?? askWords(prompt, false));
  }

  furtherEdit(target?: Target, words?: string): Promise<void> {
    const prompt = "It stays. What should change about it next?";
    return this.answer(target, "further_edit", () => given(words) ?? askWords(prompt, true));
  }

  feedback(target?: Target, words?: string): Promise<void> {
    const prompt = "Say in your own words what you think of it; whether to accept, redo or edit further is read from them.";
    return this.answer(target, null, () => given(words) ?? askWords(prompt, true));
  }

  async stop(target?: Target): Promise<void> {
    const session = await this.pick(target, this.book.all().filter(isRunning));
    if (session) {
      await this.server.request(stopSession, { session: session.uid });
      await this.review.close(session.uid);
    }
  }

  /** Bring back what waits for the user: the diff, or the question how to go on. */
  async showProposal(target?: Target): Promise<void> {
    const asking = this.book.all().filter(({ phase }) => phase === "waiting" || phase === "stuck");
    const session = await this.pick(target, asking);
    if (session?.phase === "stuck") {
      await this.byHand.ask(session);
    } else if (session?.proposal) {
      await this.review.show(session.proposal);
    }
  }

  /** Open an attempt's diff: editable while it waits for an answer, else as it was. */
  async openAttempt(uid: string, attemptUid: string): Promise<void> {
    const attempts = this.book.get(uid)?.steps.flatMap((step) => step.attempts) ?? [];
    const attempt = attempts.find((candidate) => candidate.uid === attemptUid);
    if (attempt?.proposal) {
      await (attempt.fate === "waiting" ? this.review.show(attempt.proposal) : this.review.showPast(attempt.proposal));
    }
  }

  /** Send the user's verdict, or their words alone, with what they made of the proposal. */
  async answer(target: Target, verdict: Verdict | null, ask: () => Promise<string | undefined>): Promise<void> {
    const session = await this.pick(target, this.book.waiting());
    const proposal = session?.proposal;
    if (!session || !proposal) {
      void vscode.window.showInformationMessage("No proposed edit waits for an answer.");
      return;
    }
    const words = await ask();
    if (words === undefined || this.book.get(session.uid)?.proposal?.attempt !== proposal.attempt) {
      return;
    }
    // Nothing of a redone proposal stays, so neither do the user's changes to it.
    const made = verdict === "redo" ? { proposed: null, files: [] } : this.review.amended(proposal);
    this.book.answered(session.uid);
    try {
      const result = await this.server.request(answer, {
        session: session.uid,
        attempt: proposal.attempt,
        verdict,
        words,
        ...made,
      });
      await this.conclude(proposal, verdict, result);
    } catch (error) {
      this.book.reopen(proposal);
      throw error;
    }
  }

  private async conclude(
    proposal: Proposal,
    verdict: Verdict | null,
    result: { applied: boolean; message: string },
  ): Promise<void> {
    const failed = verdict === "accepted" && !result.applied;
    if (result.message !== "") {
      void (failed ? vscode.window.showWarningMessage : vscode.window.showInformationMessage)(result.message);
    }
    if (failed) {
      this.book.reopen(proposal);
    }
    if (result.applied) {
      await this.review.closeAttempt(proposal);
    }
  }

  private async begin(uri: string, request: string, { instance, files }: Choice): Promise<void> {
    const location = vscode.ProgressLocation.Notification;
    const options = { location, title: fileName(uri), cancellable: true };
    const session = await vscode.window.withProgress(options, async (progress, token) => {
      progress.report({ message: "starting…" });
      const begun = await this.server.request(startSession, { uri, request, instance, files: [...files] }, token).catch((error: unknown) => {
        if (token.isCancellationRequested) {
          return undefined;
        }
        throw error;
      });
      return begun?.session;
    });
    if (session !== undefined) {
      this.book.open(session, uri, request);
      await vscode.commands.executeCommand("precisionShaking.plan.focus", { preserveFocus: true });
    }
  }

  private pick(target: Target, choices: readonly Session[]): Promise<Session | undefined> {
    return pick(this.book, target, choices);
  }

  private async offerRunning(session: Session): Promise<void> {
    const question = `A session on ${fileName(session.uri)} is running already.`;
    const chosen = await vscode.window.showInformationMessage(question, "Show It", "Stop It");
    if (chosen === "Show It") {
      await vscode.commands.executeCommand("precisionShaking.plan.focus");
      await this.showProposal(session.uid);
    } else if (chosen === "Stop It") {
      await this.stop(session.uid);
    }
  }
}

function given(words: string | undefined): Promise<string> | undefined {
  return words === undefined ? undefined : Promise.resolve(words.trim());
}

/** The script or text that a session is to be started on, in one of the languages if those matter. */
async function scriptOf(target: Target, languages?: readonly string[]): Promise<vscode.TextDocument | undefined> {
  const active = vscode.window.activeTextEditor?.document;
  const uri = typeof target === "string" ? vscode.Uri.parse(target) : target instanceof vscode.Uri ? target : undefined;
  const document = uri ? await vscode.workspace.openTextDocument(uri) : active;
  const speaks = document && (languages?.includes(document.languageId) ?? true);
  const fits = speaks && ["file", "untitled"].includes(document.uri.scheme);
  return fits ? document : undefined;
}

async function offerTrust(): Promise<void> {
  const why = "Proposed scripts are run on this machine, so Precision Shaking works only in a workspace that you trust.";
  if ((await vscode.window.showWarningMessage(why, "Manage Trust")) === "Manage Trust") {
    await vscode.commands.executeCommand("workbench.trust.manage");
  }
}
