/** Which Python runs the server. */

import { access } from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";

import { run } from "./run";
import { interpreterSetting } from "./settings";

/** A command that starts Python, and where we know it from. */
export interface Interpreter {
  readonly command: string;
  readonly args: readonly string[];
  readonly source: "the setting" | "the installed environment" | "the Python extension" | "the search path";
}

/** No interpreter has the package; the message is one sentence for the user. */
export class NoServerError extends Error {}

/** The part of the Python extension's API that is used here. */
interface PythonApi {
  readonly environments: {
    getActiveEnvironmentPath(): { path: string };
    resolveEnvironment(path: unknown): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  };
}

/** Where `installServer` keeps its environment's interpreter. */
export function installedPython(storage: string, platform: NodeJS.Platform = process.platform): string {
  const bin = platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"];
  return path.join(storage, "environment", ...bin);
}

/** The interpreters to try, the best first. A setting is the only one: who names a Python wants that one. */
export async function candidates(storage: string): Promise<Interpreter[]> {
  const [command, ...args] = interpreterSetting();
  if (command !== undefined) {
    return [{ command, args, source: "the setting" }];
  }
  const found: Interpreter[] = [];
  const installed = installedPython(storage);
  if (await exists(installed)) {
    found.push({ command: installed, args: [], source: "the installed environment" });
  }
  const selected = await selectedPython();
  if (selected !== undefined) {
    found.push({ command: selected, args: [], source: "the Python extension" });
  }
  const fallback = process.platform === "win32" ? "python" : "python3";
  return [...found, { command: fallback, args: [], source: "the search path" }];
}

/**
 * The first interpreter that can run the server.
 *
 * @param refused Is told of each that cannot, and why.
 * @throws NoServerError none can.
 */
export async function findInterpreter(storage: string, refused: (why: string) => void): Promise<Interpreter> {
  let named = "";
  for (const interpreter of await candidates(storage)) {
    const problem = await whyNot(interpreter, storage);
    if (problem === undefined) {
      return interpreter;
    }
    refused(`${commandLine(interpreter)} (from ${interpreter.source}) ${problem}`);
    if (interpreter.source === "the setting") {
      named = `The Python of your settings, ${commandLine(interpreter)}, ${problem}`;
    }
  }
  const nowhere = "Precision Shaking needs its Python package, which no Python here has";
  throw new NoServerError(`${named || nowhere}: install the package, or choose the Python that has it.`);
}

/** Why this interpreter cannot run the server, as the end of a sentence; undefined when it can. */
export async function whyNot(interpreter: Interpreter, cwd: string): Promise<string | undefined> {
  try {
    // Not in the workspace: its folders must not be importable here.
    const check = await run(interpreter.command, [...interpreter.args, "-c", PROBE], { cwd, timeoutMs: 30_000 });
    if (check.code === 0) {
      return undefined;
    }
    return PROBLEMS.get(check.code) ?? "does not have the package";
  } catch {
    return "cannot be started";
  }
}

export function commandLine(interpreter: Interpreter): string {
  return [interpreter.command, ...interpreter.args].join(" ");
}

const TOO_OLD = 3;
const INCOMPLETE = 4;
const PROBLEMS: ReadonlyMap<number, string> = new Map([
  [TOO_OLD, "is older than Python 3.11"],
  [INCOMPLETE, "has the package without the packages it needs"],
]);
// Looked up, not imported: the answer must not take as long as a start of the server.
const PROBE = `import re, sys
if sys.version_info < (3, 11): sys.exit(${TOO_OLD})
import precision_shaking
from importlib.metadata import PackageNotFoundError, distribution
try: needs = distribution("precision-shaking").requires or []
except PackageNotFoundError: needs = []
try: [distribution(re.match(r"[\\w.-]+", need)[0]) for need in needs if "extra ==" not in need]
except PackageNotFoundError: sys.exit(${INCOMPLETE})`;

async function selectedPython(): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension<PythonApi>("ms-python.python");
  if (!extension) {
    return undefined;
  }
  try {
    const { environments } = extension.isActive ? extension.exports : await extension.activate();
    const environment = await environments.resolveEnvironment(environments.getActiveEnvironmentPath());
    return environment?.executable.uri?.fsPath;
  } catch {
    // Somebody else's extension; what it cannot tell us we find out in other ways.
    return undefined;
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
