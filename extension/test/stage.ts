/** The whole extension in a fake editor with a fake server: what a test acts on. */

import type * as vscode from "vscode";

import { wire } from "../src/wiring";
import type { FakeDocument, FakeEditor } from "./fakeEditor";
import { FakeServer, URI } from "./fakeServer";
import { Uri } from "./fakeTypes";
import { newEditor } from "./fakeVscode";

export interface Stage {
  readonly editor: FakeEditor;
  readonly server: FakeServer;
  readonly script: FakeDocument;
  /** Run a command, as a button or the palette does. */
  run(name: string, ...args: unknown[]): Promise<void>;
  /** Begin a session with these steps, as far as its first one. */
  begin(...steps: readonly string[]): Promise<void>;
  /** To be waited for, so that nothing happens in the next test. */
  close(): Promise<void>;
}

/** Everything wired, and a script open in front. `prepare` may change the editor before. */
export function newStage(prepare: (editor: FakeEditor, server: FakeServer) => void = () => undefined): Stage {
  const editor = newEditor();
  const server = new FakeServer();
  prepare(editor, server);
  const subscriptions: { dispose(): unknown }[] = [];
  wire(contextOf(editor, subscriptions), () => server.launch);
  const script = editor.open(Uri.parse(URI), "print('hello')\n");
  const run = async (name: string, ...args: unknown[]): Promise<void> => {
    await editor.commands.get(`precisionShaking.${name}`)?.(...args);
  };
  return {
    editor,
    server,
    script,
    run,
    begin: async (...steps) => {
      await run("start", undefined, "greet the world");
      server.event({ kind: "plan_ready", steps: [...steps] });
      server.event({ kind: "step_started", step: 0, text: steps[0] ?? "" });
    },
    close: async () => {
      subscriptions.forEach((subscription) => subscription.dispose());
      await settled();
    },
  };
}

/** Let everything happen that is about to. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise(setImmediate);
  }
}

/** The diff's right side, and what it is called. */
export function diffs({ editor }: Stage): string[] {
  return editor.tabs.map(({ label }) => label);
}

export function rightSide({ editor }: Stage): FakeDocument {
  const document = editor.documents.find(({ uri }) => uri.scheme === "precision-shaking-proposal");
  if (!document) {
    throw new Error("no proposal is open");
  }
  return document;
}

function contextOf(editor: FakeEditor, subscriptions: { dispose(): unknown }[]): vscode.ExtensionContext {
  const { secrets } = editor;
  return {
    subscriptions,
    extensionPath: "/extension",
    globalStorageUri: Uri.file("/storage"),
    secrets: {
      get: (name: string) => Promise.resolve(secrets.get(name)),
      store: (name: string, value: string) => Promise.resolve(void secrets.set(name, value)),
      delete: (name: string) => Promise.resolve(void secrets.delete(name)),
    },
  } as unknown as vscode.ExtensionContext;
}
