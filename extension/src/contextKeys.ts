/** The facts that menus and keybindings depend on. */

import * as vscode from "vscode";

import { handUri, sidesOf } from "./files";
import type { SessionBook } from "./sessionBook";
import { isRunning } from "./sessions";
import { sidesInFront } from "./tabs";

/** Keep the context keys as the book and the tabs are. */
export function followContext(book: SessionBook): vscode.Disposable {
  const { tabGroups } = vscode.window;
  const look = (): void => {
    lookInFront(book);
  };
  return vscode.Disposable.from(
    book.onDidChange(() => {
      const waiting = waitingResources(book);
      set("waiting", waiting.length > 0);
      set("waitingResources", waiting);
      const stuck = book.all().filter(({ phase }) => phase === "stuck");
      set("stuck", stuck.length > 0);
      set("handResources", stuck.map((session) => handUri(session).toString()));
      set("running", book.all().some(isRunning));
      look();
    }),
    tabGroups.onDidChangeTabs(look),
    tabGroups.onDidChangeTabGroups(look),
  );
}

/** A diff of several files is no resource: menus know it by this. */
function lookInFront(book: SessionBook): void {
  const waiting = waitingResources(book);
  const front = sidesInFront();
  set("severalInFront", front.length > 1 && front.some((right) => waiting.includes(right.toString())));
}

function waitingResources(book: SessionBook): string[] {
  const proposals = book.waiting().flatMap(({ proposal }) => (proposal ? [proposal] : []));
  return proposals.flatMap(sidesOf).map(({ right }) => right.toString());
}

function set(key: string, value: unknown): void {
  void vscode.commands.executeCommand("setContext", `precisionShaking.${key}`, value);
}
