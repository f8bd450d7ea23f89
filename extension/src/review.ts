/** Shows proposals as diffs, reads back what the user made of them, and tidies their tabs away. */

import * as vscode from "vscode";

import { BASE, BaseDocuments, baseUri, belongsTo, pastUri, PROPOSAL, ProposalFiles, proposalUri } from "./files";
import type { Proposal } from "./protocol";
import { diffTitle } from "./wording";

/** A diff whose right side can be edited. */
export interface Draft {
  readonly session: string;
  /** The right side's place; the left side's follows from it. */
  readonly right: vscode.Uri;
  readonly base: string;
  readonly proposed: string;
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
    return this.open({ ...proposal, right: proposalUri(proposal), title: diffTitle(proposal) });
  }

  /** Open a diff in place of the session's last one; the user's changes stay unless its proposed text is another. */
  open({ session, right, base, proposed, title }: Draft): Promise<void> {
    return this.inTurn(async () => {
      const left = right.with({ scheme: BASE });
      this.bases.set(left, base);
      if (!this.files.has(right) || this.proposed.get(right.toString()) !== proposed) {
        // A document with unsaved changes would not follow.
        await saveQuietly(right);
        this.files.set(right, proposed);
      }
      this.proposed.set(right.toString(), proposed);
      await vscode.commands.executeCommand("vscode.diff", left, right, title, { preview: false, preserveFocus: false });
      await closeTabs((shown) => belongsTo(shown, session) && !same(shown, right));
    });
  }

  isShown(right: vscode.Uri): boolean {
    return diffTabs((shown) => same(shown, right)).length > 0;
  }

  /** A right side as the user left it; undefined where it was never opened. */
  textOf(right: vscode.Uri): string | undefined {
    const stored = this.files.has(right) ? this.files.text(right) : undefined;
    return openDocument(right)?.getText() ?? stored;
  }

  /** Open an attempt that was answered already; both sides can only be read. */
  showPast(proposal: Proposal): Promise<void> {
    return this.inTurn(async () => {
      this.bases.set(baseUri(proposal), proposal.base);
      this.bases.set(pastUri(proposal), proposal.proposed);
      const title = `${diffTitle(proposal)} (past)`;
      await vscode.commands.executeCommand("vscode.diff", baseUri(proposal), pastUri(proposal), title);
    });
  }

  /** The right side's text where the user changed it, else null. */
  amended(proposal: Proposal): string | null {
    const text = (this.textOf(proposalUri(proposal)) ?? proposal.proposed).replaceAll("\r\n", "\n");
    return text === proposal.proposed.replaceAll("\r\n", "\n") ? null : text;
  }

  /** Close the session's diff and drop what it held. */
  close(session: string): Promise<void> {
    return this.inTurn(async () => {
      await closeTabs((shown) => belongsTo(shown, session));
      this.files.forget(session);
    });
  }

  /** Close the diff of an attempt; a newer one of the same session stays. */
  closeAttempt(proposal: Proposal): Promise<void> {
    return this.closeDiff(proposalUri(proposal));
  }

  /** Close a diff; what it held stays for the next time. */
  closeDiff(right: vscode.Uri): Promise<void> {
    return this.inTurn(() => closeTabs((shown) => same(shown, right)));
  }

  /** Close what an earlier window left open: its texts are gone. */
  closeLeftovers(): Promise<void> {
    return this.inTurn(() => closeTabs((shown) => !this.files.has(shown)));
  }

  private inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.queue.then(task);
    this.queue = turn.catch(() => undefined);
    return turn;
  }
}

/** The diff tabs whose right side is ours and wanted. */
function diffTabs(wanted: (modified: vscode.Uri) => boolean): vscode.Tab[] {
  return vscode.window.tabGroups.all
    .flatMap((group) => group.tabs)
    .filter((tab) => {
      const input = tab.input;
      return input instanceof vscode.TabInputTextDiff && input.modified.scheme === PROPOSAL && wanted(input.modified);
    });
}

/** Close the diff tabs whose right side is wanted gone. */
async function closeTabs(wanted: (modified: vscode.Uri) => boolean): Promise<void> {
  const tabs = diffTabs(wanted);
  for (const tab of tabs) {
    await saveQuietly((tab.input as vscode.TabInputTextDiff).modified);
  }
  if (tabs.length > 0) {
    await vscode.window.tabGroups.close(tabs, true);
  }
}

/** Into memory, so that closing does not ask whether to save. */
async function saveQuietly(proposal: vscode.Uri): Promise<void> {
  const open = openDocument(proposal);
  if (open?.isDirty) {
    await open.save();
  }
}

function openDocument(proposal: vscode.Uri): vscode.TextDocument | undefined {
  return vscode.workspace.textDocuments.find(({ uri }) => same(uri, proposal));
}

function same(one: vscode.Uri, other: vscode.Uri): boolean {
  return one.toString() === other.toString();
}
