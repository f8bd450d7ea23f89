/** Where the programs are that the tests start. */

import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";

export const REPOSITORY = resolve(import.meta.dirname, "..", "..");

/** The interpreter that has the server and the engine installed. */
export const PYTHON = process.env["PRECISION_SHAKING_PYTHON"] ?? join(REPOSITORY, ".venv", "bin", "python");

export function findProgram(name: string): string {
  if (isAbsolute(name)) return name;
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (isExecutable(path)) return path;
  }
  throw new Error(`${name} is not installed; run tests/e2e/install-workbench.sh to see what is missing.`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return existsSync(path);
  } catch {
    return false;
  }
}
