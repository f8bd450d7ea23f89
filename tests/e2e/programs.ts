/** Where the things are that the tests start and install. */

import { accessSync, constants, readFileSync, readdirSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";

export const REPOSITORY = resolve(import.meta.dirname, "..", "..");

/** The interpreter that has the server, the engine and the trainer installed. */
export const PYTHON = process.env["PRECISION_SHAKING_PYTHON"] ?? join(REPOSITORY, ".venv", "bin", "python");

interface Command {
  readonly command: string;
  readonly category: string;
  readonly title: string;
}

interface Manifest {
  readonly version: string;
  readonly contributes: { readonly commands: readonly Command[] };
}

const manifest = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as Manifest;

/** The packed extension of this version; `npm run package` makes it. */
export function extensionFile(): string {
  const folder = join(REPOSITORY, "dist");
  const name = readdirSync(folder).find((file) => file.endsWith(`-${manifest.version}.vsix`));
  if (!name) throw new Error(`There is no VSIX of version ${manifest.version} in ${folder}; run: make package`);
  return join(folder, name);
}

/** A command's title, which a button that is an icon says to screen readers. */
export function title(id: string): string {
  return commandOf(id).title;
}

/** How the command palette calls a command, for example "Precision Shaking: Show Logs". */
export function paletteTitle(id: string): string {
  return `${commandOf(id).category}: ${title(id)}`;
}

function commandOf(id: string): Command {
  const found = manifest.contributes.commands.find(({ command }) => command === `precisionShaking.${id}`);
  if (!found) throw new Error(`package.json contributes no command precisionShaking.${id}`);
  return found;
}

export function findProgram(name: string): string {
  if (isAbsolute(name)) return name;
  const path = (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(isExecutable);
  if (!path) throw new Error(`${name} is not installed; run tests/e2e/install-workbench.sh to see what is missing.`);
  return path;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
