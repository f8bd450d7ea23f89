/** Puts the Python package into an environment of its own, in the extension's storage. */

import { mkdir, readdir } from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";

import { candidates, installedPython, type Interpreter } from "./python";
import { run } from "./run";

export interface InstallPlan {
  /** The extension's own folder, which holds the wheel. */
  readonly extension: string;
  /** The extension's storage, which gets the environment. */
  readonly storage: string;
  /** The package's optional parts. */
  readonly extras: readonly string[];
}

/** What is installed without a word, and what is worth a question because torch is large. */
export const EXTRAS = { all: ["agents", "embedded", "train"], withoutTraining: ["agents", "embedded"] };

/**
 * Make the environment and install the bundled wheel.
 *
 * @throws Error with a sentence for the user.
 */
export async function install(plan: InstallPlan, onLine: (line: string) => void, signal?: AbortSignal): Promise<void> {
  const wheel = await bundledWheel(plan.extension);
  const base = await basePython(plan.storage);
  const environment = path.join(plan.storage, "environment");
  await mkdir(plan.storage, { recursive: true });
  await step("make the environment", base.command, [...base.args, "-m", "venv", "--clear", environment]);
  const python = installedPython(plan.storage);
  const requirement = `${wheel}[${plan.extras.join(",")}]`;
  await step("install the package", python, ["-m", "pip", "install", "--disable-pip-version-check", requirement]);

  async function step(what: string, command: string, args: readonly string[]): Promise<void> {
    onLine(`$ ${command} ${args.join(" ")}`);
    const { code } = await run(command, args, { cwd: plan.storage, onLine, signal });
    if (code !== 0) {
      throw new Error(`Precision Shaking could not ${what}; the log says why.`);
    }
  }
}

/** The wheel that came with the extension. */
export async function bundledWheel(extension: string): Promise<string> {
  const folder = path.join(extension, "dist", "wheel");
  const names = await readdir(folder).catch(() => []);
  const wheel = names.filter((name) => name.endsWith(".whl")).sort().at(-1);
  if (wheel === undefined) {
    throw new Error(
      "This build of the extension carries no Python package; install `precision-shaking` yourself and choose that interpreter.",
    );
  }
  return path.join(folder, wheel);
}

/** The Python that makes the environment: any of the candidates that is new enough, but not the old environment. */
async function basePython(storage: string): Promise<Interpreter> {
  for (const interpreter of await candidates(storage)) {
    const { command, args, source } = interpreter;
    const check = await run(command, [...args, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"], {
      cwd: path.dirname(storage),
      timeoutMs: 30_000,
    }).catch(() => undefined);
    if (source !== "the installed environment" && check?.code === 0) {
      return interpreter;
    }
  }
  throw new Error("Precision Shaking needs Python 3.11 or later with its venv module; install it or choose its interpreter.");
}

/** Install behind a notification with a cancel button. Returns whether it was done. */
export async function installVisibly(plan: InstallPlan, log: vscode.LogOutputChannel): Promise<boolean> {
  const abort = new AbortController();
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: "Installing Precision Shaking", cancellable: true },
    async (progress, token) => {
      token.onCancellationRequested(() => {
        abort.abort();
      });
      try {
        await install(plan, report, abort.signal);
        return true;
      } catch (error) {
        if (token.isCancellationRequested) {
          return false;
        }
        throw error;
      }

      function report(line: string): void {
        log.info(line);
        progress.report({ message: line.slice(0, 120) });
      }
    },
  );
}
