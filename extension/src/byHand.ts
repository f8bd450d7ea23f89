/** A step that no teacher could do: the question how to go on, and the user's own text as its answer. */

import * as vscode from "vscode";

import { askHelp } from "./asking";
import type { EventOf } from "./events";
import { handUri } from "./files";
import { help } from "./protocol";
import type { Review } from "./review";
import type { Server } from "./server";
import type { SessionBook } from "./sessionBook";
import type { Session } from "./sessions";
import { pick, type Target } from "./targets";
import { handTitle } from "./wording";

export class ByHand {
  constructor(
    private readonly server: Server,
    private readonly book: SessionBook,
    private readonly review: Review,
  ) {}

  /** Ask how to go on; whoever has begun to write is brought back to their text. */
  async ask(session: Session): Promise<void> {
    const asked = session.help;
    if (!asked) {
      return;
    }
    if (this.review.isShown(handUri(session))) {
      await this.open(session, asked);
      return;
    }
    const choice = await askHelp(asked.text, asked.choices);
    if (choice === undefined || this.book.get(session.uid)?.help !== asked) {
      return;
    }
    if (choice === "by_hand") {
      await this.open(session, asked);
    } else {
      await this.server.request(help, { session: session.uid, choice, script: null });
    }
  }

  /** The user's text does the step. */
  async use(target?: Target): Promise<void> {
    const session = await this.pickStuck(target);
    const asked = session?.help;
    if (!session || !asked) {
      void vscode.window.showInformationMessage("No step waits to be done by hand.");
      return;
    }
    const script = this.review.textOf(handUri(session)) ?? asked.script;
    this.book.answered(session.uid);
    try {
      // The choice says nothing beside a text.
      await this.server.request(help, { session: session.uid, choice: "retry", script });
    } catch (error) {
      // Where the server put the question again, with newer texts, it stands already.
      if (this.book.get(session.uid)?.help === asked) {
        this.book.apply(session.uid, session.uri, asked);
      }
      throw error;
    }
  }

  /** Another way on after all; the text is kept until the step is done. */
  async back(target?: Target): Promise<void> {
    const session = await this.pickStuck(target);
    if (session) {
      await this.review.closeDiff(handUri(session));
      await this.ask(session);
    }
  }

  private open(session: Session, { base, script }: EventOf<"help_needed">): Promise<void> {
    const right = handUri(session);
    const sides = [{ file: vscode.Uri.parse(session.uri), right, base, proposed: script }];
    return this.review.open({ session: session.uid, sides, title: handTitle(session) });
  }

  private pickStuck(target: Target): Promise<Session | undefined> {
    return pick(this.book, target, this.book.all().filter(({ phase }) => phase === "stuck"));
  }
}
