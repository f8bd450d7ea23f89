/** The facts that menus and keybindings depend on. */

import * as vscode from "vscode";

import { handUri, proposalUri } from "./files";
import type { SessionBook } from "./sessionBook";
import { isRunning } from "./sessions";

/** Keep the context keys as the book is. */
export function followContext(book: SessionBook): vscode.Disposable {
  return book.onDidChange(() => {
    const waiting = book.waiting().flatMap(({ proposal }) => (proposal ? [proposalUri(proposal).toString()] : []));
    set("waiting", waiting.length > 0);
    set("waitingResources", waiting);
    const stuck = book.all().filter(({ phase }) => phase === "stuck");
    set("stuck", stuck.length > 0);
    set("handResources", stuck.map((session) => handUri(session).toString()));
    set("running", book.all().some(isRunning));
  });
}

function set(key: string, value: unknown): void {
  void vscode.commands.executeCommand("setContext", `precisionShaking.${key}`, value);
}
