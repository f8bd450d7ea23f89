/** The tabs that show proposals: diffs of one file or of several, and files of those that the editor opens beside. */

import * as vscode from "vscode";

import { PROPOSAL } from "./files";

/** The right sides of ours that a tab shows. */
export function rightSides(tab: vscode.Tab | undefined): readonly vscode.Uri[] {
  const input: unknown = tab?.input;
  // Whatever is changed in a diff of several files soon gets a tab of its own from the editor, too.
  const shown = input instanceof vscode.TabInputText ? [input.uri] : diffsOf(input).map(({ modified }) => modified);
  return shown.filter(({ scheme }) => scheme === PROPOSAL);
}

/** The right sides of ours in the tab that is in front. */
export function sidesInFront(): readonly vscode.Uri[] {
  return rightSides(vscode.window.tabGroups.activeTabGroup.activeTab);
}

/** Whether a tab shows right sides, one of which is wanted. */
export function shows(tab: vscode.Tab | undefined, wanted: (right: vscode.Uri) => boolean): boolean {
  return rightSides(tab).some(wanted);
}

/** The tabs for which something holds. */
export function tabsWhere(holds: (tab: vscode.Tab) => boolean): readonly vscode.Tab[] {
  return vscode.window.tabGroups.all.flatMap((group) => group.tabs).filter(holds);
}

/** Close the tabs for which something holds; what was typed there stays in memory. */
export async function closeTabs(unwanted: (tab: vscode.Tab) => boolean): Promise<void> {
  for (const right of tabsWhere(unwanted).flatMap(rightSides)) {
    await saveQuietly(right);
  }
  // Looked up at the last moment: the editor puts new objects in its tabs' places whenever it likes, and refuses the old ones.
  const tabs = tabsWhere(unwanted);
  if (tabs.length > 0) {
    await vscode.window.tabGroups.close(tabs, true);
  }
}

/** Into memory, so that closing does not ask whether to save. */
export async function saveQuietly(right: vscode.Uri): Promise<void> {
  const open = openDocument(right);
  if (open?.isDirty) {
    await open.save();
  }
}

export function openDocument(wanted: vscode.Uri): vscode.TextDocument | undefined {
  return vscode.workspace.textDocuments.find(({ uri }) => same(uri, wanted));
}

export function same(one: vscode.Uri, other: vscode.Uri): boolean {
  return one.toString() === other.toString();
}

/** A diff, or the parts of one of several files, which the API's types do not name yet. */
function diffsOf(input: unknown): readonly vscode.TabInputTextDiff[] {
  if (input instanceof vscode.TabInputTextDiff) {
    return [input];
  }
  const diffs: unknown = (input as { textDiffs?: unknown } | null | undefined)?.textDiffs;
  return Array.isArray(diffs) ? diffs.filter((diff) => diff instanceof vscode.TabInputTextDiff) : [];
}
