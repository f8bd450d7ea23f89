/** VS Code for the browser, in folders of its own: nothing of the developer's own editor is read or written. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Child, finish } from "./processes.ts";

const ENTRY = join(import.meta.dirname, "node_modules", "code-server", "out", "node", "entry.js");

/** Settings that keep a workbench quiet; trust is not what these tests are about. */
const QUIET = {
  "security.workspace.trust.enabled": false,
  "workbench.startupEditor": "none",
  "telemetry.telemetryLevel": "off",
  "extensions.autoUpdate": false,
  "extensions.ignoreRecommendations": true,
  "extensions.autoCheckUpdates": false,
  "chat.commandCenter.enabled": false,
  "workbench.tips.enabled": false,
  // The tests save themselves, and look at the file before and after.
  "files.autoSave": "off",
  "editor.cursorBlinking": "solid",
  "editor.minimap.enabled": false,
  "editor.scrollBeyondLastLine": false,
  "editor.fontSize": 13,
  // Typed text must arrive as it was typed.
  "editor.autoClosingBrackets": "never",
  "editor.autoClosingQuotes": "never",
};

export interface CodeServerOptions {
  /** An empty folder for the user data, the extensions and temporary files; it is the child's HOME. */
  readonly root: string;
  readonly vsix: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly env: NodeJS.ProcessEnv;
}

export interface CodeServer {
  readonly origin: string;
  readonly child: Child;
}

export async function startCodeServer({ root, vsix, settings, env }: CodeServerOptions): Promise<CodeServer> {
  const userData = join(root, "user-data");
  const folders = ["--user-data-dir", userData, "--extensions-dir", join(root, "extensions")];
  const temporary = join(root, "tmp");
  // Sandboxed scripts have an environment of their own, but what they run in is below TMPDIR.
  const environment = { ...env, HOME: root, TMPDIR: temporary };
  await mkdir(temporary);
  // To the browser this is a remote machine, and there some of an extension's settings count only as the machine's.
  for (const [owner, some] of Object.entries({ User: { ...QUIET, ...settings }, Machine: settings })) {
    await mkdir(join(userData, owner), { recursive: true });
    await writeFile(join(userData, owner, "settings.json"), JSON.stringify(some, null, 2));
  }
  await finish({
    command: process.execPath,
    args: [ENTRY, ...folders, "--install-extension", vsix],
    env: environment,
  });
  const child = new Child({
    command: process.execPath,
    args: [
      ENTRY,
      ...folders,
      ...["--auth", "none", "--bind-addr", "127.0.0.1:0"],
      ...["--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"],
    ],
    env: environment,
  });
  const [, origin] = await child.says(/listening on (http:\/\/127\.0\.0\.1:\d+)/);
  return { origin: origin as string, child };
}
