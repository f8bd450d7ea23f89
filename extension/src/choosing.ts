/** What a session shall be and which files it may change: asked where there is a choice. */

import * as path from "node:path";
import * as vscode from "vscode";

import { instances, type OfferedInstance } from "./protocol";
import type { Server } from "./server";

/** What a session is started with; null is what the settings name. */
export interface Choice {
  readonly instance: string | null;
  /** The files that it may change beside its document. */
  readonly files: readonly string[];
}

/** What is taken where nobody chooses. */
export const DEFAULT_CHOICE: Choice = { instance: null, files: [] };

// More than anybody reads; whoever has more finds the rest by opening it first.
const MOST_FILES = 500;
const UNWANTED = "**/{.*,node_modules,__pycache__}/**";

/** Ask which instance a session on a document shall be of, and on which files. Undefined after Escape. */
export async function choose(server: Server, document: vscode.TextDocument): Promise<Choice | undefined> {
  const { instances: offered } = await server.request(instances, { uri: document.uri.toString() });
  const instance = await askInstance(offered);
  if (!instance || instance.files.length === 0) {
    return instance && { instance: instance.name, files: [] };
  }
  const files = await askFiles(document.uri, instance.files);
  return files && { instance: instance.name, files };
}

async function askInstance(offered: readonly OfferedInstance[]): Promise<OfferedInstance | undefined> {
  if (offered.length <= 1) {
    return offered[0];
  }
  const items = offered.map((instance, place) => ({
    label: instance.name,
    description: [place === 0 ? "default" : "", instance.source === "shipped" ? "" : path.basename(instance.source)]
      .filter((part) => part !== "")
      .join(", "),
    detail: instance.title,
    instance,
  }));
  return (await vscode.window.showQuickPick(items, { title: "What kind of change?" }))?.instance;
}

/** Which files may the session change? Those that are open are chosen already. */
async function askFiles(document: vscode.Uri, open: readonly string[]): Promise<readonly string[] | undefined> {
  const folder = vscode.workspace.getWorkspaceFolder(document);
  const found = folder
    ? await vscode.workspace.findFiles(new vscode.RelativePattern(folder, "**/*"), UNWANTED, MOST_FILES)
    : [];
  const others = found.map((file) => file.toString()).filter((file) => !open.includes(file));
  const items = [...open, ...others.sort()].map((file, place) => ({
    label: vscode.workspace.asRelativePath(vscode.Uri.parse(file)),
    picked: place < open.length,
    file,
  }));
  const options = { canPickMany: true, title: "Which files may it change?" } as const;
  return (await vscode.window.showQuickPick(items, options))?.map(({ file }) => file);
}
