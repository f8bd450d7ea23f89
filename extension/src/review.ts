/** Shows proposals as diffs, reads back what the user made of them, and tidies their tabs away. */

import * as vscode from "vscode";

import { BaseDocuments, baseUri, belongsTo, pastUri, ProposalFiles, type Side, sidesOf } from "./files";
import type { Proposal } from "./protocol";
import { closeTabs, openDocument, rightSides, same, saveQuietly, shows, tabsWhere } from "./tabs";
import { diffTitle } from "./wording";

/** A diff whose right sides can be edited. */
export interface Draft {
  readonly session: string;
  readonly sides: readonly Side[];
  readonly title: string;
}

export class Review {
  readonly bases = new BaseDocuments();
  readonly files = new ProposalFiles();
  /** What the server proposed last, by its place: what differs from it is the user's own. */
  private readonly proposed = new Map<string, string>();
  /** Tabs are opened and closed one after the other, or they would close each other. */
  private queue: Promise<void> = Promise.resolve();

  /** Open the proposal's diff in place of the session's last one. The same attempt keeps the user's changes. */
  show(proposal: Proposal): Promise<void> {
    return this.open({ session: proposal.session, sides: sidesOf(proposal), title: diffTitle(proposal) });
  }

  /** Open a diff in place of the session's last one; the user's changes stay unless its proposed text is another. */
  open({ session, sides, title }: Draft): Promise<void> {
    return this.inTurn(async () => {
      for (const side of sides) {
        await this.put(side);
      }
      await openDiff(title, sides.map(({ file, right }) => [file, baseUri(right), right]));
      const ours = (tab: vscode.Tab | undefined): boolean => shows(tab, (right) => belongsTo(right, session));
      const [only, another] = sides;
      const front = vscode.window.tabGroups.activeTabGroup.activeTab;
      // A diff of one file that was open already has come to the front; one of several was opened anew.
      const stays = (tab: vscode.Tab): boolean =>
        another ? tab === front || !ours(front) : rightSides(tab).every((shown) => only && same(shown, only.right));
      await closeTabs((tab) => ours(tab) && !stays(tab));
    });
  }

  isShown(right: vscode.Uri): boolean {
    return tabsWhere((tab) => shows(tab, (shown) => same(shown, right))).length > 0;
  }

  /** A right side as the user left it; undefined where it was never opened. */
  textOf(right: vscode.Uri): string | undefined {
    const stored = this.files.has(right) ? this.files.text(right) : undefined;
    return openDocument(right)?.getText() ?? stored;
  }

  /** Open an attempt that was answered already; both sides can only be read. */
  showPast(proposal: Proposal): Promise<void> {
    return this.inTurn(async () => {
      const sides = sidesOf(proposal);
      for (const { right, base, proposed } of sides) {
        this.bases.set(baseUri(right), base ?? "");
        this.bases.set(pastUri(right), proposed);
      }
      const title = `${diffTitle(proposal)} (past)`;
      await openDiff(title, sides.map(({ file, right }) => [file, baseUri(right), pastUri(right)]));
    });
  }

  /** What the user made of the proposal, as an answer says it: only what they changed. */
  amended(proposal: Proposal): { proposed: string | null; files: { uri: string; text: string }[] } {
    const changed = sidesOf(proposal).flatMap(({ file, right, proposed }) => {
      const text = plain(this.textOf(right) ?? proposed);
      return text === plain(proposed) ? [] : [{ uri: file.toString(), text }];
    });
    return proposal.files.length > 0 ? { proposed: null, files: changed } : { proposed: changed[0]?.text ?? null, files: [] };
  }

  /** Close the session's diff and drop what it held. */
  close(session: string): Promise<void> {
    return this.inTurn(async () => {
      await closeTabs((tab) => shows(tab, (right) => belongsTo(right, session)));
      this.files.forget(session);
      for (const place of this.proposed.keys()) {
        if (belongsTo(vscode.Uri.parse(place), session)) {
          this.proposed.delete(place);
        }
      }
    });
  }

  /** Close the diff of an attempt; a newer one of the same session stays. */
  closeAttempt(proposal: Proposal): Promise<void> {
    const rights = sidesOf(proposal).map(({ right }) => right);
    return this.inTurn(() => closeTabs((tab) => shows(tab, (shown) => rights.some((right) => same(shown, right)))));
  }

  /** Close a diff; what it held stays for the next time. */
  closeDiff(right: vscode.Uri): Promise<void> {
    return this.inTurn(() => closeTabs((tab) => shows(tab, (shown) => same(shown, right))));
  }

  /** Close what an earlier window left open: its texts are gone. */
  closeLeftovers(): Promise<void> {
    return this.inTurn(() => closeTabs((tab) => shows(tab, (shown) => !this.files.has(shown))));
  }

  private async put({ right, base, proposed }: Side): Promise<void> {
    this.bases.set(baseUri(right), base ?? "");
    if (!this.files.has(right) || this.proposed.get(right.toString()) !== proposed) {
      // A document with unsaved changes would not follow.
      await saveQuietly(right);
      this.files.set(right, proposed);
    }
    this.proposed.set(right.toString(), proposed);
  }

  private inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.queue.then(task);
    this.queue = turn.catch(() => undefined);
    return turn;
  }
}

/** A file, its left side and its right side. Without a left side the editor would not tell us of the other. */
type Resource = readonly [file: vscode.Uri, left: vscode.Uri, right: vscode.Uri];

/** Open the editor's diff of one file, or the one of several. */
async function openDiff(title: string, resources: readonly Resource[]): Promise<void> {
  const [first, second] = resources;
  if (first && !second) {
    const [, left, right] = first;
    const options = { preview: false, preserveFocus: false };
    await vscode.commands.executeCommand("vscode.diff", left, right, title, options);
  } else {
    await vscode.commands.executeCommand("vscode.changes", title, resources);
  }
}

function plain(text: string): string {
  return text.replaceAll("\r\n", "\n");
}
