/** What the user does around the sessions: install, keys, logs, training, the dataset. */

import * as vscode from "vscode";

import type { DatasetView } from "./datasetView";
import { EXTRAS, installVisibly } from "./install";
import { keyOwner, Keys, needsKey } from "./keys";
import { stopUsing, useAsWorker } from "./ownModel";
import type { Server } from "./server";
import { interpreterSetting, SECTION, serverSettings } from "./settings";
import { train } from "./training";

export class SetupCommands {
  private readonly keys: Keys;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly server: Server,
    private readonly dataset: DatasetView,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.keys = new Keys(context.secrets);
  }

  /** Make the environment with the server in it, and use it. */
  async installServer(): Promise<void> {
    const items = [
      { label: "Everything", detail: "Sessions, the embedded teacher, and training (torch: some gigabytes).", extras: EXTRAS.all },
      { label: "Without training", detail: "Sessions and the embedded teacher.", extras: EXTRAS.withoutTraining },
    ];
    const chosen = await vscode.window.showQuickPick(items, { title: "Install Precision Shaking's Python package" });
    if (!chosen) {
      return;
    }
    this.log.show(true);
    const plan = { extension: this.context.extensionPath, storage: this.context.globalStorageUri.fsPath, extras: chosen.extras };
    // Its files may be the ones that are replaced.
    await this.server.halt();
    if ((await installVisibly(plan, this.log)) && (await useInstalled())) {
      await this.server.restart();
      void vscode.window.showInformationMessage("Precision Shaking is ready: open a script and say what should change.");
    }
  }

  /** Let the user name the Python that has the package. */
  async chooseInterpreter(): Promise<void> {
    const chosen = await vscode.window.showOpenDialog({
      title: "The Python that has the precision-shaking package",
      openLabel: "Use This Python",
      canSelectMany: false,
    });
    const python = chosen?.[0]?.fsPath;
    if (python !== undefined) {
      const settings = vscode.workspace.getConfiguration(SECTION);
      // The change of the setting restarts the server.
      await settings.update("interpreter", [python], vscode.ConfigurationTarget.Global);
    }
  }

  /** Store a provider's key; an empty one removes it. */
  async setApiKey(): Promise<void> {
    const known = serverSettings().teachers.filter(needsKey).map(keyOwner);
    const owner = await pickOwner([...new Set(known)]);
    if (!owner) {
      return;
    }
    const key = await vscode.window.showInputBox({
      title: `API key for ${owner}`,
      prompt: "It is kept in the editor's secret storage. Leave it empty to remove the stored key.",
      password: true,
      ignoreFocusOut: true,
    });
    if (key !== undefined) {
      await this.keys.set(owner, key.trim());
      void vscode.window.showInformationMessage(`The key for ${owner} is ${key.trim() === "" ? "removed" : "stored"}.`);
    }
  }

  /** The answer to the server's question for a teacher's key. */
  async apiKey({ teacher }: { teacher: string }): Promise<{ key: string | null }> {
    return { key: await this.keys.get(teacher) };
  }

  /** Train, and show what came of it. */
  async train(): Promise<void> {
    const trained = await train(this.server);
    if (!trained) {
      return;
    }
    const use = "Use as Worker";
    const buttons = trained.output === undefined ? [] : [use];
    if ((await vscode.window.showInformationMessage(trained.sentence, ...buttons)) === use) {
      await useAsWorker(this.server, trained.output);
    }
  }

  /** Put what was learned last before the teachers. */
  useMyModel(): Promise<void> {
    return useAsWorker(this.server);
  }

  stopMyModel(): Promise<void> {
    return stopUsing();
  }

  async showDataset(): Promise<void> {
    await vscode.commands.executeCommand("precisionShaking.dataset.focus");
    await this.refreshDataset();
  }

  async refreshDataset(): Promise<void> {
    await this.dataset.refresh();
  }
}

/** A setting wins over the installed environment, so ask whether it shall go. */
async function useInstalled(): Promise<boolean> {
  if (interpreterSetting().length === 0) {
    return true;
  }
  const use = "Use the Installed One";
  const question = "The package is installed, but your settings name another Python.";
  if ((await vscode.window.showInformationMessage(question, use)) !== use) {
    return false;
  }
  const settings = vscode.workspace.getConfiguration(SECTION);
  await settings.update("interpreter", undefined, vscode.ConfigurationTarget.Global);
  return true;
}

async function pickOwner(known: readonly string[]): Promise<string | undefined> {
  const another = "Another provider…";
  const items = [...(known.length > 0 ? known : ["openai", "anthropic"]), another];
  const chosen = await vscode.window.showQuickPick(items, { title: "Whose API key?" });
  if (chosen !== another) {
    return chosen;
  }
  const teacher = await vscode.window.showInputBox({
    title: "Whose API key?",
    prompt: "The provider, with @address for a server of your own: mistral, openai@http://127.0.0.1:8000/v1",
  });
  return teacher ? keyOwner(teacher.trim()) : undefined;
}
