/** Which session a button, a key, a menu or the palette means. */

import * as vscode from "vscode";

import { askSession } from "./asking";
import type { SessionBook } from "./sessionBook";
import type { Session } from "./sessions";
import { sidesInFront } from "./tabs";

/** A session's uid, a document's URI, a line of the plan, or nothing: whatever a menu hands over. */
export type Target = string | vscode.Uri | { readonly id: string } | undefined;

/** The session that is meant, among those that can be; asked for where that is not clear. */
export async function pick(book: SessionBook, target: Target, choices: readonly Session[]): Promise<Session | undefined> {
  // The menu of a diff of several files hands over a URI that only the editor knows.
  const named = target instanceof vscode.Uri && target.scheme === "multi-diff-editor" ? undefined : target;
  const meant = named ?? sidesInFront()[0] ?? vscode.window.activeTextEditor?.document.uri;
  const uid = meant instanceof vscode.Uri ? (book.behind(meant)?.uid ?? meant.toString()) : uidOf(meant);
  return choices.find((session) => session.uid === uid || session.uri === uid) ?? (await askSession(choices));
}

/** A line of the plan is called by its session first. */
function uidOf(target: Exclude<Target, vscode.Uri>): string | undefined {
  return typeof target === "object" ? target.id.split("/")[0] : target;
}
